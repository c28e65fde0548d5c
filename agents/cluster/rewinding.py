"""Reading again what the intervention agent has read: after a restore Postgres knows less than the group has noted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from agents.cluster.accepting import wait_until_nobody_reads
from agents.cluster.describing import asking
from agents.engine.connection import consumer_of
from topics.catalog import CONDITIONS, HEALTH, MILESTONES, PROFILES, RISK_CHANGES, full_name

if TYPE_CHECKING:
    from runtime.settings import Settings

READ_AGAIN = (PROFILES, HEALTH, RISK_CHANGES, MILESTONES, CONDITIONS)
"""What becomes rows in Postgres. Not `supplier.activity`: the state of scoring lies in Kafka, and is whole."""


async def rewind(settings: Settings, since_ms: int) -> dict[str, int]:
    """Have workers read these topics again from this time on; of each, by its catalogue name, how many records.

    Nothing is ever put forward. Raises ClusterError while workers run.
    """
    async with asking(settings) as admin:
        await wait_until_nobody_reads(admin, settings)
    names = {full_name(settings.topic_prefix, name): name for name in READ_AGAIN}
    places = [TopicPartition(topic, number) for topic in names for number in range(settings.partitions)]
    consumer = consumer_of(settings, group_id=f"{settings.topic_prefix}success-worker")
    await consumer.start()
    try:
        consumer.assign(places)
        found = await consumer.offsets_for_times(dict.fromkeys(places, since_ms))
        noted = {place: await consumer.committed(place) for place in places}
        back = {
            place: first.offset
            for place in places
            if (first := found.get(place)) is not None and first.offset < (noted[place] or 0)
        }
        if back:
            await consumer.commit(back)
    finally:
        await consumer.stop()
    again = dict.fromkeys(READ_AGAIN, 0)
    for place, offset in back.items():
        again[names[place.topic]] += (noted[place] or 0) - offset
    return again
