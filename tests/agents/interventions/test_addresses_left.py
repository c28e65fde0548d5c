"""Whatever partition profiles and erasures lie on: after compaction no address of an erased supplier is left."""

from __future__ import annotations

import asyncio
import zlib

import orjson
import psycopg
import pytest
from aiokafka import AIOKafkaProducer

from agents.worker import InProcessWorker
from runtime.clock import SystemClock
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from tests.agents.health.records import PARTITIONS, suppliers_of
from tests.reference.logs import read
from topics.catalog import DEAD_LETTERS, PROFILES, full_name
from topics.partitioner import partition_of

pytestmark = pytest.mark.stack

SUPPLIERS = [supplier for partition in range(PARTITIONS) for supplier in suppliers_of(partition, 6)]


def librdkafkas_default(key: bytes, partitions: int) -> int:
    """`consistent_random`: CRC-32 of the key."""
    return zlib.crc32(key) % partitions


def profile(supplier: str) -> bytes:
    return orjson.dumps({"id": supplier, "email": f"{supplier}@example.com"})


async def publish(settings: Settings, records: list[tuple[str, bytes | None, int]]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka, enable_idempotence=True) as producer:
        topic = full_name(settings.topic_prefix, PROFILES)
        sent = [
            await producer.send(topic, value, key=key.encode(), partition=number)
            for key, value, number in records
        ]
        await asyncio.gather(*sent)


async def settled(settings: Settings, worker: InProcessWorker) -> None:
    """Return when the worker has read what there is, and what it wrote itself."""
    ends: list[int] = []
    while (now := [len(records) for records in await read(settings, PROFILES)]) != ends:
        ends = now
        for partition, end in enumerate(ends):
            if end:
                await worker.processed(PROFILES, partition, end - 1)


async def addresses(settings: Settings) -> list[tuple[int, str]]:
    """(partition, key) of every address that is the newest record of its key there."""
    left = []
    for partition, records in enumerate(await read(settings, PROFILES)):
        newest = {record.key: record.value for record in records}
        left += [(partition, key.decode()) for key, value in newest.items() if value]
    return left


def stored(settings: Settings) -> set[str]:
    with psycopg.connect(settings.database_url) as conn:
        return {row[0] for row in conn.execute("select id::text from suppliers where email is not null")}


async def test_profiles_elsewhere_are_dead_letters_and_no_erasure_leaves_an_address_anywhere(
    settings: Settings,
) -> None:
    homes = {each: partition_of(each.encode(), PARTITIONS) for each in SUPPLIERS}
    elsewhere = {each: librdkafkas_default(each.encode(), PARTITIONS) for each in SUPPLIERS}
    astray = [each for each in SUPPLIERS if homes[each] != elsewhere[each]]
    assert astray
    worker = InProcessWorker(settings, SystemClock(), policy=Policy.load())
    await worker.start()
    try:
        await publish(settings, [(each, profile(each), homes[each]) for each in SUPPLIERS])
        await publish(settings, [(each, profile(each), elsewhere[each]) for each in SUPPLIERS])
        await settled(settings, worker)
        assert stored(settings) == set(SUPPLIERS)
        letters = [record for records in await read(settings, DEAD_LETTERS) for record in records]
        assert {record.key.decode() for record in letters} == set(astray)
        assert all(dict(record.headers)["error"].startswith(b"wrong_partition") for record in letters)
        assert all(record.value is None for record in letters), "an address is not repeated"

        await publish(settings, [(each, None, elsewhere[each]) for each in SUPPLIERS])
        await settled(settings, worker)
        assert await addresses(settings) == []
        assert stored(settings) == set()

        await publish(settings, [(each, profile(each), homes[each]) for each in SUPPLIERS])
        await publish(settings, [(each, profile(each), elsewhere[each]) for each in SUPPLIERS])
        await settled(settings, worker)
        assert await addresses(settings) == [], "an erasure holds for good, wherever a later profile lies"
        assert stored(settings) == set()
    finally:
        await worker.stop()
