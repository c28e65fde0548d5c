"""Holding suppliers to what they may do only so often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scoring.decisions.limits import TooOftenError
from store.people import acts

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from scoring.decisions.limits import Limit


async def count(conn: AsyncConnection, supplier_id: str, limit: Limit, now_ms: int) -> None:
    """Count an act, in its transaction; TooOftenError, and nothing is counted, if the limit is reached."""
    await check(conn, supplier_id, limit, now_ms)
    await acts.note(conn, supplier_id, limit, now_ms)


async def check(conn: AsyncConnection, supplier_id: str, limit: Limit, now_ms: int) -> None:
    """Raise TooOftenError if the limit is reached."""
    free_at = await acts.free_at_ms(conn, supplier_id, limit, now_ms)
    if free_at is not None:
        raise TooOftenError(limit, free_at)
