"""What is wrong with the topics as they are, and how to mend each; looking changes nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from agents.cluster import ledger as ledgers
from agents.cluster.describing import ClusterError, Described, Setting, asking, describe, settings_of
from agents.cluster.identity import made_anew
from agents.cluster.provisioning import FOR_EVER, wanted_topics
from agents.engine.connection import reader_of
from agents.engine.parsing import unreadable
from topics.catalog import DEAD_LETTERS, full_name
from topics.partitioner import HOW_TO_AGREE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.settings import Settings

LEAST_RETENTION_MS = 7 * 24 * 3600 * 1000
"""Who was away for a week still finds everything; `retention.ms` beyond that is the operator's to choose."""
NO_LIMIT = -1
AT_LEAST = frozenset({"max.message.bytes", "min.compaction.lag.ms", "delete.retention.ms", "retention.ms"})
AT_MOST = frozenset({"max.compaction.lag.ms"})
LETTERS_LOOKED_AT = 1_000
"""Newest dead letters of each partition that are looked at."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something about a topic that has to be mended."""

    found: str
    mend: str
    stops: bool = True
    """A worker would do wrong with it, so that it doesn't start."""


async def faults_of(settings: Settings) -> list[Fault]:
    """All that is wrong with existence, partition counts, identity and settings of our topics; empty if nothing is."""
    wanted = wanted_topics(settings.topic_prefix)
    async with asking(settings) as admin:
        found = await describe(admin, wanted)
        in_force = await settings_of(admin, found)
    faults = [Fault(f"no topic {name}", "run `success migrate`") for name in wanted if name not in found]
    faults += wrong_counts(found, settings.partitions)
    for name in found:
        faults += wrong_settings(name, in_force[name], wanted[name])
    if not faults:
        ledger = await ledgers.read(settings)
        faults = [
            Fault(
                f"{name} was deleted and made anew",
                "`success topics accept` says what is given up, and goes on",
            )
            for name in made_anew(ledger, found, settings.topic_prefix)
        ]
    return faults


def wrong_counts(found: Mapping[str, Described], wanted: int) -> list[Fault]:
    """Topics with another number of partitions than the settings say."""
    other = {name: topic.partitions for name, topic in found.items() if topic.partitions != wanted}
    if not other:
        return []
    named = ", ".join(f"{name} ({count})" for name, count in other.items())
    most = max(topic.partitions for topic in found.values())
    if len(other) == len(found) and len(set(other.values())) == 1:
        mend = f"set SUCCESS_PARTITIONS={most}, or take the topics to more with `success topics grow N`"
    else:
        mend = f"all must have the same number: `success topics grow {most}`, then SUCCESS_PARTITIONS={most}"
    return [Fault(f"SUCCESS_PARTITIONS is {wanted}, not so: {named}", mend)]


def wrong_settings(name: str, found: Mapping[str, Setting], wanted: Mapping[str, str]) -> list[Fault]:
    """Settings of a topic that are not as they have to be."""
    faults = []
    for key, needed in wanted.items():
        value = found[key].value if key in found else None
        if key == "retention.ms" and needed != FOR_EVER:
            if value is not None and not _reaches(value, LEAST_RETENTION_MS):
                faults.append(
                    Fault(
                        f"{name}: {key} is {value}, needed is {LEAST_RETENTION_MS} or more",
                        "set it on the topic: `success migrate` leaves it to you",
                        stops=False,
                    )
                )
        elif value is None or not _fits(key, value, needed):
            words = "or more" if key in AT_LEAST else "or less" if key in AT_MOST else ""
            faults.append(
                Fault(
                    f"{name}: {key} is {value}, needed is {f'{needed} {words}'.strip()}",
                    "`success migrate` sets it",
                )
            )
    return faults


def _fits(key: str, value: str, needed: str) -> bool:
    if key in AT_LEAST:
        return int(value) >= int(needed)
    if key in AT_MOST:
        return int(value) <= int(needed)
    return set(value.split(",")) == set(needed.split(","))


def _reaches(value: str, least: int) -> bool:
    return int(value) == NO_LIMIT or int(value) >= least


async def wrong_partition_letters(settings: Settings) -> tuple[int, int]:
    """How many of the newest dead letters are of the kind `wrong_partition`, and how many were looked at."""
    topic = full_name(settings.topic_prefix, DEAD_LETTERS)
    consumer = reader_of(settings, auto_offset_reset="earliest")
    wrong = looked_at = 0
    await consumer.start()
    try:
        numbers = (await consumer._client.fetch_all_metadata()).partitions_for_topic(topic) or set()  # noqa: SLF001
        places = [TopicPartition(topic, number) for number in sorted(numbers)]
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        left = [place for place in places if begins[place] < ends[place]]
        consumer.assign(left)
        for place in left:
            consumer.seek(place, max(begins[place], ends[place] - LETTERS_LOOKED_AT))
        while left:
            for records in (await consumer.getmany(*left, timeout_ms=500)).values():
                looked_at += len(records)
                wrong += sum(
                    (dict(record.headers).get("error") or b"").startswith(b"wrong_partition")
                    for record in records
                )
            left = [
                place
                for place in left
                if await consumer.position(place) < ends[place] and place not in unreadable(consumer)
            ]
    finally:
        await consumer.stop()
    return wrong, looked_at


def misplaced(wrong: int, looked_at: int) -> Fault:
    """What such dead letters say of whoever publishes."""
    return Fault(
        f"{wrong:,} of the newest {looked_at:,} dead letters say wrong_partition", HOW_TO_AGREE, stops=False
    )


async def faults_that_stop(settings: Settings) -> list[Fault]:
    """Those of the topics' settings with which a worker would do wrong; none where the cluster tells nobody."""
    wanted = wanted_topics(settings.topic_prefix)
    try:
        async with asking(settings) as admin:
            in_force = await settings_of(admin, wanted)
    except (ClusterError, KafkaError) as error:
        logger.warning("the settings of the topics can't be checked: %s", error)
        return []
    return [
        fault
        for name, found in in_force.items()
        for fault in wrong_settings(name, found, wanted[name])
        if fault.stops
    ]
