"""The log that is measured on, its topics, and what engines leave in theirs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from agents.engine.failure import end_process
from agents.engine.lease import Lease
from agents.engine.producer import BatchProducer, Outgoing
from runtime.settings import Settings
from topics.partitioner import partition_of

LOAD_BATCH = 20_000
READ_AT_ONCE = 10_000
ADMIN_S = 30.0
POLL_S = 0.05


class Kept(NamedTuple):
    """A record as it was read back; what `PartitionFold` asks of one."""

    key: bytes
    value: bytes
    offset: int
    timestamp: int
    partition: int
    headers: tuple[tuple[str, bytes], ...] = ()


async def publish(settings: Settings, topic: str, log: Iterable[tuple[bytes, bytes]]) -> None:
    """Publish (key, value) in order to a topic (full name), each to the partition of its key."""
    await load(settings, topic, ((partition_of(key, settings.partitions), key, value) for key, value in log))


async def load(settings: Settings, topic: str, records: Iterable[tuple[int, bytes, bytes]]) -> int:
    """Write (partition, key, value), in order within each, to a topic (full name); bytes of keys and values."""
    producer = BatchProducer(settings, Lease(3600, end_process))
    await producer.start()
    waiting: list[list[Outgoing]] = [[] for _ in range(settings.partitions)]
    size = 0
    for number, key, value in records:
        waiting[number].append((key, value, []))
        size += len(key) + len(value)
        if len(waiting[number]) >= LOAD_BATCH:
            await producer.send(topic, number, waiting[number])
            waiting[number] = []
    for number, rest in enumerate(waiting):
        await producer.send(topic, number, rest)
    await producer.stop()
    return size


def read(kafka: str, topic: str, partitions: int) -> Iterator[Kept]:
    """Everything committed in a topic (full name), in order within each partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": "bench-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    left = partitions
    try:
        while left:
            for message in consumer.consume(READ_AT_ONCE, 1.0):
                if message.error() is not None:
                    left -= 1  # the end of a partition; whatever else raises in `consume`
                elif message.value() is not None:
                    yield Kept(
                        message.key(),
                        message.value(),
                        message.offset(),
                        message.timestamp()[1],
                        message.partition(),
                    )
    finally:
        consumer.close()


def newest_values(
    kafka: str, topic: str, partitions: int, newer: Callable[[bytes | None, bytes], bytes] | None = None
) -> dict[bytes, bytes]:
    """The last value of each key, or the one that `newer` (of two) chooses."""
    values: dict[bytes, bytes] = {}
    for record in read(kafka, topic, partitions):
        values[record.key] = newer(values.get(record.key), record.value) if newer else record.value
    return values


def by_partition(kafka: str, topic: str, partitions: int) -> dict[int, list[Kept]]:
    """Everything in a topic, a list a partition."""
    records = sorted(read(kafka, topic, partitions), key=lambda record: record.partition)
    return {number: list(each) for number, each in groupby(records, key=lambda record: record.partition)}


class Topics:
    """Making and deleting topics and groups."""

    def __init__(self, kafka: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": kafka, "log_level": 4})

    def create(self, name: str, partitions: int, **config: str) -> None:
        """A topic that this program may write to when this returns."""
        made = self._admin.create_topics([NewTopic(name, partitions, 1, config=config)])
        made[name].result(ADMIN_S)
        deadline = time.monotonic() + ADMIN_S
        while name not in self._names():
            if time.monotonic() > deadline:
                raise TimeoutError(f"topic {name} does not appear")
            time.sleep(POLL_S)

    def delete(self, unwanted: Callable[[str], bool]) -> None:
        """Topics by name; returns when they are gone."""
        names = [name for name in self._names() if unwanted(name)]
        if not names:
            return
        for future in self._admin.delete_topics(names).values():
            future.result(ADMIN_S)
        deadline = time.monotonic() + ADMIN_S
        while any(unwanted(name) for name in self._names()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"topics do not go: {names}")
            time.sleep(POLL_S)

    def forget_group(self, group: str) -> None:
        """Delete a consumer group's offsets, if there are any."""
        future = self._admin.delete_consumer_groups([group])[group]
        try:
            future.result(ADMIN_S)
        except KafkaException as error:
            if error.args[0].name() != "GROUP_ID_NOT_FOUND":
                raise

    def _names(self) -> list[str]:
        return list(self._admin.list_topics(timeout=ADMIN_S).topics)
