"""How much work waits in Postgres, for monitoring."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from store.queries import load
from store.times import to_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SQL = load("service_metrics")


class Waiting(NamedTuple):
    """Events in the outbox and the age of the oldest in seconds, and interventions that are due."""

    outbox: int
    outbox_oldest_s: float
    interventions_due: int


async def read_waiting(conn: AsyncConnection, now_ms: int) -> Waiting:
    """Count what waits; needs the role `success_writer`."""
    found = await (await conn.execute(SQL["waiting"], {"now": to_time(now_ms)})).fetchone()
    outbox, oldest_s, due = found or (0, None, 0)
    return Waiting(outbox, max(0.0, oldest_s or 0.0), due)
