"""The intervention agent's side of the cycle: batches to the writer, one transaction each, then the ack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import psycopg

from agents.engine.lane import MIB, FlushPolicy
from agents.engine.producer import BatchProducer, Outgoing
from agents.engine.record import DeadLetter, Record
from agents.interventions.profiles import TIDIED, Tombstones
from agents.interventions.received import PlacedRecord
from runtime import metrics
from runtime.away import Passing, passing
from topics.catalog import DEAD_LETTERS, full_name

if TYPE_CHECKING:
    from agents.interventions import received

POLICY = FlushPolicy(
    records=2_000, bytes=8 * MIB, seconds=0.2, backlog_seconds=0.2, hold_records=10_000, hold_bytes=4 * MIB
)
"""A transaction has so many records at most, however many a fetch brought."""


class Writer(Protocol):
    """`agents.interventions.writer.InterventionWriter`."""

    dead_letters: list[DeadLetter]
    tombstones: Tombstones

    async def write(self, topic: str, records: Sequence[received.Record]) -> None:
        """Store a batch of a topic (catalogue name); return once it is committed."""
        ...


class InterventionHandler:
    """Writes one partition of one topic; at least once, the writer's upserts make it exactly once."""

    policy = POLICY
    gives_back = True
    """Postgres holds no offsets: whoever has the partition next reads on from the last commit."""

    def __init__(
        self, topic: str, partition: int, writer: Writer, producer: BatchProducer, prefix: str
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._writer = writer
        self._producer = producer
        self._full_name = full_name(prefix, topic)
        self._dead_letter_topic = full_name(prefix, DEAD_LETTERS)
        self._records: list[PlacedRecord] = []

    def position(self) -> int | None:
        """Postgres holds no offsets: continue at the commit."""
        return None

    async def add(self, records: Sequence[Record]) -> None:
        """Keep them for the transaction."""
        self._records += [
            PlacedRecord(
                each.key,
                each.value,
                each.headers,
                each.offset,
                each.timestamp,
                self._full_name,
                self._partition,
            )
            for each in records
        ]

    def is_urgent(self) -> bool:
        """Nothing is more urgent than the rest."""
        return False

    async def flush_urgent(self) -> None:
        """Commit all there is."""
        await self.flush()

    async def flush_rest(self) -> None:
        """Nothing is ever put off."""

    async def flush(self) -> None:
        """Commit the transaction, then have dead letters and tombstones acked."""
        if not self._records:
            return
        await self._writer.write(self._topic, self._records)
        self._records = []
        letters, self._writer.dead_letters = self._writer.dead_letters, []
        await self._producer.send(self._dead_letter_topic, self._partition, letters)
        metrics.count_dead_letters(self._topic, letters)
        tombstones, self._writer.tombstones = self._writer.tombstones, {}
        by_partition: dict[int, list[Outgoing]] = {}
        for partition, key in tombstones:
            by_partition.setdefault(partition, []).append((key, None, [(TIDIED, b"")]))
        for partition, records in by_partition.items():
            await self._producer.send(self._full_name, partition, records)

    def away(self, error: Exception) -> Passing | None:
        """Postgres, whose transaction is tried again; Kafka not, whose dead letters are on their way or lost."""
        return passing(error) if isinstance(error, psycopg.Error) else None
