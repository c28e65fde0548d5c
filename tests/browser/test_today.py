"""*Today* as a to-do list, on every screen."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import Locator, Page, expect

from scoring.time import DAY
from tests.agents.delivery.world import World
from tests.browser.conftest import BOTH, NO_OVERFLOW, SIZES, CheckAxe, Screenshot
from tests.browser.signing_in import let_in
from topics.time import format_time

pytestmark = pytest.mark.usefixtures("no_console_errors")

# What can be pressed in the rows, and is less than 44 px high.
TOO_SMALL = """() => [...document.querySelectorAll('[data-row] :is(button, summary, .tel)')]
    .filter(one => one.checkVisibility() && one.getBoundingClientRect().height < 43.9).map(one => one.textContent)"""


async def to_call(world: World, name: str, days_ago: int = 0, **profile: Any) -> str:
    """A supplier whom the engine wants to be called since some days; their first form was never sent."""
    now = time.time_ns() // 1_000_000
    supplier_id = await world.supplier(
        business_name=name, phone="+44 20 7946 0000", plan="enterprise", **profile
    )
    await world.health(
        supplier_id,
        seq=20,
        score=24,
        level="critical",
        plan="enterprise",
        churn_probability=0.98,
        clients={"known": 5, "active": 0},
        forms={"created": 1, "sent": 0, "completed": 0},
        last_goals={"client.imported": format_time(now - 20 * DAY)},
        last_login=format_time(now - 18 * DAY),
    )
    await world.query(
        "INSERT INTO support_interactions (supplier_id, interaction_type, status, weight, created_at) "
        "VALUES (%s, 'churn_prevention', 'scheduled', 1000, to_timestamp(%s))",
        supplier_id,
        (now - days_ago * DAY) / 1000,
    )
    return supplier_id


async def called_off(world: World, *supplier_ids: str) -> None:
    """Nobody has to call these any more: *Today* shows the most urgent, which are other tests' too."""
    await world.query(
        "UPDATE support_interactions SET status = 'cancelled' WHERE status = 'scheduled' AND scheduled_at IS NULL "
        "AND supplier_id = ANY(%s::uuid[])",
        list(supplier_ids),
    )


async def tagged(world: World, supplier_id: str) -> None:
    """Put two tags on a supplier."""
    await world.query(
        "INSERT INTO supplier_tags (supplier_id, tag, at, tagged_by) "
        "SELECT %s, tag, now(), 'emma' FROM unnest(ARRAY['spring-26', 'trade-fair']) tag",
        supplier_id,
    )


@pytest.fixture
def sign_in(page: Page, api_url: str, token: Callable[..., str]) -> Callable[[], Awaitable[None]]:
    """Let in an agent whose book is empty, before any page."""
    return lambda: let_in(page.context, api_url, token("agent", f"agent {uuid4().hex[:6]}"))


@pytest.fixture
def row(page: Page) -> Callable[[str], Locator]:
    """The row of a name on *Today*."""
    return lambda name: page.locator("[data-row]", has_text=name)


async def test_acts_lead_back_to_the_list_and_say_what_was_done(
    page: Page,
    api_url: str,
    world: World,
    sign_in: Callable[[], Awaitable[None]],
    row: Callable[[str], Locator],
) -> None:
    await sign_in()
    for name in ("Apple Barn", "Brook & Bell", "Clover Films", "Dew Gardens"):
        await to_call(world, name, days_ago=5)
    await page.goto(f"{api_url}/dashboard")
    said = page.get_by_role("status")
    await expect(row("Apple Barn")).to_contain_text("5 clients, none imported since")
    await expect(row("Apple Barn")).to_contain_text(re.compile("Overdue by \\d days?"))
    await row("Apple Barn").locator("[data-key=t]").click()
    await expect(said).to_contain_text("in your book now")
    await page.get_by_role("link", name="My book").click()
    await expect(row("Brook & Bell")).to_have_count(0)
    await row("Apple Barn").locator("[data-key=d]").click()
    await row("Apple Barn").locator("[data-key='1']").click()
    await expect(said).to_contain_text("Done, and noted")
    await expect(row("Apple Barn")).to_have_count(0)
    assert page.url.endswith("/dashboard?book=mine&said=task_done")
    # the same by keys: one that opens the outcomes, one that says which; a digit alone does nothing
    await page.get_by_role("link", name="Team's book").click()
    await row("Dew Gardens").locator("[data-open]").focus()
    await page.keyboard.press("1")
    await page.keyboard.press("d")
    await page.keyboard.press("1")
    await expect(said).to_contain_text("Done, and noted")
    await expect(row("Dew Gardens")).to_have_count(0)
    await page.get_by_role("link", name="Team's book").click()
    await row("Clover Films").locator("[data-key=s]").click()
    await expect(said).to_contain_text("Put off")
    await expect(row("Clover Films")).to_have_count(0)
    # Enter of keys.js opens what is marked so
    await row("Brook & Bell").locator("[data-open]").click()
    tasks = page.get_by_role("region", name="Calls to make")
    await tasks.get_by_text("Done…").click()
    await tasks.get_by_label("What was said").fill("Back in May")
    await tasks.get_by_role("button", name="Follow up in a week").click()
    await expect(said).to_contain_text("a task in a week")


async def test_it_looks_right_at_every_width(
    page: Page,
    api_url: str,
    world: World,
    sign_in: Callable[[], Awaitable[None]],
    row: Callable[[str], Locator],
    axe: CheckAxe,
    screenshot: Screenshot,
) -> None:
    async def by_day_and_night() -> AsyncIterator[str]:
        for scheme in BOTH:
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            yield scheme

    await sign_in()
    mine = await to_call(world, "Dahlia & Daughters", days_ago=6, locale="de-DE")
    await tagged(world, mine)
    await to_call(world, "Foxglove Flowers", timezone="Pacific/Auckland")
    await page.goto(f"{api_url}/dashboard")
    await row("Dahlia & Daughters").locator("[data-key=t]").click()
    for width, height in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        await page.goto(f"{api_url}/dashboard")
        await row("Dahlia & Daughters").locator("[data-key=d]").click()
        say = row("Dahlia & Daughters").locator("details", has_text="What to say, in German")
        if await say.get_attribute("open") is None:
            await say.locator("summary").click()
        await expect(say.locator("[lang=de-DE]")).to_contain_text("hier ist WedSync")
        async for scheme in by_day_and_night():
            await screenshot(page, f"today-{width}-{scheme}", full_page=True)
        assert await page.evaluate(NO_OVERFLOW)
        if width == min(SIZES):
            assert await page.evaluate(TOO_SMALL) == []
        await page.goto(f"{api_url}/dashboard/suppliers/{mine}")
        async for scheme in by_day_and_night():
            await screenshot(page, f"today-supplier-{width}-{scheme}", full_page=True)
        assert await page.evaluate(NO_OVERFLOW)
    async for _ in by_day_and_night():
        await axe(page)
    await page.goto(f"{api_url}/dashboard")
    async for _ in by_day_and_night():
        await axe(page)
