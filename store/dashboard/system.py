"""What the dashboard says of the services: outbox, delivery, dead letters that were published again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store import audit
from store.dashboard.population import Row, rows
from store.messages.delivery import OWNER_NAMESPACE
from store.queries import load
from store.times import to_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

    from store.audit import Actor

SQL = load("dashboard_system")

COUNTED = 10_000
"""What waits is counted up to this number."""

Position = tuple[int, int]
"""Partition and offset of a dead letter."""


async def outbox_waiting(conn: AsyncConnection) -> Row:
    """How much waits to be published, and since when: `waiting, oldest`; `conn` in the role `success_writer`."""
    return (await rows(conn, SQL["outbox_waiting"], {"most": COUNTED}))[0]


async def delivery(conn: AsyncConnection, now_ms: int) -> Row:
    """Delivery: `processes` that live, messages `overdue`, and the next one's time `next_at`."""
    parameters = {"namespace": OWNER_NAMESPACE, "now": to_time(now_ms), "most": COUNTED}
    return (await rows(conn, SQL["delivery"], parameters))[0]


async def newest_change(conn: AsyncConnection) -> datetime | None:
    """When the level of anybody last changed."""
    found = await rows(conn, SQL["newest_change"])
    return found[0]["at"] if found else None


async def stored_until(conn: AsyncConnection) -> datetime | None:
    """The newest moment that a stored health stands for; None before the first."""
    found: datetime | None = (await rows(conn, SQL["stored_until"]))[0]["at"]
    return found


async def begun(conn: AsyncConnection, most: int) -> Row:
    """How much is there of the beginning: `suppliers` and `addresses` (at most `most`), and `scored`."""
    return (await rows(conn, SQL["begun"], {"most": most}))[0]


async def published_letters(conn: AsyncConnection, positions: Sequence[Position]) -> dict[Position, Row]:
    """Which of these dead letters were published again: when and by whom (`stamp`: the letter's append time)."""
    parameters = {
        "partitions": [partition for partition, _ in positions],
        "positions": [position for _, position in positions],
    }
    found = await rows(conn, SQL["published_letters"], parameters)
    return {(row["partition"], row["position"]): row for row in found}


async def note_published(
    conn: AsyncConnection,
    actor: Actor,
    position: Position,
    stamp: datetime,
    supplier_id: str | None,
    now_ms: int,
    changes: Mapping[str, Any],
) -> bool:
    """Note that a dead letter is published again, with what was changed in it; False if it was already."""
    partition, offset = position
    parameters = {
        "partition": partition,
        "position": offset,
        "stamp": stamp,
        "at": to_time(now_ms),
        "by": actor.id,
    }
    if (await conn.execute(SQL["note_published"], parameters)).rowcount == 0:
        return False
    await audit.log(
        conn,
        actor,
        "dead_letter.published",
        supplier_id,
        now_ms,
        partition=partition,
        offset=offset,
        changes=changes,
    )
    return True
