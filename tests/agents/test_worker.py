"""A worker on real Kafka: its drivers, its timers, its dead letters, and when it refuses to start."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from agents.cluster.identity import TopicsNotReadyError
from agents.cluster.provisioning import STATE, create_topics
from agents.engine.failure import RefusedError
from agents.worker import InProcessWorker
from runtime.clock import ManualClock, SystemClock
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from scoring.time import DAY
from store.database import DatabaseError
from tests.agents.health.records import event_record
from tests.agents.workers import (
    ANNA,
    BELLE,
    EVERYWHERE,
    SpyWriter,
    now_ms,
    running,
    send,
    until,
    values,
)
from tests.reference.logs import read
from topics.catalog import CONDITIONS, DEAD_LETTERS, HEALTH, MILESTONES, PROFILES, full_name
from topics.partitioner import partition_of

pytestmark = pytest.mark.stack


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


async def test_a_lost_state_is_rebuilt_from_the_log_whatever_was_committed(settings: Settings) -> None:
    async with running(settings) as worker:
        await send(settings, worker, [event_record(ANNA, "form.created", now_ms(), form_id="f")])
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
    async def made() -> bool:
        return bool(await create_topics(settings))

    await until(made)


async def test_dead_letters_of_the_writer_are_sent_before_the_ack(settings: Settings) -> None:
    writer = SpyWriter(dead_letters=[(ANNA.encode(), None, [("error", b"wrong_field: email")])])
    async with running(settings, new_writer=lambda: writer) as worker:
        await send(settings, worker, [event_record(ANNA, at=now_ms())])
        await worker.settled()
        [letter] = [r for records in await read(settings, DEAD_LETTERS) for r in records]
    assert letter.key == ANNA.encode()
    assert dict(letter.headers)["error"] == b"wrong_field: email"


async def test_a_profile_with_an_empty_value_reaches_the_writer(settings: Settings) -> None:
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
    with pytest.raises(RefusedError, match="has 4 partitions and SUCCESS_PARTITIONS is 8"):
        await InProcessWorker(other, SystemClock()).start()


async def test_a_lane_waits_for_a_postgres_that_is_away_and_scoring_goes_on(settings: Settings) -> None:
    writer = SpyWriter(fails=True, error=psycopg.OperationalError("the connection is lost"))
    async with running(settings, new_writer=lambda: writer) as worker:
        await send(settings, worker, [event_record(ANNA, "form.created", now_ms(), form_id="f")])
        [lane] = [
            lane
            for tp, lane in worker.app.engine.lanes.items()
            if (tp.topic, tp.partition) == (full_name(settings.topic_prefix, HEALTH), 0)
        ]

        async def waiting() -> bool:
            return lane.wait.waiting_for is not None

        await until(waiting)
        await send(settings, worker, [event_record(ANNA, "form.created", now_ms(), form_id="g")])
        assert writer.written == []
        writer.fails = False
        await worker.processed(HEALTH, 0, 1)
        assert (HEALTH, ANNA.encode()) in writer.written


async def test_scoring_begins_without_postgres_and_ends_well(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/nothing"})
    async with running(nowhere, policy=Policy.load(), waits=True) as worker:
        await send(settings, worker, [event_record(ANNA, "form.created", now_ms(), form_id="f")])
        assert len(await values(settings, MILESTONES)) == 1


async def test_without_waiting_a_postgres_that_is_away_is_an_error(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/nothing"})
    worker = InProcessWorker(nowhere, SystemClock(), policy=Policy.load())
    with pytest.raises(DatabaseError, match="can't be reached"):
        await worker.start()
    await worker.stop()
