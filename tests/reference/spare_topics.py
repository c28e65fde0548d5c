"""Topics that a test left as they were made serve the next one, which spares the broker some fifty partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.cluster.describing import asking, describe, settings_of
from agents.cluster.provisioning import wanted_topics
from runtime.settings import Settings

if TYPE_CHECKING:
    from aiokafka.admin import AIOKafkaAdminClient

_spare: dict[tuple[str, int], list[str]] = {}
"""(bootstrap servers, partitions) → prefixes of untouched topics."""


def spare_prefix(kafka: str, partitions: int) -> str | None:
    """The prefix of topics that nobody uses or has used, which is now the caller's; None if there are none."""
    prefixes = _spare.get((kafka, partitions))
    return prefixes.pop() if prefixes else None


async def give_back(settings: Settings) -> None:
    """Keep the topics for another test if this one left no trace in them, else delete them."""
    async with asking(settings) as admin:
        if await _is_untouched(admin, settings):
            _spare.setdefault((settings.kafka, settings.partitions), []).append(settings.topic_prefix)
        else:
            await delete_topics(settings)


async def delete_topics(settings: Settings) -> None:
    """Delete all topics with the prefix, changelogs included, so that the broker stays light."""
    async with asking(settings) as admin:
        mine = [topic for topic in await admin.list_topics() if settings.topic_prefix in topic]
        if mine:
            await admin.delete_topics(mine)


async def delete_spare_topics() -> None:
    """Leave none behind on a broker that goes on."""
    while _spare:
        (kafka, _), prefixes = _spare.popitem()
        for prefix in prefixes:
            await delete_topics(Settings(kafka=kafka, topic_prefix=prefix))


async def _is_untouched(admin: AIOKafkaAdminClient, settings: Settings) -> bool:
    """Whether all is as `create_topics` makes it: no record, no group, no other topic, partition or setting."""
    wanted = wanted_topics(settings.topic_prefix)
    if {topic for topic in await admin.list_topics() if settings.topic_prefix in topic} != wanted.keys():
        return False
    if any(settings.topic_prefix in group for group, *_ in await admin.list_consumer_groups()):
        return False
    if any(topic.partitions != settings.partitions for topic in (await describe(admin, wanted)).values()):
        return False
    for name, found in (await settings_of(admin, wanted)).items():
        own = {key: each.value for key, each in found.items() if each.on_topic}
        if own.keys() - {"min.insync.replicas"} != wanted[name].keys() or wanted[name].items() - own.items():
            return False
    return not await _has_records(settings, list(wanted))


async def _has_records(settings: Settings, names: list[str]) -> bool:
    partitions = [TopicPartition(name, number) for name in names for number in range(settings.partitions)]
    consumer: AIOKafkaConsumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka)
    await consumer.start()
    try:
        return any((await consumer.end_offsets(partitions)).values())
    finally:
        await consumer.stop()
