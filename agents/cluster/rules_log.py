"""The topic `success.rules`: which versions of the configuration there are, and where each partition went over to them.

A record is a version (`runtime.versions.Version.record`) or a switch. Everything stands on partition 0, in the order in
which it counts: the first switch of a partition to a version is the one, and an older version never replaces a newer.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from agents.cluster.describing import ClusterError
from agents.engine.connection import client_options, reader_of
from agents.engine.parsing import unreadable
from runtime.quiet import without_logs
from runtime.versions import Version
from topics.catalog import full_name
from topics.time import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.settings import Settings
    from scoring.decisions.policy import Policy

RULES = "success.rules"
"""Ours alone, and never deleted: replay and a rebuild of the state go by it."""
RULES_CONFIG = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "message.timestamp.type": "LogAppendTime",
    "max.message.bytes": str(4 * 1024 * 1024),
}
PARTITION = 0
_POLL_MS = 500

logger = logging.getLogger(__name__)


class Switch(msgspec.Struct, frozen=True):
    """A partition goes over to a version: records from `offset` on are folded by it, time up to `through` fired before.

    `before`: the digest of the rules until there. `by` and `read`: who wrote it, and how far they had read this topic
    when they took the partition over.
    """

    version: int
    partition: int
    offset: int
    through: int
    """ms"""
    before: str = ""
    by: str = ""
    read: int = 0

    @property
    def key(self) -> bytes:
        """Of its record."""
        return b"switch:%d:%d" % (self.version, self.partition)

    def record(self) -> bytes:
        """As it stands on the topic."""
        said: dict[str, Any] = msgspec.to_builtins(self)
        return msgspec.json.encode(said | {"through": format_time(self.through)})


class Written(Protocol):
    """A record of the topic."""

    @property
    def offset(self) -> int:
        """On the topic."""
        ...

    @property
    def value(self) -> bytes | None:
        """As it came."""
        ...


class RulesLog:
    """What the topic says, as far as it was read (`take`)."""

    def __init__(self) -> None:
        self.position = 0
        """The offset after the last record that was taken."""
        self.versions: dict[int, Version] = {}
        """By number; 0, if there is one, is what was in force before the first was activated."""
        self.values: list[bytes] = []
        """Of every record, as it was: an archive keeps them."""
        self._switches: dict[int, list[tuple[int, Switch]]] = {}
        self._compiled: dict[int, Policy] = {}

    def take(self, records: Iterable[Written]) -> None:
        """Go on by these records, in their order; what is none of ours counts for nothing."""
        for record in records:
            self.position = record.offset + 1
            self.values.append((record.value or b"").replace(b"\n", b" "))
            try:
                said = msgspec.json.decode(record.value or b"", type=dict[str, Any])
                if "partition" in said:
                    through = parse_time(said["through"])
                    self._take_switch(record.offset, msgspec.convert(said | {"through": through}, Switch))
                else:
                    self._take_version(said)
            except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
                logger.warning(
                    "%s, offset %d, says nothing that is understood: %s", RULES, record.offset, error
                )

    def _take_version(self, said: dict[str, Any]) -> None:
        number, partitions = int(said["version"]), said.get("partitions")
        self.versions[number] = Version(
            number,
            str(said["digest"]),
            dict(said["rules"]),
            dict(said["policy"]),
            said.get("churn"),
            said.get("advice"),
            None if partitions is None else tuple(map(int, partitions)),
            str(said.get("at", "")),
        )
        self._compiled.pop(number, None)

    def _take_switch(self, place: int, switch: Switch) -> None:
        if switch.version not in self.versions:
            return
        known = self._switches.setdefault(switch.partition, [])
        if known and known[-1][1].version >= switch.version:
            before, last = known[-1]
            # Who took the partition over before the last was written knows that nothing was folded by it: its writer
            # had lost the partition already.
            if last.version != switch.version or not 0 < switch.read <= before or switch.by == last.by:
                return
            known.pop()
        known.append((place, switch))

    def switches(self, partition: int) -> list[Switch]:
        """Those of a partition that count, in their order."""
        return [switch for _, switch in self._switches.get(partition, ())]

    def newest(self) -> Version | None:
        """The version with the greatest number; None if none was activated."""
        number = max(self.versions, default=0)
        return self.versions[number] if number > 0 else None

    def wanted(self, partition: int) -> Version | None:
        """The newest version that is to be in force on a partition."""
        numbers = [one.number for one in self.versions.values() if one.number > 0 and one.is_on(partition)]
        return self.versions[max(numbers)] if numbers else None

    def policy(self, number: int) -> Policy:
        """The policy, with its rules, of a version that is known (KeyError otherwise); compiled once."""
        if number not in self._compiled:
            self._compiled[number] = self.versions[number].compiled()
        return self._compiled[number]


def rules_place(settings: Settings) -> TopicPartition:
    """Where all of it stands."""
    return TopicPartition(full_name(settings.topic_prefix, RULES), PARTITION)


async def read(settings: Settings) -> RulesLog:
    """All that the topic says by now; nothing where there is no such topic yet."""
    log, place = RulesLog(), rules_place(settings)
    consumer = reader_of(settings, auto_offset_reset="earliest")
    with without_logs("aiokafka"):
        await consumer.start()
        try:
            known = (await consumer._client.fetch_all_metadata()).partitions_for_topic(place.topic)  # noqa: SLF001
            if known:
                await read_on(consumer, place, log)
        finally:
            await consumer.stop()
    return log


async def read_on(consumer: AIOKafkaConsumer, place: TopicPartition, log: RulesLog) -> None:
    """Take what stands between the log's position and the end as of now."""
    if place not in consumer.assignment():
        consumer.assign([place])
        consumer.seek(place, log.position)
    end = (await consumer.end_offsets([place]))[place]
    while await consumer.position(place) < end:
        if why := unreadable(consumer).get(place):
            raise ClusterError(f"topic {place.topic} can't be read: {why}")
        log.take((await consumer.getmany(place, timeout_ms=_POLL_MS)).get(place, ()))


async def write_version(settings: Settings, *versions: Version) -> None:
    """Have versions acked by the brokers, in this order."""
    async with AIOKafkaProducer(**client_options(settings), acks="all", enable_idempotence=True) as producer:
        topic = rules_place(settings).topic
        for version in versions:
            key = b"version:%d" % version.number
            await producer.send_and_wait(topic, version.record(), key=key, partition=PARTITION)
