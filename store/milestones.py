"""Milestones that suppliers have reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from store.queries import load
from store.rows import as_json
from store.times import to_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

SQL = load("milestones")


class Reached(NamedTuple):
    """A milestone that a supplier has reached; `at` in ms."""

    id: str
    type: str
    at: int
    celebrated: bool


async def save(conn: AsyncConnection, milestones: Sequence[dict[str, Any]]) -> None:
    """Store milestones not stored yet.

    Each: `id` (the signal's), `supplier_id`, `milestone`, `at` (RFC 3339), `data`, `celebrated` (there is nothing to
    celebrate any more).
    """
    if milestones:
        await conn.execute(SQL["save"], {"rows": as_json(milestones)})


async def of_supplier(
    conn: AsyncConnection, supplier_id: str, milestone_type: str | None = None
) -> list[Reached]:
    """Read what they have reached, oldest first; with a type only that one."""
    parameters = {"supplier": supplier_id, "type": milestone_type}
    rows = await (await conn.execute(SQL["of_supplier"], parameters)).fetchall()
    return [Reached(row[0], row[1], to_ms(row[2]), bool(row[3])) for row in rows]
