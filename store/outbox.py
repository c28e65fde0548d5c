"""The outbox: events written in the transaction that made them true, published afterwards, at least once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from store.queries import load
from store.times import to_time
from topics.time import format_time

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


class Note(NamedTuple):
    """Something that agents are told in their own tools; `id` (a UUID) follows from what it tells of."""

    id: str
    supplier_id: str
    kind: str
    """`risk.changed`, `task.opened`, `call.scheduled` and the like."""
    at_ms: int
    facts: dict[str, Any]


class DueNote(NamedTuple):
    """A note that is to be told; `attempts` were in vain."""

    id: int
    note_id: str
    supplier_id: str
    kind: str
    at: str
    facts: dict[str, Any]
    attempts: int = 0


async def add(conn: AsyncConnection, events: Sequence[Event]) -> None:
    """Put events into the outbox, in this order."""
    if events:
        topics, keys, values = zip(*events, strict=True)
        await conn.execute(SQL["add"], {"topics": list(topics), "keys": list(keys), "values": list(values)})


async def fetch_unpublished(conn: AsyncConnection, limit: int) -> list[Unpublished]:
    """Fetch the oldest unpublished events; publish them, and `mark_published` once they are acked."""
    rows = await conn.execute(SQL["fetch_unpublished"], {"limit": limit})
    return [Unpublished(*row) for row in await rows.fetchall()]


async def mark_published(conn: AsyncConnection, ids: Sequence[int]) -> None:
    """Note that these events have been acked by Kafka."""
    await conn.execute(SQL["mark_published"], {"ids": list(ids)})


async def prune(conn: AsyncConnection, kept: timedelta, limit: int) -> int:
    """Delete events that were published longer ago than `kept`, at most `limit`; returns how many that were."""
    parameters = {"until": datetime.now(UTC) - kept, "limit": limit}
    return (await conn.execute(SQL["prune"], parameters)).rowcount


async def add_notes(conn: AsyncConnection, notes: Sequence[Note]) -> None:
    """Put notes to agents into the outbox, each once however often it comes, and wake delivery."""
    if not notes:
        return
    values = [
        orjson.dumps({"kind": note.kind, "at": format_time(note.at_ms), "facts": note.facts})
        for note in notes
    ]
    parameters = {
        "ids": [note.id for note in notes],
        "keys": [note.supplier_id for note in notes],
        "values": values,
        "due": [to_time(note.at_ms) for note in notes],
    }
    await conn.execute(SQL["add_notes"], parameters)
    await conn.execute(SQL["wake"])


async def due_notes(conn: AsyncConnection, now_ms: int, limit: int) -> list[DueNote]:
    """Fetch notes that are due, those first that have been for longest."""
    rows = await conn.execute(SQL["due_notes"], {"now": to_time(now_ms), "limit": limit})
    return [
        DueNote(row_id, note_id, key, attempts=attempts, **orjson.loads(value))
        for row_id, note_id, key, value, attempts in await rows.fetchall()
    ]


async def note_told(conn: AsyncConnection, row_id: int) -> None:
    """Note that a note was taken."""
    await conn.execute(SQL["note_told"], {"id": row_id})


async def note_later(conn: AsyncConnection, row_id: int, at_ms: int, error: str) -> None:
    """Note that a note is to be told again at `at_ms`, and why."""
    await conn.execute(SQL["note_later"], {"id": row_id, "at": to_time(at_ms), "error": error})


async def note_failed(conn: AsyncConnection, row_id: int, now_ms: int, error: str) -> None:
    """Note that a note is given up, and why."""
    await conn.execute(SQL["note_failed"], {"id": row_id, "now": to_time(now_ms), "error": error})


async def forget_notes(conn: AsyncConnection) -> None:
    """Delete all notes that wait: nobody is to be told."""
    await conn.execute(SQL["forget_notes"])


async def failed_notes(conn: AsyncConnection, limit: int) -> list[dict[str, Any]]:
    """Notes that were given up, the newest first: id, supplier, what they said, why."""
    rows = await conn.execute(SQL["failed_notes"], {"limit": limit})
    names = ("id", "supplier_id", "attempts", "error", "failed_at")
    found = []
    for note_id, supplier_id, value, *rest in await rows.fetchall():
        found.append(dict(zip(names, (note_id, supplier_id, *rest), strict=True)) | orjson.loads(value))
    return found


async def retry_notes(conn: AsyncConnection, ids: Sequence[str] | None, now_ms: int) -> int:
    """Make notes that were given up due again: these, or all (None); returns how many."""
    done = await conn.execute(
        SQL["retry_notes"], {"ids": None if ids is None else list(ids), "now": to_time(now_ms)}
    )
    await conn.execute(SQL["wake"])
    return done.rowcount
