"""The race between writing about a supplier and erasing them: whoever comes first, nothing of them is left."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest

from runtime.keys import Keys
from store import suppliers
from store.database import Role, open_pool
from tests.store.waiting import until_somebody_waits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

pytestmark = pytest.mark.stack

SARAH, EMMA = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
KEY = Keys("a key for tests")
NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)


@pytest.fixture
async def pool(database_url) -> AsyncIterator[AsyncConnectionPool[AsyncConnection]]:
    """Connections in the writer's role."""
    opened = await open_pool(database_url, Role.WRITER)
    yield opened
    await opened.close()


async def erase(conn, supplier: str) -> None:
    await suppliers.lock(conn, {supplier}, KEY)
    await suppliers.erase(conn, {supplier}, KEY, NOW)


def stored(database_url: str) -> list[tuple[str]]:
    with psycopg.connect(database_url) as conn:
        return conn.execute("SELECT id::text FROM suppliers").fetchall()


@pytest.mark.parametrize("known_before", [True, False])
async def test_who_waits_for_an_erasure_writes_nothing(pool, database_url, known_before):
    if known_before:
        async with pool.connection() as conn:
            await suppliers.lock(conn, {SARAH}, KEY)

    async def write() -> set[str]:
        async with pool.connection() as conn:
            return await suppliers.lock(conn, {SARAH, EMMA}, KEY)

    async with pool.connection() as erasing:
        await erase(erasing, SARAH)
        writing = asyncio.create_task(write())
        await until_somebody_waits(database_url)
    assert await writing == {EMMA}
    assert stored(database_url) == [(EMMA,)]


async def test_an_erasure_waits_for_who_writes_and_takes_what_was_written(pool, database_url):
    async def erase_her() -> None:
        async with pool.connection() as conn:
            await erase(conn, SARAH)

    async with pool.connection() as writing:
        assert await suppliers.lock(writing, {SARAH}, KEY) == {SARAH}
        erasing = asyncio.create_task(erase_her())
        await until_somebody_waits(database_url)
    await erasing
    assert stored(database_url) == []


async def test_erasing_twice_is_like_once(pool, database_url):
    for _ in range(2):
        async with pool.connection() as conn:
            await erase(conn, SARAH)
    assert stored(database_url) == []


async def test_another_key_knows_nobody(pool):
    async with pool.connection() as conn:
        await erase(conn, SARAH)
        assert await suppliers.lock(conn, {SARAH}, KEY) == set()
        assert await suppliers.lock(conn, {SARAH}, Keys("another key")) == {SARAH}
