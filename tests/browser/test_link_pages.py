"""The pages that emails lead to, in a real browser: used by hand, on a phone and a desk, in both languages."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import Page, expect

from agents.letters.links import sign
from tests.browser.conftest import BOTH, NO_OVERFLOW, SIZES
from tests.browser.pictures import EVERY_SCREEN

if TYPE_CHECKING:
    from runtime.settings import Settings
    from tests.agents.delivery.world import World
    from tests.browser.conftest import CheckAxe, Screenshot


SMALL_TARGETS = """() => [...document.querySelectorAll('button, a.button, input:not([type=hidden])')]
    .filter((each) => each.getBoundingClientRect().height < 44).map((each) => each.outerHTML)"""
WORDS = {
    "en-GB": (
        "Book a 15-minute call",
        "Move the call",
        "When suits you better?",
        "Cancel the call",
        "This call is cancelled",
    ),
    "de-AT": (
        "Ein Gespräch von 15 Minuten buchen",
        "Termin verschieben",
        "Wann passt es besser?",
        "Termin absagen",
        "Dieser Termin ist abgesagt",
    ),
}
LOCALES = tuple(WORDS) if EVERY_SCREEN else ("de-AT",)
"""Longer words are the harder ones; English pages of every day are looked at in test_budgets.py, too."""


async def link(world: World, settings: Settings, action: Any, locale: str) -> str:
    supplier = await world.supplier(
        locale=locale, timezone="Europe/Vienna", email=f"{uuid.uuid4().hex[:8]}@example.com"
    )
    await world.query(
        "INSERT INTO success_milestones (id, supplier_id, milestone_type, achieved_at) "
        "VALUES (gen_random_uuid(), %s, 'ten_clients', now()) RETURNING id", supplier
    )  # fmt: skip
    return f"/e/{action}/" + sign(action, supplier, str(uuid.uuid4()), settings.secret("secret_key"))


@pytest.mark.parametrize("locale", WORDS)
async def test_a_call_is_booked_moved_and_cancelled_with_one_press_each(
    page: Page, api_url: str, world: World, browser_settings: Settings, locale: str
) -> None:
    title, move, better, cancel, cancelled = WORDS[locale]
    await page.set_viewport_size({"width": 320, "height": 640})
    await page.goto(api_url + await link(world, browser_settings, "book", locale))
    await expect(page.get_by_role("heading", name=title)).to_be_visible()
    assert await page.evaluate("document.documentElement.lang") == locale
    await page.locator("button[name=time]").nth(2).click()
    await page.get_by_role("link", name=move).click()
    await expect(page.get_by_role("heading", name=better)).to_be_visible()
    await page.locator("button[name=time]").nth(4).click()
    await page.get_by_role("button", name=cancel).click()
    await expect(page.get_by_role("heading", name=cancelled)).to_be_visible()


@pytest.mark.parametrize("locale", LOCALES)
async def test_the_pages_look_right(
    page: Page,
    api_url: str,
    world: World,
    browser_settings: Settings,
    axe: CheckAxe,
    screenshot: Screenshot,
    locale: str,
) -> None:
    for action in ("book", "milestone", "preferences", "unsubscribe"):
        await page.goto(api_url + await link(world, browser_settings, action, locale))
        for scheme in BOTH:
            await page.emulate_media(color_scheme=scheme)
            for width, height in SIZES.items():
                await page.set_viewport_size({"width": width, "height": height})
                await screenshot(page, f"page-{action}-{locale}-{width}-{scheme}", full_page=True)
                assert await page.evaluate(NO_OVERFLOW), f"{action} is wider than {width}"
                assert await page.evaluate(SMALL_TARGETS) == []
            await axe(page)


PRESSED = ("pause", "emails_off", "all_off", "all_on")


@pytest.mark.parametrize("locale", LOCALES)
async def test_what_they_say_after_a_press_looks_right(
    page: Page,
    api_url: str,
    world: World,
    browser_settings: Settings,
    axe: CheckAxe,
    screenshot: Screenshot,
    locale: str,
) -> None:
    """On a phone: a call booked, moved and cancelled, each choice, a link that is spoilt."""
    await page.set_viewport_size({"width": 320, "height": 640})

    async def keep(name: str) -> None:
        for scheme in BOTH:
            await page.emulate_media(color_scheme=scheme)
            await screenshot(page, f"page-{name}-{locale}-320-{scheme}", full_page=True)
            await axe(page)
        assert await page.evaluate(NO_OVERFLOW), name
        assert await page.evaluate(SMALL_TARGETS) == [], name
        assert await page.evaluate("document.documentElement.lang") == locale

    async def go(action: str) -> str:
        address = api_url + await link(world, browser_settings, action, locale)
        await page.goto(address)
        return address

    booking = await go("book")
    await page.locator("button[name=time]").nth(2).click()
    booked = page.url.partition("?")[0]
    await keep("call")
    await page.goto(f"{booked}?move=1")
    await keep("call-moving")
    await page.goto(booking)
    await keep("book-again")
    await page.goto(booked)
    await page.locator("button[value=cancel]").click()
    await keep("call-cancelled")
    await go("preferences")
    for choice in PRESSED:
        await page.locator(f"button[value={choice}]").click()
        await keep(f"preferences-{choice}")
    await page.locator("button[value=pause]").evaluate("(one) => { one.value = 'what?'; }")
    await page.locator("button[value='what?']").click()
    await keep("not-understood")
    await go("unsubscribe")
    await page.locator("button").click()
    await keep("unsubscribed")
    await page.route("**/spoilt", lambda each: each.continue_(headers={"Accept-Language": locale}))
    await page.goto(f"{api_url}/e/book/spoilt")
    await keep("gone")
