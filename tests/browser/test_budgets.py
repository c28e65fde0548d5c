"""What a page may cost, and what every page owes to fingers and eyes: a table of pages, each held to the same rules.

Requests and bytes are as a browser counts them on the line: heads and packed bodies, at the first visit and, with a
warm cache, at the second. The budgets lie a little above what was measured; who goes beyond one says why.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from agents.letters.links import sign
from runtime.settings import Settings
from tests.agents.delivery.world import World
from tests.browser.axe_core import run_axe
from tests.browser.conftest import NO_OVERFLOW, SIZES, CheckAxe
from tests.browser.signing_in import let_in
from tests.browser.test_dashboard import someone_at_risk
from tests.browser.test_today import called_off, tagged, to_call

KB = 1000
AT_LEISURE = ("/icon.svg", "/dashboard/as-of")
"""What a browser asks for whenever it likes, and a page some seconds later: some hundred bytes, not counted."""
TARGETS = {
    "runOnly": {"type": "rule", "values": ["target-size"]},
    "rules": {"target-size": {"enabled": True}},
}
"""WCAG 2.2, 2.5.8: 24 px, or so much room around that no other target is within them."""
BUTTONS_TOO_SMALL = """() => {
    const all = [...document.querySelectorAll('button, summary, select, a.button, input:not([type=hidden])')];
    for (const coach of document.querySelectorAll('success-coach'))
        all.push(...coach.shadowRoot.querySelectorAll('button, select'));
    return all.filter((one) => one.checkVisibility() && !one.matches('[type=checkbox], [type=radio]'))
        .filter((one) => !one.closest('.skip') && one.getBoundingClientRect().width > 1)
        .filter((one) => one.getBoundingClientRect().height < 43.9)
        .map((one) => `${one.tagName} ${one.name || one.className} ${one.textContent.trim().slice(0, 40)}`);
}"""
"""What is pressed by a thumb all day has 44 px on a phone."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Requests, and kilobytes on the line."""

    requests: int
    kilobytes: float


@dataclass(frozen=True, slots=True)
class Budget:
    """What a page may cost at the first visit and at the second."""

    first: Cost
    again: Cost


_LINK = Budget(Cost(1, 7), Cost(1, 7))
_PLAIN = Budget(Cost(5, 44), Cost(1, 12))
PAGES = {
    "today": Budget(Cost(8, 55), Cost(2, 14)),
    "population": Budget(Cost(6, 115), Cost(1, 10)),
    "supplier": Budget(Cost(9, 126), Cost(2, 12)),
    "write": Budget(Cost(7, 42), Cost(2, 8)),
    "suppliers": _PLAIN,
    "changes": _PLAIN,
    "messages": _PLAIN,
    "message list": _PLAIN,
    "rules": _PLAIN,
    "system": Budget(Cost(6, 44), Cost(2, 12)),
    "login": Budget(Cost(5, 36), Cost(1, 3)),
    "coach": Budget(Cost(20, 48), Cost(5, 8)),
    "book": _LINK,
    "milestone": _LINK,
    "preferences": _LINK,
    "unsubscribe": _LINK,
}


@dataclass
class Line:
    """What goes over a page's line."""

    page: Page
    requests: dict[str, str] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)

    async def listen(self) -> None:
        """Begin to count."""
        session = await self.page.context.new_cdp_session(self.page)
        await session.send("Network.enable")
        session.on("Network.requestWillBeSent", self._asked)
        session.on(
            "Network.requestServedFromCache", lambda event: self.requests.pop(event["requestId"], None)
        )
        session.on("Network.responseReceived", self._answered)
        session.on("Network.loadingFinished", self._finished)

    def begin(self) -> None:
        """Count from here on."""
        self.requests.clear()
        self.received.clear()

    @property
    def cost(self) -> Cost:
        """What was counted."""
        counted = [one for one, url in self.requests.items() if not url.endswith(AT_LEISURE)]
        sizes = [self.received.get(one, 0) for one in counted]
        return Cost(len(counted), round(sum(sizes) / KB, 1))

    def _asked(self, event: dict[str, Any]) -> None:
        self.requests[event["requestId"]] = event["request"]["url"]

    def _answered(self, event: dict[str, Any]) -> None:
        response = event["response"]
        if response.get("fromDiskCache"):
            self.requests.pop(event["requestId"], None)
        self.received[event["requestId"]] = response.get("encodedDataLength", 0)

    def _finished(self, event: dict[str, Any]) -> None:
        self.received[event["requestId"]] = event["encodedDataLength"]


Address = Callable[[str], Awaitable[str]]


@pytest.fixture
def address(api_url: str, world: World, browser_settings: Settings, token: Callable[..., str]) -> Address:
    """Where a page of the table is, with somebody for it to show."""

    async def of(name: str) -> str:
        if name in {"book", "milestone", "preferences", "unsubscribe"}:
            supplier = await world.supplier(timezone="Europe/Vienna")
            await world.query(
                "INSERT INTO success_milestones (id, supplier_id, milestone_type, achieved_at) "
                "VALUES (gen_random_uuid(), %s, 'ten_clients', now()) RETURNING id",
                supplier,
            )
            key = browser_settings.secret("secret_key")
            action: Any = name
            return f"{api_url}/e/{name}/{sign(action, supplier, str(uuid.uuid4()), key)}"
        if name == "coach":
            supplier = await world.supplier()
            await world.health(supplier, forms={"created": 0, "sent": 0, "completed": 0})
            return f"{api_url}/demo/host/forms#token={token('supplier', supplier)}&service={token('service')}"
        supplier = await someone_at_risk(world, "Budget & Sons") if name in {"supplier", "write"} else ""
        if supplier:
            await tagged(world, supplier)
        path = {
            "today": "",
            "population": "/population",
            "supplier": f"/suppliers/{supplier}",
            "write": f"/suppliers/{supplier}/write/became_at_risk",
            "suppliers": "/suppliers",
            "changes": "/changes",
            "messages": "/messages",
            "message list": "/messages/list?reason=weekly_cap",
            "rules": "/rules",
            "system": "/system",
            "login": "/login",
        }[name]
        return f"{api_url}/dashboard{path}"

    return of


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(browser: Browser, api_url: str, token: Callable[..., str]) -> AsyncIterator[BrowserContext]:
    """A browser with an agent's session and nothing kept of the dashboard."""
    made = await browser.new_context(viewport={"width": 320, "height": 640}, locale="en-GB")
    made.set_default_timeout(20_000)
    await let_in(made, api_url, token("agent", f"agent {uuid.uuid4().hex[:6]}"))
    yield made
    await made.close()


async def visit(page: Page, address: str) -> None:
    """Go to a page and wait until it has everything that it asks for by itself."""
    await page.goto(address, wait_until="load")
    if await page.locator("[data-live]").count():
        await page.wait_for_selector("html[data-follows]")
    if "/demo/host" in address:
        await page.locator("success-coach[data-state=ready]").wait_for(state="attached")
    if address.endswith("/system"):
        await expect(page.get_by_role("heading", name="Dead letters")).to_be_visible()


@pytest.mark.parametrize("name", PAGES)
async def test_a_page_costs_no_more_than_its_budget(
    visitor: BrowserContext, address: Address, world: World, name: str
) -> None:
    busy = [await to_call(world, f"Busy Day {number}") for number in range(25 if name == "today" else 0)]
    if name == "login":
        await visitor.clear_cookies()
    page, where = await visitor.new_page(), await address(name)
    line = Line(page)
    await line.listen()
    found = []
    for _ in range(2):
        line.begin()
        await visit(page, where)
        found.append(line.cost)
        await page.goto("about:blank")
    await called_off(world, *busy)
    for cost, most in zip(found, (PAGES[name].first, PAGES[name].again), strict=True):
        assert cost.requests <= most.requests, (found, line.requests)
        assert cost.kilobytes <= most.kilobytes, (found, line.requests)


@pytest.mark.parametrize("name", PAGES)
async def test_a_page_is_for_every_finger_and_eye(
    visitor: BrowserContext, address: Address, axe: CheckAxe, name: str
) -> None:
    """No page is wider than its screen; by night as by day it can be read; on a phone all of it can be pressed."""
    if name == "login":
        await visitor.clear_cookies()
    page, where = await visitor.new_page(), await address(name)
    await page.emulate_media(color_scheme="light", reduced_motion="reduce")
    await visit(page, where)
    if name == "coach":
        await page.locator("success-coach .pill").click()
        await expect(page.locator("success-coach .card .tip")).to_be_visible()
    violations, passes = await run_axe(page, options=TARGETS)
    assert [node["html"] for each in violations for node in each["nodes"]] == []
    assert passes == ["target-size"]
    assert await page.evaluate(BUTTONS_TOO_SMALL) == []
    for width, height in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        assert await page.evaluate(NO_OVERFLOW), f"{name} is wider than {width}"
    await axe(page)
    await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    await axe(page)
