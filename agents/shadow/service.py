"""The shadow as a process: reads the live signals from where it left off, decides when things fall due."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, cast

import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from agents.cluster.describing import NO_ID, asking, describe
from agents.cluster.rules_follower import RulesFollower
from agents.engine.connection import consumer_of
from agents.shadow.rules_in_force import PolicyInForce
from agents.shadow.shadow import Shadow
from runtime import metrics
from runtime.away import Passing, Wait, passing
from store.database import Role, connect, open_pool
from store.messages import shadow as store
from topics.catalog import CONDITIONS, MILESTONES, RISK_CHANGES, full_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

    from agents.interventions.received import Record
    from runtime.clock import Clock
    from runtime.settings import Settings
    from scoring.decisions.policy import Policy

logger = logging.getLogger(__name__)

SIGNAL_TOPICS = (RISK_CHANGES, MILESTONES, CONDITIONS)
FETCH_MS = 500
MOST_RECORDS = 2_000
SEEN_EVERY_S = 10.0
LOOK_S = 5.0
"""How often it looks whether the topics are still those that it began with."""


class ShadowRunsError(Exception):
    """Another process is the shadow of this policy; the message says so."""


class TopicsChangedError(Exception):
    """Topics were made anew while it read; it begins again with the new ones."""


class TopicsMissingError(Exception):
    """There are no signal topics; the message says what to do."""


async def run_shadow(
    settings: Settings,
    clock: Clock,
    policy: Policy,
    name: str,
    stop: asyncio.Event,
    ready: Callable[[str], None],
    *,
    wait: bool = True,
) -> None:
    """Shadow the live policy with `policy` until `stop`; `ready` is told the policy's digest once signals are read.

    The first time it begins with the signals that come from now on; later it goes on where it stopped. A Kafka or
    Postgres that is away is waited for; at the start only with `wait`.
    """
    waiting, running = Wait("the shadow"), False

    def began(digest: str) -> None:
        nonlocal running
        waiting.worked()
        if not running:
            ready(digest)
        running = True

    while not stop.is_set():
        try:
            await _run_once(settings, clock, policy, name, stop, began)
        except TopicsChangedError as error:
            logger.warning("%s: made anew while it was read", error)
        except (psycopg.Error, KafkaError, ShadowRunsError) as error:
            why = passing(error)
            if isinstance(error, ShadowRunsError) and running:
                # Postgres has not noticed yet that we were cut off: the other process is the one we were.
                why = Passing("Postgres", str(error))
            if why is None or not (wait or running):
                raise
            await waiting.pause(why, stop)


async def _run_once(
    settings: Settings,
    clock: Clock,
    policy: Policy,
    name: str,
    stop: asyncio.Event,
    ready: Callable[[str], None],
) -> None:
    """Shadow until `stop`, or until something is away: it then goes on where it last committed."""
    keys = settings.keys("secret_key")
    async with AsyncExitStack() as closing:
        pool = await open_pool(settings.database_url, Role.READER, max_size=2)
        closing.push_async_callback(pool.close)
        alone = await connect(settings.database_url, autocommit=True)
        closing.push_async_callback(alone.close)
        versions = RulesFollower(settings)
        closing.push_async_callback(versions.stop)
        await versions.start()
        in_force = PolicyInForce(policy, name, versions.log, settings.partitions)
        shadow = Shadow(pool, clock, policy, name, keys, policy_of=in_force.of)
        names = {full_name(settings.topic_prefix, topic): topic for topic in SIGNAL_TOPICS}
        consumer = consumer_of(
            settings,
            group_id=f"{settings.topic_prefix}success-shadow-{shadow.digest}",
            auto_offset_reset="latest",
        )
        closing.push_async_callback(consumer.stop)
        if not await store.hold(alone, shadow.digest):
            raise ShadowRunsError(f"another process already shadows with {name}: one is enough")
        await consumer.start()
        await shadow.be_seen()
        ids = await _ids(settings, names)
        await _begin(consumer, list(names), made_anew=_changed(await shadow.topic_ids(), ids))
        await shadow.note_topic_ids(ids)
        ready(shadow.digest)

        broken: list[Exception] = []
        versions.follow(lambda _, error: broken.append(error))

        async def same_topics() -> None:
            if broken:
                raise broken[0]
            if changed := _changed(ids, await _ids(settings, names)):
                raise TopicsChangedError(", ".join(changed))

        await _follow(consumer, shadow, names, stop, same_topics)


async def _ids(settings: Settings, topics: Iterable[str]) -> dict[str, str]:
    async with asking(settings) as admin:
        found = await describe(admin, topics)
    return {name: topic.id for name, topic in found.items() if topic.id != NO_ID}


def _changed(known: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    return [name for name, topic_id in found.items() if known.get(name, topic_id) != topic_id]


async def _begin(consumer: AIOKafkaConsumer, topics: list[str], made_anew: Collection[str]) -> None:
    """Take all partitions, and fix where to begin, lest a restart before the first signal skips some.

    What was noted for a log that is gone says nothing of the one made anew: that is read from its beginning.
    """
    partitions = []
    metadata = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - the consumer's own lists only what it reads
    for topic in topics:
        numbers = metadata.partitions_for_topic(topic)
        if not numbers:
            raise TopicsMissingError(f"there is no topic {topic}: run `success migrate`")
        partitions += [TopicPartition(topic, number) for number in sorted(numbers)]
    consumer.assign(partitions)
    if made_anew:
        logger.warning("%s: made anew, read from the beginning", ", ".join(made_anew))
        await consumer.seek_to_beginning(*(each for each in partitions if each.topic in made_anew))
    await consumer.commit({each: await consumer.position(each) for each in partitions})


async def _follow(
    consumer: AIOKafkaConsumer,
    shadow: Shadow,
    names: dict[str, str],
    stop: asyncio.Event,
    same_topics: Callable[[], Awaitable[None]],
) -> None:
    loop = asyncio.get_running_loop()
    seen_at = looked_at = loop.time()
    while not stop.is_set():
        if loop.time() - looked_at > LOOK_S:
            await same_topics()
            looked_at = loop.time()
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
            metrics.SHADOWED.inc(decided)
            logger.info("decided on %d messages, sent none", decided)
    await shadow.be_seen()
