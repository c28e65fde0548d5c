"""Databases and connections for the tests of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from store.database import Role, open_pool
from tests.store.databases import database, database_url, migrated_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import psycopg


__all__ = ["database_url", "migrated_database"]


@pytest.fixture
def empty_database(stack) -> Iterator[str]:
    """The address of a database without any table."""
    with database(stack.database_url) as url:
        yield url


@pytest.fixture
async def conn(database_url) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection in the writer's role to a migrated database."""
    pool = await open_pool(database_url, Role.WRITER)
    async with pool.connection() as connection:
        yield connection
    await pool.close()
