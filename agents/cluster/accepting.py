"""Going on with a log that was made anew, and saying what is given up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from agents.cluster import ledger as ledgers
from agents.cluster.describing import ClusterError, asking, describe_all
from agents.cluster.identity import made_anew
from agents.cluster.provisioning import wanted_topics
from agents.engine.connection import consumer_of
from topics.catalog import ACTIVITY, HEALTH, PROFILES, full_name

if TYPE_CHECKING:
    from aiokafka.admin import AIOKafkaAdminClient

    from runtime.settings import Settings

LEFT_WITHIN_S = 20.0
"""A worker that was killed counts as there for as long as its session lasts."""
POLL_S = 0.5

GIVEN_UP = {
    ACTIVITY: (
        "every score, timer and signal stays as it is, and the new log is read from its beginning. Given up: what lay "
        "in the old log and was not scored yet; and a rebuild, `success replay` and `success export` know the new log "
        "only (what was exported before keeps the old one). An event of the old log that is published again counts "
        "again once 256 later ones of its supplier have been applied"
    ),
    PROFILES: (
        "profiles in Postgres stay, and the new log is read from its beginning. Given up: profiles and erasures of the "
        "old log that were not stored yet: publish them again"
    ),
    HEALTH: (
        "rows in Postgres stay, and the new log is read from its beginning. Given up: snapshots of the old log that "
        "were not stored yet; the next change of each supplier brings a newer one"
    ),
}
_SIGNALS = (
    "rows in Postgres stay, and the new log is read from its beginning. Given up: signals of the old log that were "
    "not stored yet"
)


async def accept(settings: Settings) -> dict[str, str]:
    """Go on with those topics (catalogue names) that were made anew: for each what it means; empty if there is none.

    Raises ClusterError while workers run, and where topics are missing.
    """
    prefix = settings.topic_prefix
    async with asking(settings) as admin:
        found = await describe_all(admin, wanted_topics(prefix))
        ledger = await ledgers.read(settings)
        changed = made_anew(ledger, found, prefix)
        if not changed:
            return {}
        await wait_until_nobody_reads(admin, settings)
    await _read_from_the_beginning(
        settings, {full_name(prefix, name): found[full_name(prefix, name)].partitions for name in changed}
    )
    for name in changed:
        ledger.ids[name] = found[full_name(prefix, name)].id
    if ACTIVITY in changed:
        ledger.epoch += 1
    await ledgers.write(settings, ledger)
    return {name: GIVEN_UP.get(name, _SIGNALS) for name in changed}


async def wait_until_nobody_reads(admin: AIOKafkaAdminClient, settings: Settings) -> None:
    """Return once the workers' group has no members; ClusterError while it has."""
    group = f"{settings.topic_prefix}success-worker"
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LEFT_WITHIN_S
    while True:
        answers = await admin.describe_consumer_groups([group])
        members = sum(len(each["members"]) for answer in answers for each in answer.to_object()["groups"])
        if not members:
            return
        if loop.time() > deadline:
            workers = "worker is" if members == 1 else "workers are"
            raise ClusterError(f"{members} {workers} running: stop all, then run this again")
        await asyncio.sleep(POLL_S)


async def _read_from_the_beginning(settings: Settings, counts: dict[str, int]) -> None:
    """A worker may have noted its place in the old log for the new one."""
    places = [TopicPartition(name, number) for name, count in counts.items() for number in range(count)]
    consumer = consumer_of(settings, group_id=f"{settings.topic_prefix}success-worker")
    await consumer.start()
    try:
        consumer.assign(places)
        await consumer.commit(await consumer.beginning_offsets(places))
    finally:
        await consumer.stop()
