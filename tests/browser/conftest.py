"""A real browser before the real API on the real stack: one of each for all tests here.

All tests of this folder share one event loop (`pytest_collection_modifyitems`), so fixtures may be asynchronous and
live as long as the session. A test makes suppliers of its own (`world.supplier()`); nobody empties the database.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect

from api.app import build_app
from api.auth import Role, sign
from cli.admin.publish import Publisher
from embedded.registry import Addresses
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from store.database import Role as DatabaseRole
from store.database import open_pool
from tests.agents.delivery.world import World
from tests.browser.axe_core import run_axe
from tests.browser.chromium import NoBrowserError, find_chromium
from tests.browser.pictures import EVERY_SCREEN, SCREENS, SCREENSHOTS, picture
from tests.browser.serving import PATIENCE_S, free_ports, serving
from tests.cli.services.test_deliver import success
from tests.conftest import own_settings

BOTH: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SCHEMES = BOTH if EVERY_SCREEN else BOTH[:1]
SIZES = {320: 640, 768: 1024, 1440: 900}
"""Widths of a phone, a tablet and a laptop, and their heights."""
NO_OVERFLOW = "() => document.documentElement.scrollWidth <= innerWidth"
LOOKS: list[tuple[int, Literal["light", "dark"]]] = (
    list(product(SIZES, SCHEMES)) if EVERY_SCREEN else [(320, "dark"), (1440, "light")]
)
"""The widths and colours in which whole pages are looked at."""
MOST_MS = 20_000
"""How long a test waits for what it looks for, on a machine that is busy with something else."""
expect.set_options(timeout=MOST_MS)
SERIOUS = {"serious", "critical"}

Screenshot = Callable[..., Awaitable[None]]
CheckAxe = Callable[..., Awaitable[None]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder in the session's loop, where browser and pools live."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            item.add_marker(pytest.mark.stack)


def session_fixture(function: Any) -> Any:
    """An asynchronous fixture that lives as long as the session."""
    return pytest_asyncio.fixture(scope="session", loop_scope="session")(function)


# the product -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser_settings(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of the one API that all tests here share, with topics and a database of its own."""
    port, elsewhere_port = free_ports(2)
    with own_settings(
        stack,
        tmp_path_factory.mktemp("browser") / "state",
        api_port=port,
        public_url=f"http://127.0.0.1:{port}",
        cors_origins=f"http://localhost:{elsewhere_port}",
    ) as own:
        yield own


@pytest.fixture(scope="session")
def api_url(browser_settings: Settings) -> Iterator[str]:
    """The address of the API, served by uvicorn with the wall clock."""
    with serving(build_app(browser_settings), browser_settings.api_port) as url:
        yield url


@pytest.fixture(scope="session")
def elsewhere(browser_settings: Settings) -> Iterator[Callable[..., str]]:
    """Pages of another origin that may call the API: `elsewhere(html, policy=…)` gives the address of one."""
    origin, pages = browser_settings.cors_origins, {}
    app = FastAPI()

    @app.get("/{name}")
    def page(name: str) -> HTMLResponse:
        html, policy = pages[name]
        return HTMLResponse(html, headers={"Content-Security-Policy": policy} if policy else {})

    def made(html: str, *, policy: str | None = None) -> str:
        name = f"page{len(pages)}"
        pages[name] = html, policy
        return f"{origin}/{name}"

    with serving(app, int(origin.rpartition(":")[2])):
        yield made


@pytest.fixture(scope="session")
def token(browser_settings: Settings) -> Callable[..., str]:
    """A signed token: `token("agent")`, `token("supplier", supplier_id)`."""

    def made(role: Role, subject: str | None = None, lifetime_s: int = 3600) -> str:
        return sign(browser_settings, role, subject or f"the {role}", lifetime_s, int(time.time()))

    return made


@session_fixture
async def world(browser_settings: Settings) -> AsyncIterator[World]:
    """Suppliers and rows of this very moment, written as the intervention agent writes them."""
    pool = await open_pool(browser_settings.database_url, DatabaseRole.WRITER)
    made = World(browser_settings, pool, ManualClock(time.time_ns() // 1_000_000), Policy.load())
    yield made
    await made.close()
    await pool.close()


@session_fixture
async def worker(browser_settings: Settings) -> AsyncIterator[None]:
    """`success worker`: the scoring and intervention agents, for tests that publish events."""
    # the port that the API answers on, metrics too, is taken
    process = await success(browser_settings.model_copy(update={"metrics_port": None}), "worker")
    yield
    process.terminate()
    await asyncio.wait_for(process.wait(), PATIENCE_S)


@session_fixture
async def publish(browser_settings: Settings) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """A function that publishes lines (events, profiles) to Kafka, as `success publish` does."""
    async with Publisher(browser_settings) as publisher:

        async def send(*lines: dict[str, Any]) -> None:
            for line in lines:
                await publisher.add(json.dumps(line).encode())
            await publisher.flush()

        yield send


# the browser -----------------------------------------------------------------------------------------------


@session_fixture
async def browser() -> AsyncIterator[Browser]:
    """One headless Chromium; its absence fails."""
    async with async_playwright() as playwright:
        try:
            path = find_chromium(playwright.chromium.executable_path)
        except NoBrowserError as error:
            pytest.fail(str(error), pytrace=False)
        chromium = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser profile of this test's own: nothing stored, no cookies."""
    made = await browser.new_context(
        viewport={"width": 1440, "height": 900}, locale="en-GB", timezone_id="Europe/London"
    )
    made.set_default_timeout(MOST_MS)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> Page:
    """An empty tab; `page.set_viewport_size`, `page.emulate_media(color_scheme="dark")` change how it looks."""
    return await context.new_page()


@pytest.fixture
def no_console_errors(page: Page) -> Iterator[list[str]]:
    """Fail at the test's end if the page wrote an error to the console or threw one; the list may be looked at."""
    seen: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            seen.append(f"{message.text} ({message.location.get('url', '')})")

    page.on("console", note)
    page.on("pageerror", lambda error: seen.append(str(error)))
    yield seen
    assert seen == [], "\n".join(seen)


@pytest.fixture(scope="session")
def axe() -> CheckAxe:
    """A check: no serious or critical violation is found by axe-core (await it with the page)."""

    async def check(page: Page, context: Any = None) -> None:
        violations, _ = await run_axe(page, context)
        found = [
            f"{each['impact']}: {each['id']}, {each['help']}: "
            + "; ".join(str(node["target"]) + " " + node["html"][:200] for node in each["nodes"])
            for each in violations
            if each["impact"] in SERIOUS
        ]
        assert found == [], "\n".join(found)

    return check


@pytest.fixture(scope="session")
def screenshot() -> Screenshot:
    """Pictures kept in build/screenshots, if they are asked for: await it with the page and a name (`coach-320`)."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    async def take(page: Page, name: str, *, full_page: bool = False) -> None:
        if SCREENS:
            await picture(page, SCREENSHOTS / f"{name}.png", full_page=full_page)

    return take
