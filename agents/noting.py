"""Noting what a mail server said: the only trace of what was sent, so a short absence of Postgres is waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from psycopg import AsyncConnection, InterfaceError, OperationalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from psycopg_pool import AsyncConnectionPool

ATTEMPTS = 8
LONGEST_PAUSE_S = 5.0
Noted = TypeVar("Noted")


async def note(
    pool: AsyncConnectionPool[AsyncConnection], write: Callable[[AsyncConnection], Awaitable[Noted]]
) -> Noted:
    """Run `write` in a transaction, pipelined; tries again if the connection breaks. Raises what the last try does."""
    for attempt in range(1, ATTEMPTS):
        try:
            return await _once(pool, write)
        except (OperationalError, InterfaceError):
            await asyncio.sleep(min(LONGEST_PAUSE_S, 0.1 * 2**attempt))
    return await _once(pool, write)


async def _once(
    pool: AsyncConnectionPool[AsyncConnection], write: Callable[[AsyncConnection], Awaitable[Noted]]
) -> Noted:
    async with pool.connection() as conn, conn.pipeline():
        noted = await write(conn)
        await conn.commit()
        return noted
