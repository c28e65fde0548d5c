"""What the services write to their logs, as processes of their own: nothing of a profile, whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from runtime.settings import Settings
from tests.cli.services.test_deliver import finished, success
from tests.factories import cloudevent
from topics.catalog import ACTIVITY, DEAD_LETTERS, PROFILES, full_name

pytestmark = pytest.mark.stack

SUPPLIER = "5b1c6e0a-9d53-4a7e-9a3c-0c4b7f0f2a11"
PRIVATE = ("zuleika@private.example.com", "Zuleika", "Dobson & Daughters", "private.example.com")
PROFILE = {"id": SUPPLIER, "email": PRIVATE[0], "first_name": PRIVATE[1], "business_name": PRIVATE[2]}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A mail server that is not there, so that deliveries have something to say."""
    return settings.model_copy(update={"smtp_url": "smtp://127.0.0.1:9"})


def event(kind: str, number: int) -> bytes:
    now = time.time_ns() // 1_000_000
    made = cloudevent(kind, SUPPLIER, now, id=f"{kind}-{number}", data={"form_id": f"f{number}"})
    return json.dumps(made).encode()


async def publish(settings: Settings, *records: tuple[str, bytes | None]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka, acks="all") as producer:
        for topic, value in records:
            await producer.send_and_wait(full_name(settings.topic_prefix, topic), value, SUPPLIER.encode())


async def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


def count(settings: Settings, query: str) -> int:
    with psycopg.connect(settings.database_url) as conn:
        row = conn.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])


async def dead_letters(settings: Settings) -> list[tuple[bytes | None, str]]:
    """Value and headers of every dead letter."""
    consumer = AIOKafkaConsumer(
        full_name(settings.topic_prefix, DEAD_LETTERS),
        bootstrap_servers=settings.kafka,
        auto_offset_reset="earliest",
    )
    async with consumer:
        found = await consumer.getmany(timeout_ms=5000)
        return [(record.value, str(record.headers)) for records in found.values() for record in records]


async def test_worker_and_delivery_name_nobody_and_dead_letters_carry_no_profile(
    settings: Settings,
) -> None:
    worker = await success(settings, "worker")
    try:
        await publish(
            settings,
            (PROFILES, json.dumps(PROFILE).encode()),
            (PROFILES, json.dumps(PROFILE | {"email": f"{PRIVATE[0]} <x"}).encode()),
            (PROFILES, json.dumps(PROFILE | {"timezone": "Mars/Olympus"}).encode()),
            (PROFILES, json.dumps(PROFILE).encode()[:-9]),
            (ACTIVITY, event("form.created", 1)),
        )
        await until(lambda: count(settings, "SELECT count(*) FROM success_interventions") == 1)
        await until(lambda: count(settings, "SELECT count(*) FROM suppliers WHERE email IS NOT NULL") == 1)
        code, out, err = await finished(await success(settings, "deliver", "--once"))
        assert code == 0, err
        assert "retried 1" in out
        await publish(
            settings,
            (PROFILES, None),
            (PROFILES, json.dumps(PROFILE).encode()),
            (ACTIVITY, event("form.created", 2)),
        )
        await until(lambda: count(settings, "SELECT count(*) FROM erased_suppliers") == 1)
        await until(lambda: count(settings, "SELECT count(*) FROM suppliers") == 0)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker_code, worker_out, worker_err = await finished(worker)
    assert worker_code == 0
    letters = await dead_letters(settings)
    assert [value for value, _ in letters] == [None] * 3
    everything = "\n".join((out, err, worker_out, worker_err, *(headers for _, headers in letters))).lower()
    assert "can't connect to the mail server" in everything
    for word in PRIVATE:
        assert word.lower() not in everything
    assert count(settings, "SELECT count(*) FROM suppliers") == 0
