"""A running API in the test's own process, on real Postgres and Kafka."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from api.app import build_app
from api.auth import Role, sign
from embedded.registry import Addresses
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from store.database import Role as DatabaseRole
from store.database import open_pool
from tests.agents.delivery.world import NOW, World
from tests.browser.serving import free_ports, serving
from tests.conftest import own_settings
from tests.store.databases import database, template_on

Authorization = dict[str, str]


@pytest.fixture(scope="session")
def shared(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings whose topics tests share that don't look into them: to make and delete a dozen takes Kafka a while."""
    with own_settings(stack, tmp_path_factory.mktemp("shared") / "state") as made:
        yield made


@contextmanager
def among_others(stack: Addresses, shared: Settings, state_dir: Path) -> Iterator[Settings]:
    """Settings with shared topics, and a database that no other test has."""
    with database(stack.database_url, template_on(stack.database_url)) as url:
        yield shared.model_copy(update={"database_url": url, "state_dir": state_dir})


@pytest.fixture
def settings(stack: Addresses, shared: Settings, tmp_path: Path) -> Iterator[Settings]:
    """Settings with a database that no other test has, and `/metrics` on the API's own port.

    Who looks into topics imports `own_topics` of tests/api/kafka.py.
    """
    with among_others(stack, shared, tmp_path / "state") as own:
        yield own.model_copy(update={"metrics_port": own.api_port})


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


@pytest.fixture(scope="session")
def served_settings(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of the one API on a port that tests share which ask much and change little."""
    [port] = free_ports(1)
    where = tmp_path_factory.mktemp("served") / "state"
    with own_settings(stack, where, api_port=port, public_url=f"http://127.0.0.1:{port}") as own:
        yield own


@pytest.fixture(scope="session")
def served(served_settings: Settings) -> Iterator[str]:
    """The address of that API: uvicorn, real Postgres and Kafka, the clock standing at `NOW`."""
    app = build_app(served_settings, ManualClock(NOW))
    with serving(app, served_settings.api_port) as url:
        yield url
