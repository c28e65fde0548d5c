"""A dashboard of a test's own, and its states drawn at every width, light and dark."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import pytest
import pytest_asyncio
from fastapi import FastAPI
from playwright.async_api import Page

from api.app import build_app
from api.dashboard.fresh.lag import READ, Lag, TopicLag
from embedded.registry import Addresses
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from scoring.time import DAY, HOUR
from store.database import Role, open_pool
from tests.agents.delivery.world import World
from tests.api.dashboard.conftest import add_changes
from tests.browser.conftest import NO_OVERFLOW, SCHEMES, SIZES, CheckAxe, Screenshot
from tests.browser.pictures import EVERY_SCREEN
from tests.browser.serving import free_ports, serving
from tests.browser.signing_in import let_in, open_as
from tests.conftest import own_settings
from topics.time import format_time


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def reading(workers: int = 1, behind: int = 0) -> Lag:
    """What Kafka says of this many workers that have so much to read."""
    return Lag(tuple(TopicLag(name, 1_700_000, behind if name == READ[0] else 0) for name in READ), workers)


class Kafka:
    """What Kafka is said to answer about the workers' lag."""

    def __init__(self) -> None:
        self.answer = reading()

    async def lag(self, _settings: Settings) -> Lag:
        """As `api.dashboard.fresh.lag.lag`."""
        return self.answer


@dataclass
class Dashboard:
    """A browser before the dashboard of a test's own."""

    page: Page
    app: FastAPI
    url: str
    kafka: Kafka
    take: Screenshot
    check: CheckAxe
    token: Callable[..., str]

    async def sign_in(self, agent: str = "emma") -> None:
        """Let an agent in, before *Today*."""
        await open_as(self.page, self.url, self.token("agent", agent))

    async def let_in(self) -> None:
        """Let Emma in, before any page."""
        await let_in(self.page.context, self.url, self.token("agent", "emma"))

    async def go(self, path: str = "") -> None:
        """Load a page."""
        await self.page.goto(f"{self.url}/dashboard{path}")

    async def draw(self, name: str, path: str | None = None, *, whole: bool = True) -> None:
        """Take the pictures of the page as it is, or of `path`; axe finds nothing, and all fits the width."""
        if path is not None:
            await self.go(path)
        for scheme in SCHEMES:
            await self.page.emulate_media(color_scheme=cast("Any", scheme), reduced_motion="reduce")
            for width, height in SIZES.items() if EVERY_SCREEN else [(320, SIZES[320])]:
                await self.page.set_viewport_size({"width": width, "height": height})
                await self.page.evaluate("scrollTo(0, 0)")  # the bar is where it belongs
                await self.take(self.page, f"state-{name}-{width}-{scheme}", full_page=whole)
                assert await self.page.evaluate(NO_OVERFLOW), f"{name} is wider than {width} px"
            await self.check(self.page)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    """What the dashboard is told of the workers: one that has read everything, unless a test says otherwise."""
    made = Kafka()
    monkeypatch.setattr("api.dashboard.fresh.freshness.lag", made.lag)
    monkeypatch.setattr(import_module("api.dashboard.system.page"), "lag", made.lag)
    monkeypatch.setattr("api.dashboard.fresh.freshness.WAIT_S", 20.0)
    return made


@pytest.fixture
def own(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a test's own, in whose database nobody is; Emma may change the rules."""
    [port] = free_ports(1)
    where = tmp_path_factory.mktemp("states") / "state"
    url = f"http://127.0.0.1:{port}"
    with own_settings(stack, where, api_port=port, public_url=url, rules_editors="emma") as made:
        yield made


@pytest.fixture
def dashboard(
    page: Page, own: Settings, kafka: Kafka, token: Callable[..., str], screenshot: Screenshot, axe: CheckAxe
) -> Iterator[Dashboard]:
    """The dashboard, before anybody has signed in."""
    app = build_app(own)
    with serving(app, own.api_port) as url:
        yield Dashboard(page, app, url, kafka, screenshot, axe, token)


@pytest_asyncio.fixture(loop_scope="session")
async def there(own: Settings) -> AsyncIterator[World]:
    """Suppliers and rows of this very moment in that database."""
    pool = await open_pool(own.database_url, Role.WRITER)
    made = World(own, pool, ManualClock(now_ms()), Policy.load())
    yield made
    await made.close()
    await pool.close()


async def quiet(world: World, name: str, **profile: Any) -> str:
    """A supplier who is well, so that there is nothing to do about them."""
    now = now_ms()
    supplier_id = await world.supplier(
        business_name=name, signed_up_at=format_time(now - 90 * DAY), **profile
    )
    await world.health(
        supplier_id,
        seq=20,
        score=84,
        level="healthy",
        churn_probability=0.03,
        calculated_at=format_time(now - HOUR),
        last_login=format_time(now - 20 * HOUR),
        signed_up_at=format_time(now - 90 * DAY),
    )
    await add_changes(world, supplier_id, (now - 60 * DAY, 84, "healthy"))
    return supplier_id
