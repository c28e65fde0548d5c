"""The shadow as a process: reads the live signals from where it left off, decides when things fall due."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from psycopg import AsyncConnection

from agents.kafka import client_options
from agents.shadow import Shadow
from store import shadow as store
from store.database import Role, open_pool
from topics.catalog import CONDITIONS, MILESTONES, RISK_CHANGES, full_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.received import Record
    from runtime.clock import Clock
    from runtime.settings import Settings
    from scoring.policy import Policy

logger = logging.getLogger(__name__)

SIGNAL_TOPICS = (RISK_CHANGES, MILESTONES, CONDITIONS)
FETCH_MS = 500
MOST_RECORDS = 2_000
SEEN_EVERY_S = 10.0


class ShadowRunsError(Exception):
    """Another process is the shadow of this policy; the message says so."""


class TopicsMissingError(Exception):
    """There are no signal topics; the message says what to do."""


async def run_shadow(
    settings: Settings,
    clock: Clock,
    policy: Policy,
    name: str,
    stop: asyncio.Event,
    ready: Callable[[str], None],
) -> None:
    """Shadow the live policy with `policy` until `stop`; `ready` is told the policy's digest once signals are read.

    The first time it begins with the signals that come from now on; later it goes on where it stopped.
    """
    secret_key = settings.secret("secret_key")
    pool = await open_pool(settings.database_url, Role.READER, max_size=2)
    shadow = Shadow(pool, clock, policy, name, secret_key)
    names = {full_name(settings.topic_prefix, topic): topic for topic in SIGNAL_TOPICS}
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        group_id=f"{settings.topic_prefix}success-shadow-{shadow.digest}",
        enable_auto_commit=False,
        auto_offset_reset="latest",
    )
    alone = await AsyncConnection.connect(settings.database_url, autocommit=True)
    try:
        if not await store.hold(alone, shadow.digest):
            raise ShadowRunsError(f"another process already shadows with {name}: one is enough")
        await consumer.start()
        await _begin(consumer, list(names))
        await shadow.be_seen()
        ready(shadow.digest)
        await _follow(consumer, shadow, names, stop)
    finally:
        await consumer.stop()
        await alone.close()
        await pool.close()


async def _begin(consumer: AIOKafkaConsumer, topics: list[str]) -> None:
    """Take all partitions, and fix where to begin, lest a restart before the first signal skips some."""
    partitions = []
    metadata = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - the consumer's own lists only what it reads
    for topic in topics:
        numbers = metadata.partitions_for_topic(topic)
        if not numbers:
            raise TopicsMissingError(f"there is no topic {topic}: run `success migrate`")
        partitions += [TopicPartition(topic, number) for number in sorted(numbers)]
    consumer.assign(partitions)
    await consumer.commit({each: await consumer.position(each) for each in partitions})


async def _follow(
    consumer: AIOKafkaConsumer, shadow: Shadow, names: dict[str, str], stop: asyncio.Event
) -> None:
    loop = asyncio.get_running_loop()
    seen_at = loop.time()
    while not stop.is_set():
        batches = await consumer.getmany(timeout_ms=FETCH_MS, max_records=MOST_RECORDS)
        for partition, records in batches.items():
            await shadow.take(names[partition.topic], cast("list[Record]", records))
        if batches:
            await consumer.commit()
        decided = await shadow.decide_due()
        if decided or loop.time() - seen_at > SEEN_EVERY_S:
            await shadow.be_seen()
            seen_at = loop.time()
        if decided:
            logger.info("decided on %d messages, sent none", decided)
    await shadow.be_seen()
