"""How far the workers are behind: what their consumer group has committed against the ends of what it reads."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from agents.engine.connection import client_options, consumer_of
from topics.catalog import (
    ACTIVITY,
    CONDITIONS,
    DEAD_LETTERS,
    HEALTH,
    MILESTONES,
    PROFILES,
    RISK_CHANGES,
    full_name,
)

if TYPE_CHECKING:
    from runtime.settings import Settings

READ = (ACTIVITY, PROFILES, HEALTH, RISK_CHANGES, MILESTONES, CONDITIONS)
"""What `success worker` reads; catalogue names."""
TIMEOUT_S = 8.0


@dataclass(frozen=True, slots=True)
class TopicLag:
    """A topic: records it ever had, and how many of them the group has not committed (None: it reads none of it)."""

    topic: str
    records: int
    behind: int | None


@dataclass(frozen=True, slots=True)
class Lag:
    """What Kafka says: topics, and how many workers are in the group (None: it does not answer)."""

    topics: tuple[TopicLag, ...] = ()
    workers: int | None = None

    @property
    def behind(self) -> int | None:
        """Records that wait to be read, over all topics."""
        return None if self.workers is None else sum(topic.behind or 0 for topic in self.topics)


async def lag(settings: Settings) -> Lag:
    """Ask Kafka; an empty answer if it does not answer in time."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _ask(settings)
    except (KafkaError, TimeoutError, OSError):
        return Lag()


async def _ask(settings: Settings) -> Lag:
    group = f"{settings.topic_prefix}success-worker"
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        committed = {tp: each.offset for tp, each in (await admin.list_consumer_group_offsets(group)).items()}
        described = await admin.describe_consumer_groups([group])
        names = {full_name(settings.topic_prefix, name): name for name in (*READ, DEAD_LETTERS)}
        counts = {each["topic"]: len(each["partitions"]) for each in await admin.describe_topics(list(names))}
    finally:
        await admin.close()
    partitions = [TopicPartition(name, number) for name, count in counts.items() for number in range(count)]
    consumer = consumer_of(settings)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(partitions)
        begins = await consumer.beginning_offsets(partitions)
    finally:
        await consumer.stop()
    topics = []
    for name, topic in names.items():
        mine = [tp for tp in partitions if tp.topic == name]
        behind = sum(max(0, ends[tp] - max(begins[tp], committed.get(tp, 0))) for tp in mine)
        topics.append(TopicLag(topic, sum(ends[tp] for tp in mine), behind if topic in READ else None))
    members = sum(len(each["members"]) for answer in described for each in answer.to_object()["groups"])
    return Lag(tuple(topics), members)
