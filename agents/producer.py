"""Sending whole batches to a known partition: one future a batch instead of one a record."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Iterable, Iterator
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from agents.kafka import client_options
from agents.lease import Lease
from runtime.settings import Settings

MAX_BATCH_BYTES = 900_000
MAX_REQUEST_BYTES = 64 * 1024 * 1024

Outgoing = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
"""(key, value, headers) of a record to send."""


class BatchProducer:
    """An idempotent producer: what it sent to one partition is there in order, once, when it says so."""

    def __init__(self, settings: Settings, lease: Lease) -> None:
        self._settings = settings
        self._lease = lease
        self._producer: AIOKafkaProducer | None = None
        self.last_offset: dict[tuple[str, int], int] = {}
        """(full topic name, partition) → offset of the last record that was acked."""
        self.last_append_ms: dict[tuple[str, int], int | None] = {}
        """... and when the broker appended it."""

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
        self, topic: str, partition: int, records: Iterable[Outgoing]
    ) -> list[tuple[int, Future[RecordMetadata]]]:
        """Hand records to the sender, in order; (number of records, future of the ack) for each batch.

        `topic` is the full name. Await them with `acked`. Between batches others run.
        """
        self._lease.check()
        if self._producer is None:
            raise RuntimeError("the producer is not started")
        pending: list[tuple[int, Future[RecordMetadata]]] = []
        for batch in self._batches(records):
            if pending:
                await asyncio.sleep(0)
            pending.append(await self._submit(batch, topic, partition))
        return pending

    def _batches(self, records: Iterable[Outgoing]) -> Iterator[BatchBuilder]:
        """The records in as few batches as they fit into."""
        producer: Any = self._producer
        batch: BatchBuilder | None = None
        for key, value, headers in records:
            if batch is not None:
                if batch.append(timestamp=None, key=key, value=value, headers=headers) is not None:
                    continue
                yield batch
            batch = producer.create_batch()
            if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                raise RuntimeError(f"a record of {len(value or b''):,} bytes does not fit into a batch")
        if batch is not None:
            yield batch

    async def acked(self, pending: Iterable[tuple[int, Future[RecordMetadata]]]) -> None:
        """Wait until the brokers have all of it; raises the first error."""
        for count, future in pending:
            metadata = await future
            self.last_offset[metadata.topic, metadata.partition] = metadata.offset + count - 1
            self.last_append_ms[metadata.topic, metadata.partition] = metadata.timestamp

    async def send(self, topic: str, partition: int, records: Iterable[Outgoing]) -> None:
        """Queue records and wait until the brokers have them."""
        await self.acked(await self.queue(topic, partition, records))

    async def _submit(
        self, batch: BatchBuilder, topic: str, partition: int
    ) -> tuple[int, Future[RecordMetadata]]:
        producer: Any = self._producer
        self._lease.check()
        batch.close()
        return batch.record_count(), await producer.send_batch(batch, topic, partition=partition)
