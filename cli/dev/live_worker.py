"""The live worker as playback drives it: publish and wait until everything has arrived everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from agents.engine.connection import client_options
from agents.worker import InProcessWorker
from runtime.settings import Settings
from store.outbox import Event
from topics.catalog import ACTIVITY, DEAD_LETTERS, MAX_ACTIVITY_BYTES, MAX_DEAD_LETTER_BYTES, full_name
from topics.encoding import STRUCTURED_HEADERS
from topics.outcome import dead_letter_headers

LINGER_MS = 0  # a step waits for every ack: gathering longer only costs time

LARGEST_LINE = MAX_ACTIVITY_BYTES - 1024
"""Bytes of a line that surely fit, with key and framing, into a message that the topic takes."""

Headers = Sequence[tuple[str, bytes]]
Outgoing = tuple[str, bytes | None, bytes | None]
"""(catalogue name of the topic, key, value)"""


class LiveWorker:
    """An `InProcessWorker` with a producer of its own. Use as an asynchronous context manager."""

    def __init__(self, settings: Settings, worker: InProcessWorker) -> None:
        self._settings = settings
        self._worker = worker
        self._producer = AIOKafkaProducer(
            **client_options(settings),
            acks="all",
            enable_idempotence=True,
            linger_ms=LINGER_MS,
            max_request_size=MAX_DEAD_LETTER_BYTES,
        )

    async def __aenter__(self) -> Self:
        """Connect both."""
        await self._producer.start()
        await self._worker.start()
        await self._worker.started()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect both, worker first."""
        try:
            await self._worker.stop()
        finally:
            await self._producer.stop()

    async def publish(self, records: list[Outgoing]) -> None:
        """Publish in order; return when all that comes of it is in Kafka and Postgres."""
        await self._publish(records)
        await self._worker.settled()

    async def step(self, records: list[Outgoing], to_ms: int) -> None:
        """Publish in order, then fire what is due at or before `to_ms`; return as `publish` does."""
        await self._publish(records)
        await self._worker.fire_due(to_ms)
        await self._worker.settled()

    async def _publish(self, records: list[Outgoing]) -> None:
        """Publish in order; return when the worker has taken all of it."""
        sent = []
        for topic, key, value in records:
            if len(value or b"") > LARGEST_LINE:
                await self._refuse_too_large(key, len(value or b""))
            else:
                sent.append((topic, await self._send(topic, key, value)))
        last: dict[tuple[str, int], int] = {}
        for topic, acked in sent:
            metadata = await acked
            last[topic, metadata.partition] = metadata.offset
        for (topic, partition), offset in last.items():
            await self._worker.processed(topic, partition, offset)

    async def fire_due(self, to_ms: int) -> None:
        """Fire what is due at or before `to_ms`; return when its effects are in Kafka and Postgres."""
        await self.step([], to_ms)

    def next_due_ms(self) -> int | None:
        """When silence next changes any supplier; None if never."""
        return self._worker.next_due_ms()

    async def _refuse_too_large(self, key: bytes | None, size: int) -> None:
        """Write the dead letter of a line that is too large for the topic, without its value."""
        reason = f"too_large: the line has {size:,} bytes, more than the topic takes; its value is left out"
        topic = full_name(self._settings.topic_prefix, ACTIVITY)
        headers = dead_letter_headers(reason, topic, -1, -1, ())
        # A line whose subject can't be read has no key, and a record with neither key nor value is not sent.
        await self._producer.send_and_wait(
            full_name(self._settings.topic_prefix, DEAD_LETTERS), key=key, value=b"", headers=headers
        )

    async def send(self, events: Sequence[Event]) -> None:
        """Publish events of delivery's outbox in order; return when all are acked."""
        sent = [
            await self._send(event.topic, event.key.encode(), event.value, STRUCTURED_HEADERS)
            for event in events
        ]
        await asyncio.gather(*sent)

    async def _send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> asyncio.Future[RecordMetadata]:
        full = full_name(self._settings.topic_prefix, topic)
        acked: asyncio.Future[RecordMetadata] = await self._producer.send(
            full, key=key, value=value, headers=list(headers)
        )
        return acked
