"""Interventions as they are born: scheduled, or suppressed from the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store.queries import load
from store.rows import as_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

SQL = load("interventions")


async def add(conn: AsyncConnection, rows: Sequence[dict[str, Any]]) -> set[str]:
    """Add the rows that don't exist yet and return the ids of those.

    Keys are those of the query `add` in `interventions.sql`; times are RFC 3339.
    """
    if not rows:
        return set()
    added = await conn.execute(SQL["add"], {"rows": as_json(rows)})
    return {row[0] for row in await added.fetchall()}


async def wake_delivery(conn: AsyncConnection) -> None:
    """Tell waiting deliveries, once this transaction commits, that there is something new to decide on."""
    await conn.execute(SQL["wake_delivery"])
