"""Real Postgres and a real, scriptable mail server; no topics are needed here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from embedded.registry import Addresses
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from store.database import Role, open_pool
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import NOW, World
from tests.store.databases import database, template_on

Pool = AsyncConnectionPool[AsyncConnection]


@pytest.fixture
def settings(stack: Addresses, tmp_path: Path, mail_server: MailServer) -> Iterator[Settings]:
    """Settings with a migrated database of their own and the test's mail server; no topics."""
    with database(stack.database_url, template_on(stack.database_url)) as database_url:
        yield Settings(
            kafka=stack.kafka,
            database_url=database_url,
            smtp_url=mail_server.url,
            public_url="https://app.wedsync.example",
            secret_key="secret-key-of-the-tests",
            state_dir=tmp_path / "state",
        )


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool]:
    """Connections in the role the service has."""
    opened = await open_pool(settings.database_url, Role.WRITER)
    yield opened
    await opened.close()


@pytest.fixture
def policy() -> Policy:
    """The default policy."""
    return Policy.load()


@pytest.fixture
async def world(settings: Settings, pool: Pool, policy: Policy) -> AsyncIterator[World]:
    """Suppliers and rows to deliver, a clock at nine on a Monday morning in London, and deliveries."""
    made = World(settings, pool, ManualClock(NOW), policy)
    yield made
    await made.close()
