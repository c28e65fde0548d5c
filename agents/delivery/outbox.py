"""The way from the outbox to Kafka: in order, one process at a time, at least once.

No transaction waits for Kafka: events are read, sent, and marked when they are acked. Who publishes holds a lock on a
connection of its own meanwhile, so that two don't mix up the order.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from agents.engine.connection import client_options
from runtime import tracing
from runtime.away import Passing, Wait, passing, set_within
from runtime.quiet import without_logs
from store import outbox
from store.database import connect
from store.messages.delivery import publish_alone
from topics.catalog import full_name
from topics.encoding import STRUCTURED_HEADERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from runtime.settings import Settings

BATCH = 500
KEPT = timedelta(days=7)
"""How long published events stay in the outbox, for looking into what was said and when."""
PRUNED = 1000
"""Rows deleted in one transaction: few, so that nobody waits for it."""
SILENCE_S = 5.0
"""An ack that takes longer is worth a line in the log."""
LAST_S = 5.0
"""How long the end of a service waits for what it still publishes; the rest is in Postgres."""
ALONE_S = 10.0
"""How long a question about the lock may take; longer than the wait for it (`publish_alone`)."""


class Sender:
    """Sends events to Kafka, in order, and returns when all are acked.

    Connects at the first use, and anew when its producer has broken; `connect` does so beforehand. An idempotent
    producer goes on by itself when Kafka does, so that what was begun is acked once and in its place.
    """

    def __init__(self, settings: Settings, **options: object) -> None:
        self.wait = Wait("publishing")
        """What is waited for at this moment, for `/readyz`."""
        self._settings = settings
        self._options = options
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.Lock()

    async def __call__(self, events: Sequence[outbox.Event]) -> None:
        """Send `events`; raises aiokafka's errors, and what it began may arrive all the same."""
        sending = asyncio.create_task(self._send(events))
        began = asyncio.get_running_loop().time()
        try:
            while not (await asyncio.wait({sending}, timeout=SILENCE_S))[0]:
                waited = asyncio.get_running_loop().time() - began
                self.wait.failed(Passing("Kafka", f"no ack within {waited:.0f} s"))
            await sending
            self.wait.worked()
        finally:
            sending.cancel()

    async def connect(self) -> AIOKafkaProducer:
        """A producer that works; raises aiokafka's error if Kafka is away."""
        async with self._connecting:
            if self._producer is not None and self._producer._sender.sender_task.done():  # noqa: SLF001 - no other way
                await self._drop()
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **client_options(self._settings), enable_idempotence=True, acks="all", **self._options
                )
                try:
                    with without_logs("aiokafka"):  # what it logs when nobody is there, its error says
                        await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def probe(self) -> None:
        """Ask Kafka for its brokers; raises aiokafka's error if it is away."""
        await (await self.connect()).client.fetch_all_metadata()

    async def aclose(self) -> None:
        """Disconnect; what Kafka has not acked within `LAST_S` is given up."""
        async with self._connecting:
            await self._drop()

    async def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        stopping = asyncio.create_task(producer.stop())
        if not (await asyncio.wait({stopping}, timeout=LAST_S))[0]:
            stopping.cancel()
            await producer._sender.close()  # noqa: SLF001 - `stop` itself waits for ever
            await producer.client.close()

    async def _send(self, events: Sequence[outbox.Event]) -> None:
        producer = await self.connect()
        context = tracing.current()
        acks = [
            await producer.send(
                full_name(self._settings.topic_prefix, event.topic),
                event.value,
                event.key.encode(),
                headers=[*STRUCTURED_HEADERS, *context],
            )
            for event in events
        ]
        await asyncio.gather(*acks)


async def publish_all(
    pool: AsyncConnectionPool[AsyncConnection], send: Callable[[Sequence[outbox.Event]], Awaitable[None]]
) -> int:
    """Publish what the outbox holds and return how much that was; 0 also if another process is at it.

    `pool`: connections in the role `success_writer`. A crash between Kafka's ack and our note of it publishes
    those events again.
    """
    published = 0
    if await _waiting(pool, 1):
        async with await connect(str(pool.conninfo), ALONE_S, autocommit=True) as alone:
            if await publish_alone(alone):
                published = await _publish(pool, send)
    await _prune(pool, published)
    return published


async def _publish(
    pool: AsyncConnectionPool[AsyncConnection], send: Callable[[Sequence[outbox.Event]], Awaitable[None]]
) -> int:
    published = 0
    while waiting := await _waiting(pool, BATCH):
        await send([outbox.Event(event.topic, event.key, event.value) for event in waiting])
        async with pool.connection() as conn:
            await outbox.mark_published(conn, [event.id for event in waiting])
        published += len(waiting)
    return published


async def _waiting(pool: AsyncConnectionPool[AsyncConnection], limit: int) -> list[outbox.Unpublished]:
    async with pool.connection() as conn:
        return await outbox.fetch_unpublished(conn, limit)


async def _prune(pool: AsyncConnectionPool[AsyncConnection], published: int) -> None:
    """Delete old events, at most a few more than were published: the outbox does not grow, and this is soon done."""
    for _ in range(published // PRUNED + 1):
        async with pool.connection() as conn:
            if await outbox.prune(conn, KEPT, PRUNED) < PRUNED:
                return


async def keep_doing(
    step: Callable[[], Coroutine[object, object, object]],
    wake: asyncio.Event,
    every_s: float,
    wait: Wait,
    stop: asyncio.Event | None = None,
) -> None:
    """Run `step` whenever `wake` is set, and every `every_s` seconds, until cancelled or a last time after `stop`.

    Kafka or Postgres being away is waited for: nothing is lost, the events are in Postgres. Whoever sets `stop` sets
    `wake` too. Raises what does not pass.
    """
    stop = stop or asyncio.Event()
    while True:
        stopping = stop.is_set()
        wake.clear()
        try:
            await _in_time(step, stop)
        except (psycopg.Error, KafkaError) as error:
            why = passing(error)
            if why is None:
                raise
            if not stopping:
                await wait.pause(why, stop)
        else:
            wait.worked()
            if not stopping:
                await set_within(wake, every_s)
        if stopping:
            return


async def _in_time(step: Callable[[], Coroutine[object, object, object]], stop: asyncio.Event) -> None:
    """Run `step`; once `stop` is set it has `LAST_S` left."""
    working, stopping = asyncio.create_task(step()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await asyncio.wait({working}, timeout=LAST_S)
        if working.done():
            working.result()
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.wait({working}, timeout=LAST_S)
