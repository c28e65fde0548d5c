"""Sessions of agents at the dashboard: good for 12 hours, 2 hours after they were last used, and until they are ended.

A session's id is random and stays with the browser; here lies its SHA-256. Times are the wall clock's.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from psycopg.rows import dict_row

from store.queries import load

if TYPE_CHECKING:
    from typing import Any

    from psycopg import AsyncConnection

SQL = load("sessions")
LIFETIME = timedelta(hours=12)
IDLE = timedelta(hours=2)
SEEN_EVERY = timedelta(minutes=1)
"""How exactly it is known when a session was last used."""


async def begin(conn: AsyncConnection, session_id: str, agent: str, now_s: float) -> None:
    """Begin a session of this agent."""
    parameters = {"id": _hash(session_id), "agent": agent, "now": _time(now_s)}
    await conn.execute(SQL["begin"], parameters)


async def find(conn: AsyncConnection, session_id: str, now_s: float, *, used: bool = True) -> str | None:
    """The agent whose session it is, which counts as used now if it is; None if there is none or it is over."""
    now = _time(now_s)
    parameters = {"id": _hash(session_id), "now": now} | _limits(now)
    found = await (await conn.execute(SQL["find"], parameters)).fetchone()
    if found is None:
        return None
    if used and now - found[1] >= SEEN_EVERY:
        await conn.execute(SQL["see"], parameters)
    return str(found[0])


async def end(conn: AsyncConnection, session_id: str, now_s: float) -> None:
    """End a session; nothing happens if it is over."""
    await conn.execute(SQL["end_one"], {"id": _hash(session_id), "now": _time(now_s)})


async def end_all(conn: AsyncConnection, agent: str, now_s: float) -> int:
    """End all sessions of an agent; says how many that were."""
    return (await conn.execute(SQL["end_all"], {"agent": agent, "now": _time(now_s)})).rowcount


async def open_ones(conn: AsyncConnection, now_s: float) -> list[dict[str, Any]]:
    """Sessions that are good now: `agent`, `started_at`, `seen_at`."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["open"], _limits(_time(now_s)))
        return await cursor.fetchall()


def _limits(now: datetime) -> dict[str, datetime]:
    return {"started_after": now - LIFETIME, "seen_after": now - IDLE}


def _time(now_s: float) -> datetime:
    return datetime.fromtimestamp(now_s, UTC)


def _hash(session_id: str) -> bytes:
    return sha256(session_id.encode()).digest()
