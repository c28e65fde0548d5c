"""The way from the outbox to Kafka: in order, one process at a time, at least once."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError
from psycopg import InterfaceError, OperationalError
from psycopg_pool import PoolTimeout

from store import outbox
from store.delivery import publish_alone
from topics.catalog import full_name
from topics.encoding import STRUCTURED_HEADERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiokafka import AIOKafkaProducer
    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from runtime.settings import Settings

logger = logging.getLogger(__name__)

BATCH = 500
KEPT = timedelta(days=7)
"""How long published events stay in the outbox, for looking into what was said and when."""
PRUNED = 1000
"""Rows deleted in one transaction: few, so that nobody waits for it."""
LONGEST_PAUSE_S = 30.0


def sender(
    producer: AIOKafkaProducer, settings: Settings
) -> Callable[[Sequence[outbox.Event]], Awaitable[None]]:
    """Make the function that sends events to Kafka in order and returns when all are acked."""

    async def send(events: Sequence[outbox.Event]) -> None:
        acks = [
            await producer.send(
                full_name(settings.topic_prefix, event.topic),
                event.value,
                event.key.encode(),
                headers=list(STRUCTURED_HEADERS),
            )
            for event in events
        ]
        await asyncio.gather(*acks)

    return send


async def publish_all(
    pool: AsyncConnectionPool[AsyncConnection], send: Callable[[Sequence[outbox.Event]], Awaitable[None]]
) -> int:
    """Publish what the outbox holds and return how much that was.

    `pool`: connections in the role `success_writer`. A crash between Kafka's ack and our note of it publishes
    those events again.
    """
    published = 0
    while True:
        async with pool.connection() as conn:
            await publish_alone(conn)
            waiting = await outbox.fetch_unpublished(conn, BATCH)
            if waiting:
                await send([outbox.Event(event.topic, event.key, event.value) for event in waiting])
                await outbox.mark_published(conn, [event.id for event in waiting])
        published += len(waiting)
        if len(waiting) < BATCH:
            await _prune(pool, published)
            return published


async def _prune(pool: AsyncConnectionPool[AsyncConnection], published: int) -> None:
    """Delete old events, at most a few more than were published: the outbox does not grow, and this is soon done."""
    for _ in range(published // PRUNED + 1):
        async with pool.connection() as conn:
            if await outbox.prune(conn, KEPT, PRUNED) < PRUNED:
                return


async def keep_publishing(
    step: Callable[[], Awaitable[object]],
    wake: asyncio.Event,
    every_s: float,
    stop: asyncio.Event | None = None,
) -> None:
    """Run `step` whenever `wake` is set, and every `every_s` seconds, until cancelled or a last time after `stop`.

    Kafka or Postgres being away is waited for: nothing is lost, the events are in Postgres. Whoever sets `stop` sets
    `wake` too.
    """
    stop = stop or asyncio.Event()
    pause = 1.0
    while True:
        stopping = stop.is_set()
        wake.clear()
        try:
            await step()
            pause = 1.0
        except (KafkaError, OperationalError, InterfaceError, PoolTimeout) as error:
            logger.warning("the outbox can't be published now (%s); nothing is lost", _line(error))
            await _until(stop, pause)
            pause = min(LONGEST_PAUSE_S, pause * 2)
        else:
            if not stopping:
                await _until(wake, every_s)
        if stopping:
            return


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
