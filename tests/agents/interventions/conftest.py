"""A writer on a database of its own, and readers of what it wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.rows import dict_row

from agents.interventions.writer import InterventionWriter
from runtime.clock import ManualClock
from runtime.keys import Keys
from scoring.decisions.policy import Policy
from store.database import Role, open_pool
from tests.agents.interventions.factory import MONDAY
from tests.store.databases import database_url, migrated_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["database_url", "migrated_database"]

ERASURE_KEY = Keys("a key for tests")


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands at Monday morning, when the factory's records are from."""
    return ManualClock(MONDAY)


@pytest.fixture
async def writer(database_url, clock) -> AsyncIterator[InterventionWriter]:
    """A writer with the default policy."""
    pool = await open_pool(database_url, Role.WRITER)
    yield InterventionWriter(pool, clock, Policy.load(), ERASURE_KEY)
    await pool.close()


@pytest.fixture
def select(database_url) -> Callable[..., list[dict[str, Any]]]:
    """Rows of a table as dicts, by an order of its own or its supplier."""

    def rows(query: str, *values: object) -> list[dict[str, Any]]:
        with psycopg.connect(database_url, row_factory=dict_row, options="-c timezone=UTC") as conn:
            return conn.execute(query, values).fetchall()

    return rows
