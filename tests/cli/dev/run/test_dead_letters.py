"""Malformed input of every kind in contract section 3, on the real topics: refused with a reason, nothing else lost."""

from __future__ import annotations

from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from agents.worker import InProcessWorker
from cli.dev.live_worker import LiveWorker
from runtime.clock import SystemClock
from scoring.decisions.policy import Policy
from tests.factories import cloudevent
from topics.catalog import ACTIVITY, DEAD_LETTERS, MAX_DEAD_LETTER_BYTES, PROFILES, RISK_CHANGES, full_name
from topics.partitioner import partition_of
from topics.time import format_time

SUPPLIER = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"
OTHER = "00000000-0000-4000-8000-000000000001"
MIB = 1024 * 1024


def event(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A good login, but for the changes; a change to None leaves the attribute out."""
    good = {
        "id": f"e-{number}",
        "subject": SUPPLIER,
        "type": "supplier.logged_in",
        "time": "2026-01-05T09:00:00Z",
    }
    return cloudevent(**good | {"data": None} | changes)


def bad_values() -> dict[str, bytes]:
    """What is wrong with each, by the code its reason must begin with (numbered where a code has several)."""
    now = SystemClock().now_ms()
    return {
        "not_json": b"{not json",
        "not_json 2": b"\xff\xfe",
        "not_json 3": b"",
        "not_cloudevent": b"[1, 2]",
        "not_cloudevent 2": orjson.dumps(event(specversion="0.3")),
        "not_cloudevent 3": orjson.dumps(event(id=None)),
        "missing_field": orjson.dumps(event(type="form.created", data={})),
        "missing_field 2": orjson.dumps(event(type="client.imported", data={})),
        "wrong_field": orjson.dumps(event(type="form.created", data={"form_id": 7})),
        "wrong_field 2": orjson.dumps(event(type="plan.changed", data={"plan": "gold"})),
        "wrong_field 3": orjson.dumps(event(type="client.imported", data={"client_ids": ["c"] * 10_001})),
        "wrong_field 4": orjson.dumps(event(time="2026-01-05T09:00:00")),
        "subject_not_uuid": orjson.dumps(event(subject="sarah")),
        "subject_not_key": orjson.dumps(event(subject=OTHER)),
        "too_large": orjson.dumps(event(data={"x": "x" * MIB})),
        "future_time": orjson.dumps(event(time=format_time(now + 10 * 60_000))),
    }


async def read_all(settings, topic: str) -> list[Any]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka, auto_offset_reset="earliest", max_partition_fetch_bytes=4 * MIB
    )
    await consumer.start()
    partitions = [
        TopicPartition(full_name(settings.topic_prefix, topic), n) for n in range(settings.partitions)
    ]
    consumer.assign(partitions)
    ends, found = await consumer.end_offsets(partitions), []
    while any([await consumer.position(tp) < end for tp, end in ends.items()]):
        for records in (await consumer.getmany(timeout_ms=500)).values():
            found.extend(records)
    await consumer.stop()
    return found


async def test_every_kind_of_bad_input_is_a_dead_letter_and_what_is_behind_it_is_processed(settings):
    activity, profiles = (full_name(settings.topic_prefix, topic) for topic in (ACTIVITY, PROFILES))
    home = partition_of(SUPPLIER.encode(), settings.partitions)
    bad = bad_values()
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka, max_request_size=MAX_DEAD_LETTER_BYTES)
    await producer.start()
    for value in bad.values():
        await producer.send_and_wait(activity, key=SUPPLIER.encode(), value=value, partition=home)
    elsewhere = orjson.dumps(event(1, subject=OTHER))
    wrong = (partition_of(OTHER.encode(), settings.partitions) + 1) % settings.partitions
    await producer.send_and_wait(activity, key=OTHER.encode(), value=elsewhere, partition=wrong)
    await producer.send_and_wait(activity, key=None, value=orjson.dumps(event(2)), partition=home)
    unknown = orjson.dumps(event(3, type="gallery.published", data={"whatever": 1}))
    await producer.send_and_wait(activity, key=SUPPLIER.encode(), value=unknown, partition=home)
    await producer.send_and_wait(profiles, key=SUPPLIER.encode(), value=b'{"email": 1}')
    good = await producer.send_and_wait(activity, key=SUPPLIER.encode(), value=orjson.dumps(event(4)))
    await producer.stop()

    worker = InProcessWorker(settings, SystemClock(), policy=Policy.load(None))
    await worker.start()
    await worker.started()
    await worker.processed(ACTIVITY, good.partition, good.offset)
    await worker.processed(ACTIVITY, wrong, 0)
    for partition in range(settings.partitions):
        if partition == partition_of(SUPPLIER.encode(), settings.partitions):
            await worker.processed(PROFILES, partition, 0)
    await worker.stop()

    letters = await read_all(settings, DEAD_LETTERS)
    codes = sorted(dict(letter.headers)["error"].decode().partition(":")[0] for letter in letters)
    expected = [name.partition(" ")[0] for name in bad] + ["wrong_partition", "subject_not_key"]
    profile_letters = [letter for letter in letters if dict(letter.headers)["topic"].decode() == profiles]
    assert len(profile_letters) == 1
    assert profile_letters[0].value is None, "a bad profile's value is personal"
    assert codes == sorted([*expected, dict(profile_letters[0].headers)["error"].decode().partition(":")[0]])
    assert {letter.value for letter in letters} >= {bad["not_json"], bad["wrong_field"]}, "as it came"
    assert all({"error", "topic", "partition", "offset"} <= dict(letter.headers).keys() for letter in letters)

    changes = await read_all(settings, RISK_CHANGES)
    assert [record.key.decode() for record in changes] == [SUPPLIER], (
        "the good event behind all of them counts"
    )


async def test_a_line_too_large_for_the_topic_is_a_dead_letter_even_where_nobody_can_tell_whose_it_is(
    settings,
):
    worker = InProcessWorker(settings, SystemClock(), policy=Policy.load(None))
    async with LiveWorker(settings, worker) as live:
        await live.publish(
            [
                (ACTIVITY, None, b"x" * (2 * MIB)),
                (ACTIVITY, SUPPLIER.encode(), orjson.dumps(event(data={"x": "x" * (2 * MIB)}))),
                (ACTIVITY, SUPPLIER.encode(), orjson.dumps(event(1))),
            ]
        )

    letters = await read_all(settings, DEAD_LETTERS)
    assert {letter.key for letter in letters} == {None, SUPPLIER.encode()}
    assert all(dict(letter.headers)["error"].startswith(b"too_large") for letter in letters)
    assert len(await read_all(settings, RISK_CHANGES)) == 1, "the good event behind them counts"
