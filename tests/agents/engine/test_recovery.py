"""Recovery from the changelog: every state, whoever wrote it, nothing read twice; and one that hangs is seen."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from faust.types import TP

from agents.cluster.provisioning import STATE
from agents.engine import recovery
from agents.engine.failure import WorkerFailedError
from agents.engine.record import Batch
from agents.engine.recovery import STALLED_S, PartitionRecovery, Watch
from agents.engine.table import PartitionStore
from agents.engine.transport import BatchConsumer
from agents.health.state_codec import META_KEY, StateHeader, pack
from agents.worker import InProcessWorker
from runtime.clock import SystemClock
from runtime.settings import Settings
from scoring.time import DAY
from tests.agents.health.records import event_record, suppliers_of
from tests.agents.workers import (
    ANNA,
    EVERYWHERE,
    Seen,
    noting_offsets,
    now_ms,
    running,
    send,
    until,
    values,
)
from tests.reference.logs import differences, merged, published, read, sequential
from topics.catalog import CONDITIONS, full_name


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Partition → the offsets of the changelog that recoveries have read."""

    def noted(_: PartitionStore, number: int, records: Batch, _last_offset: int) -> tuple[int, Batch]:
        return number, records

    return noting_offsets(monkeypatch, PartitionStore, "_take", noted)


def forms(round_: int) -> list[Any]:
    return [event_record(s, "form.created", now_ms(), form_id=f"f{round_}") for s in EVERYWHERE]


async def write_state(settings: Settings, partition: int, key: bytes, value: bytes | None) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka)
    await producer.start()
    topic = full_name(settings.topic_prefix, STATE)
    await producer.send_and_wait(topic, value, key=key, partition=partition)
    await producer.stop()


@pytest.mark.stack
async def test_a_worker_has_the_state_of_the_changelog_and_goes_on_from_it(settings: Settings) -> None:
    async with running(settings) as worker:
        await send(settings, worker, forms(1))
    async with running(settings) as worker:
        for number, records in enumerate(await read(settings, STATE)):
            assert worker.app.states.partition(number) == merged(records)
        await send(settings, worker, forms(2))
    expected, actual = await sequential(settings), await published(settings)
    assert not differences(expected, actual), "\n".join(differences(expected, actual))


@pytest.mark.stack
async def test_of_a_partition_that_stays_in_a_rebalance_only_what_is_new_is_read(
    settings: Settings, seen: Seen
) -> None:
    async with running(settings) as first:
        await send(settings, first, forms(1))
        marks = first.app.states.marked()
        seen.clear()
        async with running(settings) as second:
            await until(lambda: _has(second, 2))
            kept = first.app.states.marked()
            assert len(kept) == 2
            assert not [o for number in kept for o in seen.get(number, ()) if o < marks[number]]


async def _has(worker: InProcessWorker, partitions: int) -> bool:
    return len(worker.app.engine.lanes) >= partitions


@pytest.mark.stack
async def test_timers_of_a_recovered_state_fire(settings: Settings) -> None:
    started = now_ms() - 10 * DAY
    async with running(settings, grace_ms=None) as worker:
        await send(settings, worker, [event_record(s, at=started) for s in EVERYWHERE])
    async with running(settings, grace_ms=None) as worker:
        assert worker.next_due_ms() == started + 3 * DAY
        await worker.fire_due(started + 7 * DAY)
    assert {signal["subject"] for signal in await values(settings, CONDITIONS)} == set(EVERYWHERE)


@pytest.mark.stack
async def test_of_two_records_of_a_supplier_the_one_that_holds_more_wins_although_it_came_first(
    settings: Settings,
) -> None:
    async with running(settings) as worker:
        await send(settings, worker, forms(1))
        await send(settings, worker, forms(2))
        mine = worker.app.states.partition(0)[ANNA.encode()]
    header = StateHeader.of(mine)
    await write_state(settings, 0, ANNA.encode(), pack(header._replace(offset=header.offset - 1), b"zombie"))
    async with running(settings) as worker:
        assert worker.app.states.partition(0)[ANNA.encode()] == mine
        assert worker.app.states.outdated >= 1


@pytest.mark.stack
async def test_a_record_that_another_worker_wrote_in_between_is_read_at_the_next_recovery(
    settings: Settings,
) -> None:
    """It lies below what the worker itself wrote last: the worker may not claim to hold it."""
    [stranger] = suppliers_of(0, 7)[6:]
    async with running(settings) as worker:
        await send(settings, worker, forms(1))
        before = worker.app.states.marked()
        ahead = pack(StateHeader(0, 10**6, now_ms(), 0), b"ahead")
        await write_state(settings, 0, stranger.encode(), ahead)
        await send(settings, worker, forms(2))
        assert worker.app.states.marked()[0] == before[0]
        assert worker.app.states.marked()[1] > before[1]


@pytest.mark.stack
async def test_a_tombstone_is_heeded(settings: Settings) -> None:
    async with running(settings) as worker:
        await send(settings, worker, forms(1))
    await write_state(settings, 0, ANNA.encode(), None)
    async with running(settings) as worker:
        assert ANNA.encode() not in worker.app.states.partition(0)
        assert META_KEY in worker.app.states.partition(0)


@pytest.mark.stack
async def test_a_hole_in_the_changelog_stops_the_worker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings) as worker:
        await send(settings, worker, forms(1))
    take = PartitionStore._take

    def skip(self: PartitionStore, number: int, records: Batch, last_offset: int) -> None:
        records.follows += 1
        take(self, number, records, last_offset)

    monkeypatch.setattr(PartitionStore, "_take", skip)
    worker = InProcessWorker(settings, worker._clock)
    with pytest.raises(Exception, match="are missing"):
        await worker.start()
    await worker.stop()


# --- a recovery that takes long, or hangs


class Stopped:
    """An engine that notes why it was to stop."""

    def __init__(self) -> None:
        self.recovering: dict[int, int] | None = None
        self.reasons: list[str] = []

    def fail_stop(self, reason: str) -> None:
        self.reasons.append(reason)


def test_what_is_left_is_told_at_every_look_and_said_each_half_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine: Any = Stopped()
    watch = Watch(engine)
    with caplog.at_level(logging.INFO, "success.recovery"):
        for second in range(100):
            watch.look({0: 1_000 - second, 3: 7}, 1_000.0 + second)
    assert engine.recovering == {0: 901, 3: 7}
    assert [record.getMessage() for record in caplog.records] == [
        f"recovering: {left:,} records of 2 partitions left to read" for left in (977, 947, 917)
    ]
    watch.look(None, 1_101.0)
    assert (engine.recovering, engine.reasons) == (None, [])


def test_a_long_recovery_goes_on_as_long_as_something_happens() -> None:
    engine: Any = Stopped()
    watch = Watch(engine)
    for minute in range(1_000):
        watch.look({0: 10_000 - minute}, 60.0 * minute)
    assert engine.reasons == []


def test_one_in_which_nothing_happens_stops_the_worker_with_its_reason() -> None:
    engine: Any = Stopped()
    watch = Watch(engine)
    watch.look({0: 5, 3: 7}, 0.0)
    watch.look({0: 5, 3: 7}, STALLED_S - 1)
    assert engine.reasons == []
    watch.look({0: 5, 3: 7}, STALLED_S)
    assert engine.reasons == [
        "the state cannot be recovered: nothing happened for 120 s, 12 records of partitions 0, 3 left"
    ]


@pytest.mark.stack
async def test_a_recovery_that_kafka_does_not_answer_stops_the_worker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust takes the time-out for a stop of its own: it would send heartbeats and read nothing, in silence."""

    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(PartitionRecovery, "_build_highwaters", never)
    monkeypatch.setattr(recovery, "ANSWER_S", 1.0)
    worker = InProcessWorker(settings, SystemClock())
    with pytest.raises(WorkerFailedError, match="no answer of Kafka for 1 s"):
        await worker.start()
    assert worker.not_ready is not None
    assert worker.not_ready.startswith("failed: the state cannot be recovered")
    await worker.stop()


@pytest.mark.stack
async def test_a_recovery_that_reads_nothing_says_so_and_stops_the_worker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings) as worker:
        await send(settings, worker, forms(1))
    monkeypatch.setattr(recovery, "STALLED_S", 4.0)

    async def nothing(*_: Any, **__: Any) -> dict[TP, Any]:
        await asyncio.sleep(0.1)
        return {}

    monkeypatch.setattr(BatchConsumer, "_getmany", nothing)
    worker = InProcessWorker(settings, SystemClock())
    starting = asyncio.ensure_future(worker.start())

    async def recovering() -> bool:
        return bool(worker.recovering) and str(worker.not_ready).startswith("recovering: ")

    await until(recovering)
    with pytest.raises(WorkerFailedError, match="nothing happened for 4 s"):
        await starting
    await worker.stop()


@pytest.mark.stack
async def test_a_changelog_whose_end_holds_no_record_is_recovered(settings: Settings) -> None:
    """The marker of a transaction has an offset, and no record ever comes for it."""
    async with running(settings) as worker:
        await send(settings, worker, forms(1))
    topic = full_name(settings.topic_prefix, STATE)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka, transactional_id=f"{topic}-test")
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait(topic, None, key=b"gone", partition=0)
    await producer.stop()
    async with running(settings) as worker:
        await send(settings, worker, forms(2))
