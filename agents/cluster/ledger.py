"""What a deployment remembers of its topics: which logs it reads, by their ids, and in which incarnation.

One record, the newest on partition 0 of a small compacted topic of its own, so that it can be read before anything else
and outlives a state that is deleted to be rebuilt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from agents.cluster.describing import ClusterError
from agents.engine.connection import client_options, reader_of
from agents.engine.parsing import unreadable
from runtime.quiet import without_logs
from topics.catalog import full_name
from topics.partitioner import Homes

if TYPE_CHECKING:
    from runtime.settings import Settings

LEDGER = "success.ledger"
"""Ours alone, as the state's changelog is: no public topic of the catalogue."""
LEDGER_CONFIG = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"}

_KEY = b"topics"
_VERSION = 1
_POLL_MS = 500


class Growth(msgspec.Struct):
    """From so many partitions to more. Offsets by catalogue name and partition."""

    partitions: int
    to: int
    ends: dict[str, dict[int, int]] = {}
    """Where the old count ended."""


class Ledger(msgspec.Struct, forbid_unknown_fields=False):
    """The record. New fields get a default; `version` is raised when an older program must not read on."""

    version: int = _VERSION
    ids: dict[str, str] = {}
    """Catalogue name → id of the log that is read."""
    epoch: int = 0
    """How many logs `supplier.activity` has had before this one; state records carry it beside their offset."""
    grown: list[Growth] = []
    """Finished ones, oldest first."""
    growing: Growth | None = None
    """One that was begun."""

    def homes(self, partitions: int, topic: str) -> Homes:
        """Where keys of a topic (catalogue name) are at home, now that there are so many partitions."""
        grown = tuple((each.partitions, each.ends.get(topic, {})) for each in self.grown)
        return Homes(partitions, grown, frozenset(count for count, _ in grown))


async def read(settings: Settings) -> Ledger:
    """The deployment's ledger, an empty one where nothing was ever written.

    Raises ClusterError for one that a newer program wrote.
    """
    consumer = reader_of(settings, auto_offset_reset="earliest")
    place = TopicPartition(full_name(settings.topic_prefix, LEDGER), 0)
    with without_logs(
        "aiokafka"
    ):  # a partition whose leader is about to be known is none of an operator's concerns
        value = await _newest(consumer, place)
    if value is None:
        return Ledger()
    ledger = msgspec.json.decode(value, type=Ledger)
    if ledger.version > _VERSION:
        raise ClusterError(
            f"topic {place.topic} was written by a newer version of this program (format {ledger.version}, this one "
            f"reads {_VERSION}): run that version"
        )
    return ledger


async def _newest(consumer: AIOKafkaConsumer, place: TopicPartition) -> bytes | None:
    value: bytes | None = None
    await consumer.start()
    try:
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        while await consumer.position(place) < end:
            if why := unreadable(consumer).get(place):
                raise ClusterError(f"topic {place.topic} can't be read: {why}")
            for record in (await consumer.getmany(place, timeout_ms=_POLL_MS)).get(place, ()):
                value = record.value if record.key == _KEY else value
    finally:
        await consumer.stop()
    return value


async def write(settings: Settings, ledger: Ledger) -> None:
    """Have it acked by the brokers; the last one to write counts."""
    async with AIOKafkaProducer(**client_options(settings), acks="all", enable_idempotence=True) as producer:
        topic = full_name(settings.topic_prefix, LEDGER)
        await producer.send_and_wait(topic, msgspec.json.encode(ledger), key=_KEY, partition=0)
