"""A few words with a Kafka, for the stack's tests."""

from __future__ import annotations

import asyncio
import uuid

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

LIMIT = 16 * 1024 * 1024


def topics(bootstrap: str) -> set[str]:
    """The names of all topics but Kafka's own."""
    return {name for name in asyncio.run(_topics(bootstrap)) if not name.startswith("__")}


def produce_and_read_back(bootstrap: str, value: bytes) -> bytes:
    """Create a topic, write `value` to it and read it again."""
    return asyncio.run(_round_trip(bootstrap, f"round-trip-{uuid.uuid4().hex}", value))


async def _topics(bootstrap: str) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return list(await admin.list_topics())
    finally:
        await admin.close()


async def _round_trip(bootstrap: str, topic: str, value: bytes) -> bytes:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"max.message.bytes": str(LIMIT)})])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=LIMIT) as producer:
        await producer.send_and_wait(topic, value)
    async with AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=topic
    ) as consumer:
        record = await asyncio.wait_for(consumer.getone(), timeout=60)
        return bytes(record.value)
