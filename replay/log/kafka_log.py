"""Reading topics from Kafka, partition by partition, from one offset to another. Nothing is ever written.

The client runs in a thread of its own, so that the next records are on their way while the last ones are worked on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from aiokafka import TopicPartition

from agents.cluster import ledger as ledgers
from agents.cluster import rules_log
from agents.cluster.ledger import LEDGER, Ledger
from agents.cluster.rules_log import RulesLog
from agents.engine.connection import reader_of
from agents.engine.parsing import Reading
from agents.engine.record import Record
from runtime.settings import Settings
from topics.catalog import full_name

T = TypeVar("T")

POLL_MS = 1_000
PATIENCE_POLLS = 60
"""Polls without progress after which a partition counts as stuck."""
RECORDS_A_POLL = 20_000
BYTES_A_FETCH = 8 * 1024 * 1024


class LogError(Exception):
    """The log can't be read as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a partition holds: offsets [begin, end)."""

    begin: int
    end: int


class KafkaLog:
    """Committed records of our topics, named as in the catalogue. A context manager; for synchronous code."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="kafka-log", daemon=True)
        self._consumer: Any = None
        self._reading = Reading(raw=True)

    def __enter__(self) -> Self:
        """Connect."""
        self._thread.start()
        try:
            self._submit(self._start()).result()
        except BaseException:
            self._stop_thread()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect."""
        try:
            self._submit(self._consumer.stop()).result()
        finally:
            self._stop_thread()

    def bounds(self, topic: str) -> dict[int, Bounds]:
        """Partition -> what it holds; LogError when there is no such topic."""
        return self._submit(self._bounds(topic)).result()

    def ledger(self) -> Ledger:
        """What the deployment knows of its topics; an empty one where it was never written."""
        if full_name(self._settings.topic_prefix, LEDGER) not in self._submit(self._topics()).result():
            return Ledger()
        return self._submit(ledgers.read(self._settings)).result()

    def rules(self) -> RulesLog:
        """What `success.rules` says: the versions, and where each partition went over to them."""
        return self._submit(rules_log.read(self._settings)).result()

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[tuple[list[Record], int]]:
        """Yield batches of the records in [start, end), each with the offset to continue at.

        Compaction and transactions leave offsets without a record, so batches may be empty.
        """
        tp = TopicPartition(full_name(self._settings.topic_prefix, topic), partition)
        self._submit(self._seek(tp, start)).result()
        position = start
        coming = self._submit(self._poll(tp, position))
        try:
            while position < end:
                records, position = coming.result()
                if position < end:
                    coming = self._submit(self._poll(tp, position))
                while records and records[-1].offset >= end:
                    records.pop()
                yield records, min(position, end)
        finally:
            coming.cancel()

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _stop_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        self._consumer = reader_of(
            self._settings,
            self._reading,
            auto_offset_reset="none",
            max_poll_records=RECORDS_A_POLL,
            max_partition_fetch_bytes=BYTES_A_FETCH,
        )
        try:
            await self._consumer.start()
        except BaseException:
            await self._consumer.stop()
            raise

    async def _topics(self) -> set[str]:
        metadata = await self._consumer._client.fetch_all_metadata()  # noqa: SLF001 - as below
        return set(metadata.topics())

    async def _bounds(self, topic: str) -> dict[int, Bounds]:
        full = full_name(self._settings.topic_prefix, topic)
        metadata = await self._consumer._client.fetch_all_metadata()  # noqa: SLF001 - the consumer's own lists only what it reads
        partitions = [TopicPartition(full, number) for number in metadata.partitions_for_topic(full) or ()]
        if not partitions:
            raise LogError(f"there is no topic {full}: run `success migrate`, or set SUCCESS_TOPIC_PREFIX")
        begins = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        return {tp.partition: Bounds(begins[tp], ends[tp]) for tp in sorted(partitions)}

    async def _seek(self, tp: TopicPartition, start: int) -> None:
        self._consumer.assign([tp])
        self._consumer.seek(tp, start)

    async def _poll(self, tp: TopicPartition, position: int) -> tuple[list[Record], int]:
        """The next records and the position behind them; LogError when the partition stops answering."""
        for _ in range(PATIENCE_POLLS):
            found = await self._consumer.getmany(tp, timeout_ms=POLL_MS)
            records = cast("list[Record]", list(found.get(tp, ())))
            behind = await self._consumer.position(tp)
            if records or behind > position:
                return records, behind
            if why := self._reading.unreadable.get(tp):
                raise LogError(f"{tp.topic} partition {tp.partition} can't be read on: {why}")
        seconds = PATIENCE_POLLS * POLL_MS // 1000
        raise LogError(
            f"{tp.topic} partition {tp.partition} gave nothing from offset {position:,} on for {seconds} s: "
            "does its leader live? (`success doctor`)"
        )
