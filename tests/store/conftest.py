"""Databases and connections for the tests of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from store.database import Role, open_pool
from store.migrate import migrate
from tests.store.databases import database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import psycopg


@pytest.fixture
def empty_database(stack) -> Iterator[str]:
    """The address of a database without any table."""
    with database(stack.database_url) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_database(stack) -> Iterator[str]:
    """The address of a migrated database to copy from."""
    with database(stack.database_url) as url:
        migrate(url)
        yield url


@pytest.fixture
def database_url(stack, migrated_database) -> Iterator[str]:
    """The address of a migrated database that the test has to itself."""
    with database(stack.database_url, migrated_database) as url:
        yield url


@pytest.fixture
async def conn(database_url) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection in the writer's role to a migrated database."""
    pool = await open_pool(database_url, Role.WRITER)
    async with pool.connection() as connection:
        yield connection
    await pool.close()
