"""Waiting until another connection waits for a lock, so that tests of races need no luck."""

from __future__ import annotations

import asyncio

import psycopg

DEADLINE_S = 10


async def until_somebody_waits(database_url: str, how_many: int = 1) -> None:
    """Return once `how_many` connections of this database wait for a lock; TimeoutError after DEADLINE_S."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with (
        asyncio.timeout(DEADLINE_S),
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn,
    ):
        while True:
            row = await (await conn.execute(waiting)).fetchone()
            if row and row[0] >= how_many:
                return
            await asyncio.sleep(0.005)
