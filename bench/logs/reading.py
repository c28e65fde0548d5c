"""Reading a whole topic."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from agents.engine.connection import FETCH_WAIT_MS
from runtime.settings import Settings

Log = list[list[ConsumerRecord[bytes, bytes]]]


async def read_topic(settings: Settings, topic: str) -> Log:
    """Everything in a topic (full name), a list a partition."""
    consumer: AIOKafkaConsumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka, max_poll_records=20_000, fetch_max_wait_ms=FETCH_WAIT_MS
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(settings.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        records: Log = [[] for _ in partitions]
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            for tp, batch in (await consumer.getmany(timeout_ms=1000)).items():
                records[tp.partition] += batch
        return records
    finally:
        await consumer.stop()
