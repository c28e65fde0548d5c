"""Milestones that suppliers have reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store.queries import load
from store.rows import as_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

SQL = load("milestones")


async def save(conn: AsyncConnection, milestones: Sequence[dict[str, Any]]) -> None:
    """Store milestones not stored yet.

    Each: `id` (the signal's), `supplier_id`, `milestone`, `at` (RFC 3339), `data`.
    """
    if milestones:
        await conn.execute(SQL["save"], {"rows": as_json(milestones)})
