"""What a supplier may do only so often, counted in Postgres under a lock: any number of processes count together."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from store.queries import load
from store.times import to_ms, to_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from scoring.decisions.limits import Limit

SQL = load("acts")


async def free_at_ms(conn: AsyncConnection, supplier_id: str, limit: Limit, now_ms: int) -> int | None:
    """When there may be another act of this kind, None if now; nobody else counts it until the transaction ends."""
    window = timedelta(milliseconds=limit.window_ms)
    parameters: dict[str, Any] = {
        "supplier": supplier_id,
        "kind": limit.kind,
        "since": to_time(now_ms) - window,
        "most": limit.most,
    }
    await conn.execute(SQL["lock"], parameters)
    found = await (await conn.execute(SQL["at_limit"], parameters)).fetchone()
    return None if found is None else to_ms(found[0] + window)


async def note(conn: AsyncConnection, supplier_id: str, limit: Limit, now_ms: int) -> None:
    """Count an act, and forget those that no longer count."""
    at = to_time(now_ms)
    since = at - timedelta(milliseconds=limit.window_ms)
    parameters: dict[str, Any] = {"supplier": supplier_id, "kind": limit.kind, "since": since, "at": at}
    await conn.execute(SQL["forget"], parameters)
    await conn.execute(SQL["add"], parameters)
