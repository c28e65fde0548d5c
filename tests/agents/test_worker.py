"""A worker on real Kafka: its drivers, its timers, its dead letters, and when it refuses to start."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from agents.inprocess import InProcessWorker, TopicsNotReadyError
from agents.provisioning import STATE, create_topics
from runtime.clock import ManualClock, SystemClock
from runtime.settings import Settings
from scoring.time import DAY
from tests.agents.records import event_record
from tests.agents.worker import (
    ANNA,
    BELLE,
    DEADLINE_S,
    EVERYWHERE,
    SpyWriter,
    now_ms,
    running,
    send,
    until,
    values,
)
from tests.chaos.log import read
from topics.catalog import ACTIVITY, CONDITIONS, DEAD_LETTERS, HEALTH, MILESTONES, PROFILES, full_name
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
