"""How the coach looks, on a phone, a tablet and a desk, by day and by night; kept as pictures, and read by axe."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.agents.delivery.world import World
from tests.browser.coach_page import CONGRATULATIONS
from tests.browser.conftest import BOTH, LOOKS, NO_OVERFLOW, SIZES, CheckAxe, Screenshot
from tests.browser.test_coach import MakeCoach, coach_of, reach

__all__ = ["coach_of"]
pytestmark = pytest.mark.usefixtures("no_console_errors")

ENGLISH = re.compile(
    r"\b(?:the|you|your|and|with|not|open|done|min|time|next|more|minutes|back|call|share)\b"
)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
async def test_it_looks_right(
    coach_of: MakeCoach, world: World, axe: CheckAxe, screenshot: Screenshot, width: int, scheme: Any
) -> None:
    coach = await coach_of(forms={"created": 0, "sent": 0, "completed": 0}, features=["clients_imported"])
    page = coach.page
    await page.set_viewport_size({"width": width, "height": SIZES[width]})
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")

    async def keep(name: str) -> None:
        await screenshot(page, f"coach-{name}-{width}-{scheme}")
        await axe(page)
        assert await page.evaluate(NO_OVERFLOW), f"{name} is wider than the screen"

    await coach.visit("/forms")
    await coach.ready()
    await keep("pill")
    await coach.pill.click()
    await expect(coach.card.locator(".tip")).to_be_visible()
    await keep("card")
    for fold in await coach.card.locator("summary").all():
        await fold.click()
    await coach.card.locator("milestone-card").last.scroll_into_view_if_needed()
    await keep("card-unfolded")
    await coach.card.get_by_role("button", name="Pick a time").click()
    await coach.card.get_by_label("Another time").click()
    await keep("call")
    await coach.card.get_by_role("button", name="Back").click()
    await reach(world, coach.supplier, "first_form")
    await expect(coach.modal.get_by_text(CONGRATULATIONS)).to_be_visible()
    await keep("celebration")


async def test_the_other_states_look_right(
    coach_of: MakeCoach, world: World, axe: CheckAxe, screenshot: Screenshot
) -> None:
    coach = await coach_of()
    await world.row(coach.supplier, "signed_up")
    await world.delivery().deliver_due()
    await coach.page.set_viewport_size({"width": 400, "height": 760})
    await coach.open()
    await expect(coach.card.get_by_role("heading", name="Welcome, Sarah")).to_be_visible()
    await screenshot(coach.page, "coach-message")
    await axe(coach.page)
    await coach.card.get_by_role("button", name="Tips and messages").click()
    await screenshot(coach.page, "coach-settings")
    await axe(coach.page)
    await coach.card.get_by_role("button", name="Switch everything off").click()
    await coach.ready("opted_out")
    await screenshot(coach.page, "coach-opted-out")
    await axe(coach.page)
    await coach.page.keyboard.press("Escape")
    await screenshot(coach.page, "coach-opted-out-pill")


RIGHT_EDGE = "(one) => Math.round(one.getBoundingClientRect().right)"
CUT_OFF = """() => [...document.querySelector("success-coach").shadowRoot.querySelectorAll("*")]
  .filter((one) => one.checkVisibility() && !one.matches(".hidden-text") && one.scrollWidth > one.clientWidth + 1
    && getComputedStyle(one).overflowX !== "visible")
  .map((one) => `${one.tagName}.${one.className}: ${one.textContent.slice(0, 60)}`)"""


async def test_german_words_fit(
    coach_of: MakeCoach, world: World, axe: CheckAxe, screenshot: Screenshot
) -> None:
    """German is a third longer: nothing is cut off or wider than the screen, and no English is left."""
    coach = await coach_of({"locale": "de-AT"}, forms={"created": 1, "sent": 3, "completed": 1})
    page, texts = coach.page, []
    await world.row(coach.supplier, "signed_up")
    await world.delivery().deliver_due()

    async def keep(name: str) -> None:
        texts.append(await coach.element.evaluate("(one) => one.shadowRoot.textContent"))
        for width in (320, 1440):
            await page.set_viewport_size({"width": width, "height": SIZES[width]})
            for scheme in BOTH:
                await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                await screenshot(page, f"coach-de-{name}-{width}-{scheme}")
            assert await page.evaluate(NO_OVERFLOW), f"{name} is wider than the screen"
            assert await page.evaluate(CUT_OFF) == [], name

    await page.set_viewport_size({"width": 1440, "height": SIZES[1440]})
    await coach.open("/forms")
    await expect(coach.card.get_by_role("heading", name="Willkommen, Sarah")).to_be_visible()
    await keep("card")
    for fold in await coach.card.locator("summary").all():
        await fold.click()
    await coach.card.locator("milestone-card").last.scroll_into_view_if_needed()
    await keep("card-unfolded")
    await axe(page)
    await coach.card.get_by_role("button", name="Zeit wählen").click()
    await coach.card.get_by_label("Andere Zeit").click()
    await keep("call")
    await page.set_viewport_size({"width": 320, "height": SIZES[320]})
    edges = [await each.evaluate(RIGHT_EDGE) for each in await coach.card.locator(".choice, select").all()]
    assert len(set(edges)) == 1, "the fields of the form end at one line"
    await coach.card.get_by_role("button", name="Zurück").click()
    await coach.card.get_by_role("button", name="Tipps und Nachrichten").click()
    await keep("settings")
    await coach.card.get_by_role("button", name="Zurück").click()
    await reach(world, coach.supplier, "first_form")
    await expect(coach.modal.get_by_text("Glückwunsch zu Ihrem ersten Formular!")).to_be_visible()
    await keep("celebration")
    said = " ".join(texts)
    assert not set(ENGLISH.findall(said))
