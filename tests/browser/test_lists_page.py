"""Lists by keys and by mouse, and what is done with a selection."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, expect

from scoring.time import DAY
from tests.agents.delivery.world import World
from tests.api.dashboard.conftest import add_changes
from tests.browser.conftest import LOOKS, NO_OVERFLOW, SIZES, CheckAxe, Screenshot
from tests.browser.test_dashboard import SignIn, now_ms, sign_in

__all__ = ["sign_in"]

pytestmark = pytest.mark.usefixtures("no_console_errors")


async def in_a_trade(world: World, trade: str, *names: str) -> list[str]:
    """Suppliers whom a list of this trade shows, by name."""
    made = []
    for name in names:
        made.append(await world.supplier(business_name=name, vendor_type=trade))
        await world.health(made[-1])
        await add_changes(world, made[-1], (now_ms() - DAY, 48, "at_risk"))
    return made


async def test_keys_go_through_rows_select_and_open_but_not_while_somebody_types(
    page: Page, world: World, sign_in: SignIn
) -> None:
    await in_a_trade(world, "glassblower", "Glass A", "Glass B", "Glass C")
    await sign_in("/suppliers?trade=glassblower&sort=name")
    here = page.locator(".is-here .who")
    await page.keyboard.press("j")
    await expect(here).to_have_text("Glass A")
    for key, name in (("j", "Glass B"), ("j", "Glass C"), ("j", "Glass C"), ("k", "Glass B")):
        await page.keyboard.press(key)
        await expect(here).to_have_text(name)
    await page.keyboard.press("x")
    await expect(page.get_by_label("Select Glass B")).to_be_checked()
    await page.get_by_label("Select Glass C").check()
    await page.keyboard.press("k")
    await expect(here).to_have_text("Glass B")
    await page.keyboard.press("t")  # the tag's field
    await page.keyboard.type("jxk?")
    await expect(page.get_by_label("Tag", exact=True).last).to_have_value("jxk?")
    await expect(here).to_have_text("Glass B")
    await page.keyboard.press("Tab")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.locator(".is-here .who").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Glass B")).to_be_visible()


async def too_wide(page: Page) -> list[int]:
    """The widths of screens that the page is wider than."""
    seen, found = page.viewport_size, []
    assert seen
    for width, height in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        if not await page.evaluate(NO_OVERFLOW):
            found.append(width)
    await page.set_viewport_size(seen)
    return found


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
async def test_a_selection_is_looked_at_before_it_is_tagged(
    page: Page,
    world: World,
    sign_in: SignIn,
    axe: CheckAxe,
    screenshot: Screenshot,
    width: int,
    scheme: Any,
) -> None:
    trade = f"marquee {width} {scheme}"
    await in_a_trade(
        world, trade, "Canvas & Pole", "Tipi Tribe", "Sailcloth Summer Company of the South West"
    )
    await page.set_viewport_size({"width": width, "height": SIZES[width]})
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    await sign_in(f"/suppliers?trade={trade}&sort=name")
    await page.get_by_label("Select Tipi Tribe").check()
    await page.get_by_label("Select Canvas & Pole").check()
    await page.get_by_text("Columns").click()
    await screenshot(page, f"dashboard-list-selected-{width}-{scheme}", full_page=True)
    await axe(page)
    assert await too_wide(page) == []
    await page.get_by_label("Tag", exact=True).last.fill("Spring 26")
    await page.get_by_role("button", name="Add tag").click()
    await expect(page.get_by_text("It would change 2.")).to_be_visible()
    await screenshot(page, f"dashboard-selection-{width}-{scheme}", full_page=True)
    await axe(page)
    assert await too_wide(page) == []
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status").first).to_contain_text("It is done")
    await expect(page.get_by_role("link", name="spring-26")).to_have_count(2)
    await page.get_by_role("button", name="Commands").click()
    await page.keyboard.type("csv")
    await expect(page.locator("#palette li").first).to_contain_text("CSV")
    await screenshot(page, f"dashboard-palette-{width}-{scheme}")
    await axe(page)
    assert await too_wide(page) == []
