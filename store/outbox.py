"""The outbox: events written in the transaction that made them true, published afterwards, at least once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from store.queries import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

SQL = load("outbox")


class Event(NamedTuple):
    """What to publish: `topic` is the catalogue's name without prefix, `key` the supplier id.

    A `value` of None is Kafka's empty value, which erases a profile; it never waits in the outbox.
    """

    topic: str
    key: str
    value: bytes | None


class Unpublished(NamedTuple):
    """An event that waits in the outbox under `id`."""

    id: int
    topic: str
    key: str
    value: bytes


async def add(conn: AsyncConnection, events: Sequence[Event]) -> None:
    """Put events into the outbox, in this order."""
    if events:
        topics, keys, values = zip(*events, strict=True)
        await conn.execute(SQL["add"], {"topics": list(topics), "keys": list(keys), "values": list(values)})


async def fetch_unpublished(conn: AsyncConnection, limit: int) -> list[Unpublished]:
    """Fetch the oldest unpublished events, locked until the transaction ends.

    Publish them, `mark_published` once they are acked, then commit: a crash in between publishes them again.
    """
    rows = await conn.execute(SQL["fetch_unpublished"], {"limit": limit})
    return [Unpublished(*row) for row in await rows.fetchall()]


async def mark_published(conn: AsyncConnection, ids: Sequence[int]) -> None:
    """Note that these events have been acked by Kafka."""
    await conn.execute(SQL["mark_published"], {"ids": list(ids)})


async def prune(conn: AsyncConnection, kept: timedelta, limit: int) -> int:
    """Delete events that were published longer ago than `kept`, at most `limit`; returns how many that were."""
    parameters = {"until": datetime.now(UTC) - kept, "limit": limit}
    return (await conn.execute(SQL["prune"], parameters)).rowcount
