"""`success migrate` and `success publish`, as people start them, on a real Kafka."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.engine.connection import client_options
from tests.cli.here import success_beside, success_here
from tests.topics.events import KEY, SUPPLIER, as_bytes, event
from topics.catalog import ACTIVITY, MAX_ACTIVITY_BYTES, PROFILES, full_name
from topics.decoding import ActivityEvent, Refusal, decode
from topics.partitioner import partition_of

pytestmark = pytest.mark.stack
PROFILE = {"id": SUPPLIER, "first_name": "Sarah"}


def environment(settings) -> dict[str, str]:
    return os.environ | {
        "SUCCESS_KAFKA": settings.kafka,
        "SUCCESS_DATABASE_URL": settings.database_url,
        "SUCCESS_SMTP_URL": settings.smtp_url,
        "SUCCESS_TOPIC_PREFIX": settings.topic_prefix,
        "SUCCESS_PARTITIONS": str(settings.partitions),
        "SUCCESS_JWT_SECRET": settings.jwt_secret,
        "SUCCESS_WEBHOOK_SECRET": settings.webhook_secret,
        "SUCCESS_SECRET_KEY": settings.secret_key,
    }


SUCCESS = str(Path(sys.executable).with_name("success"))


def success(settings, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [SUCCESS, *arguments],
        input=stdin,
        capture_output=True,
        env=environment(settings),
        check=False,
        timeout=120,
    )


async def records(settings, name: str) -> list[Any]:
    """Everything on a topic, in order of partition and offset."""
    topic = full_name(settings.topic_prefix, name)
    places = [TopicPartition(topic, number) for number in range(settings.partitions)]
    consumer = AIOKafkaConsumer(**client_options(settings), auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        found: list[Any] = []
        while sum(ends.values()) > len(found):
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                found += batch
        return sorted(found, key=lambda record: (record.partition, record.offset))
    finally:
        await consumer.stop()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    lines = [as_bytes({"profile": PROFILE}), as_bytes(event(id="1")), b"", as_bytes(event(id="2"))]
    path.write_bytes(b"\n".join(lines))
    return path


async def test_a_file_is_published_in_order_under_its_keys_where_java_would_put_it(settings, file):
    done = success(settings, "publish", str(file), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["events"], told["profiles"], told["too_large"]) == (2, 1, 0)
    events = await records(settings, ACTIVITY)
    assert [decode(r.key, r.value, r.headers, r.timestamp).id for r in events] == ["1", "2"]
    assert {r.partition for r in events} == {partition_of(KEY, settings.partitions)}
    (profile,) = await records(settings, PROFILES)
    assert (profile.key, json.loads(profile.value)) == (KEY, PROFILE)


async def test_what_is_wrong_is_published_as_it_came_for_the_dead_letters(settings):
    lines = [b"not json", as_bytes(event(subject="x")), b'{"profile": {"id": 3}}', b"\xff\xfe"]
    done = success(settings, "publish", "-", stdin=b"\n".join(lines))
    assert done.returncode == 0, done.stderr
    assert b"published 3 events, 1 profiles" in done.stdout
    events = await records(settings, ACTIVITY)
    assert {(r.key, r.value) for r in events} == {(None, lines[0]), (b"x", lines[1]), (None, lines[3])}
    assert all(isinstance(decode(r.key, r.value, r.headers, r.timestamp), Refusal) for r in events)
    assert [(r.key, r.value) for r in await records(settings, PROFILES)] == [(b"", b'{"id": 3}')]


async def test_a_line_over_a_mebibyte_is_published_and_one_that_kafka_will_not_take_is_reported(settings):
    lines = [as_bytes(event(pad="x" * size)) for size in (1_048_576, MAX_ACTIVITY_BYTES)]
    done = success(settings, "publish", "-", stdin=b"\n".join([*lines, as_bytes(event())]))
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: 1 lines are larger than Kafka takes")
    outcomes = [decode(r.key, r.value, r.headers, r.timestamp) for r in await records(settings, ACTIVITY)]
    assert [type(outcome) for outcome in outcomes] == [Refusal, ActivityEvent]


async def test_an_erasure_is_an_empty_value(settings, file):
    assert (await success_beside(settings, "publish", str(file))).code == 0
    assert (await success_beside(settings, "publish", "--erase", SUPPLIER)).code == 0
    last = (await records(settings, PROFILES))[-1]
    assert (last.key, last.value) == (KEY, None)


async def test_lines_of_a_pipe_are_published_while_it_stays_open_and_ctrl_c_says_what_was_done(settings):
    process = await asyncio.create_subprocess_exec(
        SUCCESS, "publish", "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(settings)
    )
    assert process.stdin
    assert process.stderr
    try:
        process.stdin.write(as_bytes(event()) + b"\n")
        async with asyncio.timeout(60):
            while not await records(settings, ACTIVITY):
                assert process.returncode is None
                await asyncio.sleep(0.1)
            process.send_signal(signal.SIGINT)
            told = await process.stderr.read()
            assert await process.wait() == 130
    finally:
        if process.returncode is None:
            process.kill()
    assert b"published 1 events" in told


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give a FILE"),
        (["nowhere.jsonl"], "can't read nowhere.jsonl: No such file"),
        (["--erase", SUPPLIER.upper()], "not a UUID of 36 characters in lowercase"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(settings, arguments, says):
    done = success_here(settings, "publish", *arguments)
    assert done.code == 2
    assert says in done.err
    assert done.err.count("\n") == 1


def test_publishing_before_migrating_says_so(settings, file):
    elsewhere = settings.model_copy(update={"topic_prefix": "nowhere."})
    done = success_here(elsewhere, "publish", str(file))
    assert done.code == 1
    assert "run `success migrate` first" in done.err


def test_migrate_makes_topics_and_tables_once(settings):
    fresh = settings.model_copy(update={"topic_prefix": f"{settings.topic_prefix}fresh."})
    first = success(fresh, "migrate", "--json")
    assert first.returncode == 0, first.stderr
    assert f"{fresh.topic_prefix}supplier.activity" in json.loads(first.stdout)["topics"]
    second = success_here(fresh, "migrate", "--json")
    assert second.code == 0, second.err
    assert json.loads(second.out) == {"topics": [], "migrations": [], "after": [], "activated": None}


def test_migrate_explains_a_differing_partition_count(settings):
    wider = settings.model_copy(update={"partitions": settings.partitions + 1})
    done = success_here(wider, "migrate")
    assert done.code == 1
    assert f"set SUCCESS_PARTITIONS={settings.partitions}" in done.err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (as_bytes(event()).decode().encode("utf-16"), "is text in UTF-16: save it as UTF-8"),
        (as_bytes(event()).decode().encode("utf-16-le"), "is text in UTF-16: save it as UTF-8"),
        (gzip.compress(as_bytes(event())), "is packed (gzip): unpack it first"),
    ],
)
async def test_a_file_that_is_no_text_in_utf_8_is_refused_as_a_whole(settings, content, says):
    done = success(settings, "publish", "-", stdin=content + b"\n")
    assert done.returncode == 2
    assert says in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert await records(settings, ACTIVITY) == []
