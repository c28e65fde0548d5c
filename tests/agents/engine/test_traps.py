"""What plain Faust gets wrong (`docs/engine.md`, the five traps), each shown closed on real Kafka.

Each test's docstring begins with the number of its trap.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from faust.types import TP

from agents.cluster.provisioning import STATE
from agents.engine.failure import WorkerFailedError
from agents.engine.record import Batch, Record
from agents.engine.table import PartitionStore
from agents.engine.transport import Stretch
from agents.health.handler import ScoringHandler
from agents.worker import InProcessWorker
from runtime.clock import ManualClock, SystemClock
from runtime.settings import Settings
from scoring.time import DAY
from tests.agents.health.records import event_record
from tests.agents.workers import (
    ANNA,
    DEADLINE_S,
    EVERYWHERE,
    Seen,
    SpyWriter,
    all_read,
    ends,
    no_lag,
    noting_offsets,
    now_ms,
    running,
    send,
    until,
    values,
)
from tests.reference.logs import lag, publish, read
from topics.catalog import ACTIVITY, CONDITIONS, HEALTH, MILESTONES, RISK_CHANGES, full_name
from topics.partitioner import partition_of

pytestmark = pytest.mark.stack


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Partition → the offsets that reached the scoring agent of any worker, in order."""

    def noted(handler: ScoringHandler, records: Sequence[Record]) -> tuple[int, Sequence[Record]]:
        return handler.fold.partition, records

    return noting_offsets(monkeypatch, ScoringHandler, "add", noted)


# --- trap 1: events are skipped after every recovery or rebalance


async def test_every_offset_reaches_the_agent_once_and_in_order_across_recoveries(
    settings: Settings, seen: Seen
) -> None:
    """Trap 1: the source is resumed before it is sought, and what was queued is then dropped."""
    for _ in range(4):
        await send(settings, None, [event_record(s, at=now_ms()) for s in EVERYWHERE * 25])
        async with running(settings) as worker:
            await until(lambda: all_read(settings, worker))
            await send(settings, worker, [event_record(s, at=now_ms()) for s in EVERYWHERE])
    for partition, end in enumerate(await ends(settings)):
        assert seen[partition] == list(range(end))


async def test_rebalances_between_two_workers_in_the_middle_of_events_lose_and_repeat_nothing(
    settings: Settings, seen: Seen
) -> None:
    """Trap 1: as above; here partitions move to a worker that comes, and back when it leaves.

    Vanilla waits for dropped messages to be acked as long as anything refers to them: the group then stood still.
    """
    async with running(settings) as first, steady_events(settings):
        for _ in range(2):
            async with running(settings) as second:
                await until(lambda: both_have(first, second, 2))
                await asyncio.sleep(0.3)
            await until(lambda: both_have(first, first, 4))
    async with running(settings) as worker:
        await until(lambda: all_read(settings, worker))
    for partition, end in enumerate(await ends(settings)):
        assert seen[partition] == list(range(end))


@asynccontextmanager
async def steady_events(settings: Settings) -> AsyncIterator[None]:
    """Four hundred events a second for as long as the block runs."""
    stop = asyncio.Event()

    async def publish_on() -> None:
        while not stop.is_set():
            records = [event_record(s, at=now_ms()) for s in EVERYWHERE * 10]
            await publish(settings, [(r.key or b"", r.value or b"") for r in records], per_second=400)

    publishing = asyncio.create_task(publish_on())
    try:
        yield
    finally:
        stop.set()
        await publishing


async def test_what_was_fetched_before_a_seek_is_not_delivered_after_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 1: vanilla resumes, fetches, then seeks; what came in between is out of its place."""
    async with running(settings) as worker:
        consumer = worker.app.consumer
        source = TP(full_name(settings.topic_prefix, ACTIVITY), 0)
        fetch = consumer._wait_next_records

        async def fetch_across_a_seek(seconds: float) -> Any:
            if seconds >= 0:
                return await fetch(seconds)
            consumer._seeks_before_fetch = consumer._seeks
            await consumer.seek_wait({source: 0})
            return {source: Stretch([consumer_record(source, offset=5)], 5, 6)}, None

        monkeypatch.setattr(consumer, "_wait_next_records", fetch_across_a_seek)
        assert [tp async for tp, _ in consumer.getmany(-1)] == []
        await send(settings, worker, [event_record(ANNA, at=now_ms())])


async def test_a_rebalance_does_not_wait_for_a_batch_that_was_dropped_unbegun(settings: Settings) -> None:
    """Trap 1: it is never acked, and vanilla waits for that as long as anything refers to it."""
    async with running(settings) as worker:
        consumer = worker.app.consumer
        source = TP(full_name(settings.topic_prefix, ACTIVITY), 0)
        dropped = consumer._message(source, Batch([consumer_record(source, offset=0)], 0), 1)
        consumer.track_message(dropped)
        consumer.stop_flow()
        waiting = asyncio.ensure_future(consumer.wait_empty())
        done, _ = await asyncio.wait({waiting}, timeout=DEADLINE_S)
        consumer._unacked_messages.clear()  # lest a worker without the cure waits on
        await waiting
        assert done


def consumer_record(tp: TP, offset: int) -> Any:
    return ConsumerRecord(tp.topic, tp.partition, offset, now_ms(), 1, b"", b"", None, 0, 0, ())


# --- trap 2: exactly_once is not


async def test_the_guarantee_is_at_least_once_and_our_own_cycle(settings: Settings) -> None:
    """Trap 2: Faust's exactly_once counted wrong after kills and stalled; trap 5: windowed tables lose windows."""
    app = InProcessWorker(settings, SystemClock()).app
    assert str(app.conf.processing_guarantee.value) == "at_least_once"
    assert app.conf.table_standby_replicas == 0
    assert [name for name in app.tables if app.tables[name].is_global] == []
    assert [type(table).__name__ for table in app.tables.values()] == ["Table"]


async def test_what_was_sent_before_a_crash_comes_again_with_the_same_ids_and_contents(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 2: instead of a transaction, a repetition is byte for byte the same, so consumers see it once."""
    async with running(settings) as worker:
        fail_sends_to(worker, settings, STATE, monkeypatch)
        await send(
            settings, None, [event_record(s, "form.created", now_ms(), form_id="f") for s in EVERYWHERE]
        )
        await asyncio.wait_for(worker.failed(), DEADLINE_S)
    async with running(settings) as worker:
        await until(lambda: all_read(settings, worker))
    for topic in (MILESTONES, RISK_CHANGES):
        copies: dict[str, list[bytes]] = {}
        for partition in await read(settings, topic):
            for record in partition:
                copies.setdefault(record.key.decode(), []).append(record.value)
        assert copies.keys() == set(EVERYWHERE)
        assert all(len(set(values)) == 1 for values in copies.values())
        assert any(len(values) > 1 for values in copies.values()), (
            "nothing came twice: the test shows nothing"
        )


def fail_sends_to(
    worker: InProcessWorker, settings: Settings, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Have the worker's producer fail on one topic."""
    producer = worker.app.batch_producer
    inner = producer.send

    async def send_but_not_there(topic: str, partition: int, records: Any, **how: Any) -> None:
        if topic == full_name(settings.topic_prefix, name):
            raise RuntimeError("not enough replicas")
        await inner(topic, partition, records, **how)

    monkeypatch.setattr(producer, "send", send_but_not_there)


# --- trap 3: tables run ahead of the commit


async def test_the_commit_follows_the_state_although_nothing_more_comes(settings: Settings) -> None:
    """Trap 1: commits can freeze, and the group then seems to lag for good."""
    async with running(settings) as worker:
        await send(settings, worker, forms(3))
    await commit_nothing(settings)
    assert await lag(settings, [ACTIVITY]) == 3
    async with running(settings):
        await until(lambda: no_lag(settings))


async def test_a_lost_commit_repeats_no_event(settings: Settings) -> None:
    """Trap 3: after a crash the changelog is ahead of the commit, and plain tables count again.

    More events than the 256 whose ids a supplier remembers, lest those hide it.
    """
    async with running(settings) as worker:
        await send(settings, worker, forms(300))
    await commit_nothing(settings)
    async with running(settings) as worker:
        await send(settings, worker, forms(1))
    assert (await values(settings, HEALTH))[-1]["data"]["forms"]["created"] == 301


def forms(number: int) -> list[Any]:
    return [event_record(ANNA, "form.created", now_ms(), form_id=f"f{n}") for n in range(number)]


async def commit_nothing(settings: Settings) -> None:
    """Set the group's offsets of the activity topic back to its beginning."""
    group = f"{settings.topic_prefix}success-worker"
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, group_id=group, enable_auto_commit=False)
    await consumer.start()
    topic = full_name(settings.topic_prefix, ACTIVITY)
    partitions = [TopicPartition(topic, number) for number in range(settings.partitions)]
    consumer.assign(partitions)
    await consumer.commit(dict.fromkeys(partitions, 0))
    await consumer.stop()


# --- trap 4: what failed is acked


async def test_a_failed_write_stops_the_worker_and_the_batch_comes_again(settings: Settings) -> None:
    """Trap 4: an exception in an agent acks the message, and the agent goes on with the next."""
    writer = SpyWriter(fails=True)
    async with running(settings, new_writer=lambda: writer) as worker:
        await send(settings, None, [event_record(ANNA, at=now_ms())])
        failure = await asyncio.wait_for(worker.failed(), DEADLINE_S)
        assert "Postgres is away" in str(failure)
        with pytest.raises(WorkerFailedError):
            await worker.processed(HEALTH, 0, 0)
    assert await lag(settings, [HEALTH]) == 1
    writer.fails = False
    async with running(settings, new_writer=lambda: writer) as worker:
        await worker.processed(HEALTH, 0, 0)
    assert (HEALTH, ANNA.encode()) in writer.written


async def test_a_failed_state_record_stops_the_worker_and_its_events_are_folded_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 4: a changelog record that could not be sent is only logged; trap 5: RocksDB has it all the same."""
    async with running(settings) as worker:
        fail_sends_to(worker, settings, STATE, monkeypatch)
        await send(settings, None, [event_record(ANNA, "form.created", now_ms(), form_id="f")])
        assert "not enough replicas" in str(await asyncio.wait_for(worker.failed(), DEADLINE_S))
        assert store_of(worker).partition(0) == {}
    async with running(settings) as worker:
        await worker.processed(ACTIVITY, 0, 0)
        await send(settings, worker, [event_record(ANNA, "form.created", now_ms(), form_id="g")])
    milestones = await values(settings, MILESTONES)
    assert len({milestone["id"] for milestone in milestones}) == 1
    assert (await values(settings, HEALTH))[-1]["data"]["forms"]["created"] == 2


# --- trap 5: state, timers and keys of partitions that are somebody else's


async def test_two_workers_share_the_partitions_and_each_keeps_only_its_own_state(settings: Settings) -> None:
    """Trap 5: memory tables keep the keys of partitions they have lost, and count on from them later."""
    async with running(settings) as first:
        await send(settings, first, [event_record(s, at=now_ms()) for s in EVERYWHERE])
        async with running(settings) as second:
            await until(lambda: both_have(first, second, 2))
            assert held(first).isdisjoint(held(second))
            await send(settings, None, [event_record(s, at=now_ms()) for s in EVERYWHERE])
            await until(lambda: no_lag(settings))
        await until(lambda: both_have(first, first, 4))
        await send(settings, None, [event_record(s, at=now_ms()) for s in EVERYWHERE])
        await until(lambda: no_lag(settings))
    newest: dict[str, int] = {}
    for snapshot in await values(settings, HEALTH):
        newest[snapshot["subject"]] = snapshot["data"]["seq"]
    assert newest == dict.fromkeys(EVERYWHERE, 3)


def store_of(worker: InProcessWorker) -> PartitionStore:
    store = worker.app.tables["activity-state"].data
    assert isinstance(store, PartitionStore)
    return store


def held(worker: InProcessWorker) -> set[int]:
    return set(store_of(worker)._partitions)


async def both_have(first: InProcessWorker, second: InProcessWorker, partitions: int) -> bool:
    def scored(worker: InProcessWorker) -> int:
        return sum(isinstance(lane.handler, ScoringHandler) for lane in worker.app.engine.lanes.values())

    return all(scored(worker) == partitions == len(held(worker)) for worker in (first, second))


async def test_timers_rest_from_the_start_of_a_rebalance_until_the_sources_are_open_again(
    settings: Settings,
) -> None:
    """Trap 5: Faust's timers go on during a rebalance, on state that others may own by then."""
    logged_in = now_ms()
    clock = ManualClock(logged_in)
    async with running(settings, clock=clock, grace_ms=60_000) as worker:
        await send(settings, worker, [event_record(ANNA, at=logged_in)])
        consumer, tick = worker.app.consumer, worker.wall_clock
        assert tick is not None
        consumer.stop_flow()
        clock.advance_to(logged_in + 8 * DAY)
        await tick.tick()
        assert await values(settings, CONDITIONS) == []
        consumer.resume_flow()
        await consumer.perform_seek()
        await tick.tick()
        assert len(await values(settings, CONDITIONS)) == 1


async def test_whatever_is_sent_lies_on_the_supplier_s_own_partition(settings: Settings) -> None:
    """Trap 5: Faust hashes a JSON-encoded key, so state would land where its events do not come from."""
    async with running(settings) as worker:
        await send(
            settings, worker, [event_record(s, "form.created", now_ms(), form_id="f") for s in EVERYWHERE]
        )
    for topic in (HEALTH, MILESTONES, RISK_CHANGES, STATE):
        found = {
            record.key: record.partition
            for partition in await read(settings, topic)
            for record in partition
            if not record.key.startswith(b"\0")
        }
        assert found == {s.encode(): partition_of(s.encode(), settings.partitions) for s in EVERYWHERE}
