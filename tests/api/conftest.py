"""A running API in the test's own process, on real Postgres and Kafka."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from api.app import build_app
from api.auth import Role, sign
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.policy import Policy
from store.database import Role as DatabaseRole
from store.database import open_pool
from tests.delivery.world import NOW, World

Authorization = dict[str, str]


@pytest.fixture
def clock() -> ManualClock:
    """Nine on a Monday morning in London, until it is moved."""
    return ManualClock(NOW)


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """A client of an app whose lifespan has started."""
    async with app.router.lifespan_context(app):
        transport = ASGITransport(app, raise_app_exceptions=False, client=("203.0.113.7", 4711))
        async with AsyncClient(transport=transport, base_url="http://api.test") as client:
            yield client


@pytest.fixture
async def api(settings: Settings, clock: ManualClock) -> AsyncIterator[AsyncClient]:
    """A client of the running API."""
    async with running(build_app(settings, clock)) as client:
        yield client


@pytest.fixture
def token(settings: Settings) -> Callable[..., Authorization]:
    """Headers with a token: `token("agent")`, `token("supplier", supplier_id)`."""

    def made(role: Role, subject: str | None = None, **options: Any) -> Authorization:
        lifetime_s = options.get("lifetime_s", 3600)
        signed = sign(settings, role, subject or f"the {role}", lifetime_s, int(time.time()))
        return {"Authorization": f"Bearer {signed}"}

    return made


@pytest.fixture
async def world(settings: Settings, clock: ManualClock) -> AsyncIterator[World]:
    """Suppliers and rows in the same database, and deliveries with the same clock."""
    pool: AsyncConnectionPool[AsyncConnection] = await open_pool(settings.database_url, DatabaseRole.WRITER)
    made = World(settings, pool, clock, Policy.load())
    yield made
    await made.close()
    await pool.close()
