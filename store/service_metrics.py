"""How much work waits in Postgres, for monitoring."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runtime import metrics
from store.database import POOLS
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


async def look_at_waiting(conn: AsyncConnection, now_ms: int) -> None:
    """Set the gauges of what waits; needs the role `success_writer`."""
    waiting = await read_waiting(conn, now_ms)
    metrics.DATABASE_UP.set(1)
    metrics.OUTBOX.set(waiting.outbox)
    metrics.OUTBOX_AGE.set(waiting.outbox_oldest_s)
    metrics.DUE.set(waiting.interventions_due)


async def read_suppliers(conn: AsyncConnection) -> list[tuple[str, int]]:
    """How many suppliers are counted as each level, newcomers as `new`; needs the role `success_reader`."""
    return list(await (await conn.execute(SQL["suppliers"])).fetchall())


def look_at_pools() -> None:
    """Set what the pools of this process have done."""
    for pool in list(POOLS):
        stats, name = pool.get_stats(), pool.name.removeprefix("success_")
        for state in ("pool_size", "pool_available", "requests_waiting"):
            metrics.POOL.labels(pool.name.removeprefix("success_"), state.removeprefix("pool_")).set(
                stats.get(state, 0)
            )
        metrics.TRANSACTIONS.labels(name).inc(_more(pool, "requests_num", stats))
        metrics.WAITED.labels(name).inc(_more(pool, "requests_wait_ms", stats) / 1000)


_SEEN: dict[tuple[int, str], int] = {}


def _more(pool: object, name: str, stats: dict[str, int]) -> int:
    """By how much a count has grown since it was last asked for."""
    now, before = stats.get(name, 0), _SEEN.get((id(pool), name), 0)
    _SEEN[id(pool), name] = now
    return now - before if now >= before else now
