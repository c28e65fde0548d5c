"""How many records topics have had."""

from __future__ import annotations

from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.engine.connection import consumer_of
from runtime.settings import Settings
from topics.catalog import full_name


async def topic_ends(settings: Settings, topics: Iterable[str]) -> dict[str, int]:
    """Catalogue name of each topic → the sum of its partitions' end offsets: the records it has ever had."""
    consumer = consumer_of(settings)
    await consumer.start()
    try:
        return {topic: await _ends(consumer, full_name(settings.topic_prefix, topic)) for topic in topics}
    finally:
        await consumer.stop()


async def _ends(consumer: AIOKafkaConsumer, topic: str) -> int:
    metadata = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - the consumer's own lists only what it reads
    partitions = [TopicPartition(topic, number) for number in metadata.partitions_for_topic(topic) or ()]
    return sum((await consumer.end_offsets(partitions)).values())
