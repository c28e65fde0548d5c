"""A worker on real Kafka: what plain Faust gets wrong here, each trap closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from agents.activity import ScoringHandler
from agents.failure import WorkerFailedError
from agents.fold import DeadLetter, Record
from agents.inprocess import InProcessWorker, TopicsNotReadyError
from agents.partition_store import PartitionStore
from agents.provisioning import STATE
from runtime.clock import ManualClock, SystemClock
from runtime.settings import Settings
from scoring.time import DAY
from tests.agents.records import FakeRecord, event_record, suppliers_of
from tests.chaos.log import lag, publish, read
from topics.catalog import ACTIVITY, CONDITIONS, DEAD_LETTERS, HEALTH, MILESTONES, PROFILES, full_name
from topics.partitioner import partition_of

pytestmark = pytest.mark.stack

DEADLINE_S = 30.0
ANNA, BELLE = suppliers_of(0, 2)
EVERYWHERE = [supplier for partition in range(4) for supplier in suppliers_of(partition, 5)]


@dataclass
class SpyWriter:
    """Stands in for Postgres; remembers what it was given, fails when told to."""

    written: list[tuple[str, bytes | None]] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    fails: bool = False

    async def write(self, topic: str, records: Sequence[Any]) -> None:
        """Remember the keys."""
        if self.fails:
            raise RuntimeError("Postgres is away")
        self.written += [(topic, record.key) for record in records]


@asynccontextmanager
async def running(settings: Settings, **options: Any) -> AsyncIterator[InProcessWorker]:
    clock = options.pop("clock", None) or SystemClock()
    worker = InProcessWorker(settings, clock, **options)
    await worker.start()
    try:
        await worker.started()
        yield worker
    finally:
        await worker.stop()


async def send(settings: Settings, worker: InProcessWorker | None, records: Sequence[FakeRecord]) -> None:
    """Publish; with a worker also wait until it has processed them all."""
    before = await ends(settings)
    await publish(settings, [(record.key or b"", record.value or b"") for record in records])
    after = await ends(settings)
    if worker is not None:
        for partition, end in enumerate(after):
            if end > before[partition]:
                await worker.processed(ACTIVITY, partition, end - 1)


async def ends(settings: Settings) -> list[int]:
    return [len(records) for records in await read(settings, ACTIVITY)]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.05)


def now_ms() -> int:
    return SystemClock().now_ms()


async def values(settings: Settings, topic: str) -> list[dict[str, Any]]:
    return [orjson.loads(record.value) for records in await read(settings, topic) for record in records]


async def test_effects_are_in_kafka_when_an_offset_counts_as_processed(settings: Settings) -> None:
    async with running(settings) as worker:
        await send(settings, worker, [event_record(ANNA, "form.created", now_ms(), form_id="f")])
        [milestone] = await values(settings, MILESTONES)
        [snapshot] = await values(settings, HEALTH)
        assert (milestone["subject"], milestone["data"]["milestone"]) == (ANNA, "first_form")
        assert (snapshot["subject"], snapshot["data"]["forms"]["created"]) == (ANNA, 1)
        assert worker.produced[MILESTONES, 0] == 0


async def test_a_driver_fires_what_is_due_and_waits_for_its_effects(settings: Settings) -> None:
    started = now_ms() - 10 * DAY
    async with running(settings, grace_ms=None) as worker:
        await send(settings, worker, [event_record(s, at=started) for s in (ANNA, BELLE)])
        assert worker.next_due_ms() == started + 3 * DAY
        assert await worker.fire_due(started + 7 * DAY) == 2
        met = await values(settings, CONDITIONS)
        assert sorted(signal["subject"] for signal in met) == sorted([ANNA, BELLE])


async def test_timers_survive_a_restart(settings: Settings) -> None:
    started = now_ms() - 10 * DAY
    async with running(settings, grace_ms=None) as worker:
        await send(settings, worker, [event_record(s, at=started) for s in EVERYWHERE])
    async with running(settings, grace_ms=None) as worker:
        assert worker.next_due_ms() == started + 3 * DAY
        await worker.fire_due(started + 7 * DAY)
    met = {signal["subject"] for signal in await values(settings, CONDITIONS)}
    assert met == set(EVERYWHERE)


async def test_the_wall_clock_moves_a_partition_only_after_a_minute_of_silence_and_up_to_the_grace(
    settings: Settings,
) -> None:
    logged_in = now_ms()
    clock = ManualClock(logged_in + 7 * DAY)
    async with running(settings, clock=clock, grace_ms=60_000) as worker:
        await send(settings, worker, [event_record(ANNA, at=logged_in)])
        tick = worker.wall_clock
        assert tick is not None
        clock.advance_to(logged_in + 7 * DAY + 59_999)
        await tick.tick()
        assert await values(settings, CONDITIONS) == []
        clock.advance_to(logged_in + 7 * DAY + 60_000)
        await tick.tick()
        [signal] = await values(settings, CONDITIONS)
        assert signal["data"]["condition"] == "no_login_7_days"


async def test_while_records_are_left_to_read_the_wall_clock_moves_nothing(settings: Settings) -> None:
    logged_in = now_ms()
    clock = ManualClock(logged_in)
    async with running(settings, clock=clock, grace_ms=60_000) as worker:
        await send(settings, worker, [event_record(ANNA, at=logged_in)])
        worker.app.engine.consumer.hold(next(tp for tp in worker.app.engine.lanes if tp.partition == 0))
        await asyncio.sleep(0.3)  # a poll that is under way may still deliver
        await send(settings, None, [event_record(BELLE, at=logged_in)])
        clock.advance_to(logged_in + 30 * DAY)
        assert worker.wall_clock is not None
        await worker.wall_clock.tick()
        assert await values(settings, CONDITIONS) == []


async def test_every_offset_reaches_the_agent_once_and_in_order_across_recoveries(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vanilla Faust resumes the source before it seeks and drops what was queued: events go missing."""
    seen: dict[int, list[int]] = {}
    add = ScoringHandler.add

    def spy(self: ScoringHandler, records: Sequence[Record]) -> None:
        seen.setdefault(self.fold.partition, []).extend(record.offset for record in records)
        add(self, records)

    monkeypatch.setattr(ScoringHandler, "add", spy)
    for _ in range(4):
        await send(settings, None, [event_record(s, at=now_ms()) for s in EVERYWHERE * 25])
        async with running(settings) as worker:
            await until(lambda: all_read(settings, worker))
            await send(settings, worker, [event_record(s, at=now_ms()) for s in EVERYWHERE])
    for partition, end in enumerate(await ends(settings)):
        assert seen[partition] == list(range(end))


async def all_read(settings: Settings, worker: InProcessWorker) -> bool:
    progress = {tp.partition: offset for tp, offset in worker.app.engine.progress.items()}
    return all(progress.get(partition, -1) == end - 1 for partition, end in enumerate(await ends(settings)))


async def test_two_workers_share_the_partitions_and_each_keeps_only_its_own_state(settings: Settings) -> None:
    """Vanilla memory tables keep the keys of partitions they have lost."""
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


def held(worker: InProcessWorker) -> set[int]:
    store = worker.app.tables["activity-state"].data
    assert isinstance(store, PartitionStore)
    return set(store._partitions)


async def both_have(first: InProcessWorker, second: InProcessWorker, partitions: int) -> bool:
    return all(len(worker.app.engine.lanes) == partitions == len(held(worker)) for worker in (first, second))


async def no_lag(settings: Settings) -> bool:
    return await lag(settings, [ACTIVITY]) == 0


async def test_a_failed_write_stops_the_worker_and_the_batch_comes_again(settings: Settings) -> None:
    """Vanilla Faust acks what an agent failed on and goes on."""
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
    """Vanilla Faust only logs a changelog record that could not be sent."""
    async with running(settings) as worker:
        producer = worker.app.batch_producer
        inner = producer.send

        async def send_but_no_state(topic: str, partition: int, records: Any) -> None:
            if topic == full_name(settings.topic_prefix, STATE):
                raise RuntimeError("not enough replicas")
            await inner(topic, partition, records)

        monkeypatch.setattr(producer, "send", send_but_no_state)
        await send(settings, None, [event_record(ANNA, "form.created", now_ms(), form_id="f")])
        assert "not enough replicas" in str(await asyncio.wait_for(worker.failed(), DEADLINE_S))
    async with running(settings) as worker:
        await worker.processed(ACTIVITY, 0, 0)
        await send(settings, worker, [event_record(ANNA, "form.created", now_ms(), form_id="g")])
    milestones = await values(settings, MILESTONES)
    assert len({milestone["id"] for milestone in milestones}) == 1
    assert (await values(settings, HEALTH))[-1]["data"]["forms"]["created"] == 2


async def test_a_lost_commit_repeats_no_event(settings: Settings) -> None:
    """Vanilla tables run ahead of the commit and count again after a crash: the state says where to go on."""
    async with running(settings) as worker:
        await send(settings, worker, [event_record(ANNA, "form.created", now_ms(), form_id="f")])
    await commit_nothing(settings)
    async with running(settings) as worker:
        await send(settings, worker, [event_record(ANNA, "form.created", now_ms(), form_id="g")])
    assert [snapshot["data"]["forms"]["created"] for snapshot in await values(settings, HEALTH)] == [1, 2]


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


async def test_a_lost_state_is_rebuilt_from_the_log_whatever_was_committed(settings: Settings) -> None:
    async with running(settings) as worker:
        await send(settings, worker, [event_record(ANNA, "form.created", now_ms(), form_id="f")] * 1)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    state = full_name(settings.topic_prefix, STATE)
    await admin.delete_topics([state])
    await admin.close()
    await recreate(settings)
    async with running(settings) as worker:
        await send(settings, worker, [event_record(ANNA, "form.created", now_ms(), form_id="g")])
    assert (await values(settings, HEALTH))[-1]["data"]["forms"]["created"] == 2


async def recreate(settings: Settings) -> None:
    from agents.provisioning import create_topics  # noqa: PLC0415 - only here

    async def made() -> bool:
        return bool(await create_topics(settings))

    await until(made)


async def test_a_state_ahead_of_a_topic_that_was_made_again_stops_the_worker(settings: Settings) -> None:
    async with running(settings) as worker:
        await send(settings, worker, [event_record(ANNA, at=now_ms())])
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    await admin.delete_topics([full_name(settings.topic_prefix, ACTIVITY)])
    await admin.close()
    await recreate(settings)
    worker = InProcessWorker(settings, SystemClock())
    starting = asyncio.create_task(worker.start())
    failure = await asyncio.wait_for(worker.failed(), DEADLINE_S)
    assert "delete the state topic too" in str(failure)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await worker.stop()


async def test_dead_letters_of_the_writer_are_sent_before_the_ack(settings: Settings) -> None:
    writer = SpyWriter(dead_letters=[(ANNA.encode(), None, [("error", b"wrong_field: email")])])
    async with running(settings, new_writer=lambda: writer) as worker:
        await send(settings, worker, [event_record(ANNA, at=now_ms())])
        await worker.settled()
        [letter] = [r for records in await read(settings, DEAD_LETTERS) for r in records]
    assert letter.key == ANNA.encode()
    assert dict(letter.headers)["error"] == b"wrong_field: email"


async def test_a_profile_with_an_empty_value_reaches_the_writer(settings: Settings) -> None:
    from aiokafka import AIOKafkaProducer  # noqa: PLC0415 - only here

    writer = SpyWriter()
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka)
    await producer.start()
    topic, partition = full_name(settings.topic_prefix, PROFILES), partition_of(ANNA.encode(), 4)
    await producer.send_and_wait(topic, None, key=ANNA.encode(), partition=partition)
    await producer.stop()
    async with running(settings, new_writer=lambda: writer) as worker:
        await worker.processed(PROFILES, partition, 0)
    assert writer.written == [(PROFILES, ANNA.encode())]


async def test_missing_topics_stop_the_start_and_name_the_command(settings: Settings) -> None:
    bare = settings.model_copy(update={"topic_prefix": f"{settings.topic_prefix}bare."})
    with pytest.raises(TopicsNotReadyError, match="run `success migrate`"):
        await InProcessWorker(bare, SystemClock()).start()


async def test_another_number_of_partitions_stops_the_start(settings: Settings) -> None:
    other = settings.model_copy(update={"partitions": 8})
    with pytest.raises(TopicsNotReadyError, match="has 4 partitions and SUCCESS_PARTITIONS is 8"):
        await InProcessWorker(other, SystemClock()).start()


async def test_the_processing_guarantee_is_our_own(settings: Settings) -> None:
    """Faust's exactly_once counted wrong after kills and stalled."""
    worker = InProcessWorker(settings, SystemClock())
    conf = worker.app.conf
    assert str(conf.processing_guarantee.value) == "at_least_once"
    assert not conf.topic_allow_declare
    assert conf.table_standby_replicas == 0
