"""A running API with an agent who is signed in, and suppliers and rows as the agents would have written them."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4, uuid5

import psycopg
import pytest
from httpx import ASGITransport, AsyncClient, Response

from api.app import build_app
from api.auth import sign
from embedded.registry import Addresses
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from store import health
from tests.agents.delivery.world import World
from tests.api.conftest import clock, world
from tests.api.dashboard.seed import seed
from tests.conftest import own_settings
from tests.store.databases import database, template_on
from topics.time import format_time

__all__ = ["clock", "world"]

CSRF = re.compile(r'name="csrf" value="([0-9a-f]+)"')


class Desk:
    """An agent at the dashboard: `get` and `post` as their browser would."""

    def __init__(self, client: AsyncClient, settings: Settings) -> None:
        self.client = client
        self.settings = settings
        self.csrf = ""

    async def sign_in(self, name: str = "emma") -> Response:
        """Show a token at the login."""
        token = sign(self.settings, "agent", name, 3600, int(time.time()))
        answer = await self.client.post("/dashboard/login", data={"token": token, "next": ""})
        found = CSRF.search(await self.page("/dashboard"))
        self.csrf = found[1] if found else ""
        return answer

    async def get(self, address: str, **headers: str) -> Response:
        """Load an address."""
        return await self.client.get(address, headers=headers)

    async def page(self, address: str) -> str:
        """The text of a page that must be there."""
        answer = await self.get(address)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def post(self, address: str, **fields: Any) -> Response:
        """Send a form with this session's CSRF token."""
        return await self.client.post(address, data={"csrf": self.csrf} | fields)


@pytest.fixture(scope="session")
def settings(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings with topics and a database that the tests of the dashboard share; each makes suppliers of its own."""
    with own_settings(stack, tmp_path_factory.mktemp("dashboard") / "state") as own:
        yield own


@asynccontextmanager
async def serving(
    settings: Settings, clock: ManualClock, policy: Policy | None = None
) -> AsyncIterator[Desk]:
    """A desk of an app whose lifespan has started; nobody is signed in."""
    app = build_app(settings, clock, policy)
    async with app.router.lifespan_context(app):
        transport = ASGITransport(app, raise_app_exceptions=False)
        async with AsyncClient(transport=transport, base_url="http://api.test") as client:
            yield Desk(client, settings)


@pytest.fixture
async def stranger(settings: Settings, clock: ManualClock) -> AsyncIterator[Desk]:
    """A browser that nobody is signed in with."""
    async with serving(settings, clock) as made:
        yield made


@pytest.fixture
async def desk(stranger: Desk) -> Desk:
    """The agent Emma, signed in."""
    await stranger.sign_in()
    return stranger


async def add_changes(
    world: World, supplier_id: str, *changes: tuple[int, int, str], **causes: float
) -> None:
    """Store changes of their score, each (time in ms, score, level), as the intervention agent does.

    `causes`: points by component, of each change.
    """
    found = await world.query(
        "SELECT max(seq) AS seq FROM health_history WHERE supplier_id = %s", supplier_id
    )
    first = (found[0]["seq"] or 0) + 1
    rows = [
        {
            "id": str(uuid5(UUID(supplier_id), f"change {seq}")),
            "supplier_id": supplier_id,
            "seq": seq,
            "at": format_time(at),
            "score": score,
            "level": level,
            "causes": [
                {"component": component, "before": 0, "after": points, "event": "time"}
                for component, points in causes.items()
            ],
        }
        for seq, (at, score, level) in enumerate(changes, first)
    ]
    async with world.pool.connection() as conn:
        await health.save_changes(conn, rows)


@pytest.fixture(scope="session")
def large(stack: Any) -> Iterator[str]:
    """The address of a database with enough of everything that Postgres must choose, and with statistics."""
    with database(stack.database_url, template_on(stack.database_url)) as url:
        with psycopg.connect(url, autocommit=True) as conn:
            seed(conn)
        yield url


@pytest.fixture
def token(settings: Settings) -> Any:
    """A signed token: `token("agent", "emma")`."""

    def made(role: Any, subject: str) -> str:
        return sign(settings, role, subject, 3600, int(time.time()))

    return made


def fresh_id() -> str:
    """An id that nobody has."""
    return str(uuid4())
