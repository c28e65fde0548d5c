"""Sending whole batches to a known partition: one future a batch instead of one a record."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from agents.engine.connection import client_options
from agents.engine.lease import Lease
from agents.engine.skew import ClockSkew
from runtime.settings import Settings

MAX_BATCH_BYTES = 900_000
MAX_REQUEST_BYTES = 64 * 1024 * 1024

Outgoing = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
"""(key, value, headers) of a record to send."""
Joined = Callable[[bytes | None], bool]
"""Whether the record with this key belongs into one batch with the next."""
_LOG_APPEND_TIME = 1
_EMPTY_BATCH_BYTES = 61
RECORD_BYTES = 40
"""What a record takes beside its key, value and headers, at most."""


class Sent(NamedTuple):
    """A batch on its way."""

    records: int
    ack: Future[RecordMetadata]
    at_ms: int
    """When it was handed to the sender, by this machine's clock."""


class BatchProducer:
    """An idempotent producer: what it sent to one partition is there in order, once, when it says so."""

    def __init__(self, settings: Settings, lease: Lease, skew: ClockSkew | None = None) -> None:
        self._settings = settings
        self._lease = lease
        self._skew = skew
        self._producer: AIOKafkaProducer | None = None
        self.last_offset: dict[tuple[str, int], int] = {}
        """(full topic name, partition) → offset of the last record that was acked."""

    async def start(self) -> None:
        """Connect."""
        producer = AIOKafkaProducer(
            **client_options(self._settings),
            enable_idempotence=True,
            acks="all",
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
            linger_ms=0,
        )
        await producer.start()
        self._producer = producer

    async def stop(self) -> None:
        """Send what is queued and disconnect."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def queue(
        self, topic: str, partition: int, records: Iterable[Outgoing], joined: Joined | None = None
    ) -> list[Sent]:
        """Hand records to the sender, in order; what was sent, for each batch.

        `topic` is the full name. Await them with `acked`. Between batches others run. A record whose key is `joined`
        lies in one batch with the next: the log has both or neither.
        """
        self._lease.check()
        if self._producer is None:
            raise RuntimeError("the producer is not started")
        pending: list[Sent] = []
        for batch in self._batches(records, joined):
            if pending:
                await asyncio.sleep(0)
            pending.append(await self._submit(batch, topic, partition))
        return pending

    def _batches(self, records: Iterable[Outgoing], joined: Joined | None) -> Iterator[BatchBuilder]:
        """The records in as few batches as they fit into, what is joined in one of its own size if need be."""
        batch: BatchBuilder | None = None
        together: list[Outgoing] = []
        for record in records:
            together.append(record)
            if joined is not None and joined(record[0]):
                continue
            if batch is None or not _append_all(batch, together):
                if batch is not None:
                    yield batch
                batch = self._batch_for(together)
            together = []
        if together:
            raise ValueError("the last record is joined with one that is not there")
        if batch is not None:
            yield batch

    def _batch_for(self, records: list[Outgoing]) -> BatchBuilder:
        """A batch that begins with these records and takes others as long as it is not too large."""
        producer: Any = self._producer
        batch: BatchBuilder = producer.create_batch()
        if len(records) > 1 and _EMPTY_BATCH_BYTES + _most_bytes(records) > MAX_BATCH_BYTES:
            batch = BatchBuilder(_EMPTY_BATCH_BYTES + _most_bytes(records), 0)
        for record in records:
            if not _append(batch, record):
                raise RuntimeError(f"a record of {len(record[1] or b''):,} bytes does not fit into a batch")
        return batch

    async def acked(self, pending: Iterable[Sent]) -> None:
        """Wait until the brokers have all of it; raises the first error."""
        for number, sent in enumerate(pending):
            waited = not sent.ack.done()
            metadata = await sent.ack
            self.last_offset[metadata.topic, metadata.partition] = metadata.offset + sent.records - 1
            if number == 0 and waited and self._skew and metadata.timestamp_type == _LOG_APPEND_TIME:
                self._skew.note(sent.at_ms, metadata.timestamp)

    async def send(
        self, topic: str, partition: int, records: Iterable[Outgoing], joined: Joined | None = None
    ) -> None:
        """Queue records and wait until the brokers have them."""
        await self.acked(await self.queue(topic, partition, records, joined))

    async def _submit(self, batch: BatchBuilder, topic: str, partition: int) -> Sent:
        producer: Any = self._producer
        self._lease.check()
        batch.close()
        at_ms = self._skew.now_ms() if self._skew else 0
        return Sent(batch.record_count(), await producer.send_batch(batch, topic, partition=partition), at_ms)


def _append(batch: BatchBuilder, record: Outgoing) -> bool:
    key, value, headers = record
    return batch.append(timestamp=None, key=key, value=value, headers=headers) is not None


def _append_all(batch: BatchBuilder, records: list[Outgoing]) -> bool:
    """Append all of the records, or none if they do not fit; of several it is enough that they might not."""
    if len(records) > 1 and batch.size() + _most_bytes(records) > MAX_BATCH_BYTES:
        return False
    return all(_append(batch, record) for record in records)


def _most_bytes(records: list[Outgoing]) -> int:
    return sum(
        len(key or b"") + len(value or b"") + RECORD_BYTES + sum(len(n) + len(v) + 10 for n, v in headers)
        for key, value, headers in records
    )
