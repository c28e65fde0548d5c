"""What the coach is like when there is nothing to say, nobody to ask, or no line to the API."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, Route, expect

from api.auth import sign
from runtime.settings import Settings
from tests.agents.delivery.world import World
from tests.browser.coach_page import CONGRATULATIONS, HEALTHY, CoachPage
from tests.browser.conftest import BOTH, NO_OVERFLOW, SIZES, CheckAxe, Screenshot
from tests.browser.pictures import EVERY_SCREEN
from tests.browser.test_coach import MakeCoach, coach_of, reach
from tests.browser.test_coach_screens import CUT_OFF, ENGLISH

__all__ = ["coach_of"]


@pytest.fixture(autouse=True)
def no_exceptions(page: Page) -> Iterator[None]:
    """Requests may fail here, but nothing may go unhandled."""
    seen: list[str] = []
    page.on("pageerror", lambda error: seen.append(str(error)))
    yield
    assert seen == []


@pytest.mark.usefixtures("no_console_errors")
async def test_while_it_loads_it_says_so(coach_of: MakeCoach) -> None:
    coach = await coach_of()
    may_answer = asyncio.Event()

    async def hold(route: Route) -> None:
        await may_answer.wait()
        await route.continue_()

    await coach.page.route("**/api/coach/*?page=*", hold)
    await coach.visit()
    await coach.pill.click()
    await expect(coach.card.locator("[aria-busy=true]")).to_be_visible()

    may_answer.set()

    await expect(coach.card.get_by_role("heading", name="Hello Sarah")).to_be_visible()


@pytest.mark.usefixtures("no_console_errors")
async def test_with_nothing_to_say_it_says_nothing(coach_of: MakeCoach) -> None:
    """Somebody who cancelled hears of no tips and gets no offers."""
    coach = await coach_of(**HEALTHY | {"cancelled": True})
    await coach.visit()
    await coach.ready("quiet")
    await expect(coach.pill).to_contain_text("7 of 7 steps done")

    await coach.pill.click()

    await expect(coach.card.get_by_text("Nothing new at the moment. Carry on.")).to_be_visible()


async def test_offline_it_keeps_what_it_knew_and_hears_later_what_it_missed(
    coach_of: MakeCoach, world: World, context: BrowserContext
) -> None:
    coach = await coach_of()
    await coach.open()
    await expect(coach.card.locator(".tip")).to_be_visible()

    await context.set_offline(True)
    await expect(
        coach.card.get_by_text("You are offline. This is how things stood a moment ago.")
    ).to_be_visible()
    await expect(coach.card.locator(".tip")).to_be_visible()
    await reach(world, coach.supplier, "first_form")
    await context.set_offline(False)

    await expect(coach.modal.get_by_text(CONGRATULATIONS)).to_be_visible()
    await coach.ready()


async def test_a_broken_line_is_taken_up_again_where_it_broke(coach_of: MakeCoach, world: World) -> None:
    """The first stream ends at once; the next one brings what came in between, by its cursor, and nothing twice."""
    coach = await coach_of()
    cursors: list[str | None] = []

    async def cut(route: Route) -> None:
        cursors.append(await route.request.header_value("last-event-id"))
        if len(cursors) == 1:
            await route.fulfill(status=200, content_type="text/event-stream", body=": here\n\n")
        else:
            await route.continue_()

    await coach.page.route("**/events?page=*", cut)
    await coach.visit()
    await coach.ready()
    await reach(world, coach.supplier, "first_form")

    await expect(coach.modal.get_by_text(CONGRATULATIONS)).to_be_visible()
    assert len(cursors) == 2
    assert cursors[0] == cursors[1]
    assert cursors[0] is not None


async def test_when_the_api_fails_it_says_so_and_tries_again_when_asked(coach_of: MakeCoach) -> None:
    coach = await coach_of()
    await coach.page.route(
        "**/api/coach/**", lambda route: route.fulfill(status=503, json={"detail": "away"})
    )
    await coach.visit()
    await coach.ready("error")
    await coach.pill.click()
    await expect(coach.card.get_by_text("I can't be reached at the moment.")).to_be_visible()

    await coach.page.unroute("**/api/coach/**")
    await coach.card.get_by_role("button", name="Try again").click()

    await expect(coach.card.get_by_role("heading", name="Hello Sarah")).to_be_visible()


async def test_it_comes_back_by_itself_once_the_api_does(coach_of: MakeCoach) -> None:
    coach = await coach_of()
    await coach.page.route("**/api/coach/**", lambda route: route.abort())
    await coach.visit()
    await coach.ready("error")

    await coach.page.unroute("**/api/coach/**")

    await coach.ready()


async def test_a_token_that_is_no_good_ends_in_words_not_in_a_loop(
    coach_of: MakeCoach, page: Page, api_url: str
) -> None:
    coach = await coach_of()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/" in request.url else None)
    claims = base64.b64encode(json.dumps({"role": "supplier", "sub": coach.supplier}).encode()).decode()
    coach = CoachPage(page, api_url, lambda *_: f"e30.{claims}.forged", coach.supplier)
    await coach.visit()
    await coach.ready("refused")

    await coach.pill.click()

    await expect(coach.card.get_by_text("You are signed out here.")).to_be_visible()
    assert len(asked) == 2, "one try, and one with a token asked for again"


async def test_an_expired_token_is_replaced_without_their_noticing(
    coach_of: MakeCoach, browser_settings: Settings, token: Callable[..., str]
) -> None:
    coach = await coach_of()
    old = sign(browser_settings, "supplier", coach.supplier, -3600, 1_700_000_000)
    new = token("supplier", coach.supplier)
    await coach.page.add_init_script(
        "window.given = 0;"
        "addEventListener('DOMContentLoaded', () => setTimeout(() => {"
        "  const coach = document.querySelector('success-coach');"
        f"  coach.getToken = async () => (window.given++ ? '{new}' : '{old}');"
        "}))"
    )

    await coach.visit()

    await coach.ready()
    assert await coach.page.evaluate("window.given") >= 1


async def test_a_hidden_tab_keeps_no_line_open(coach_of: MakeCoach, world: World) -> None:
    """Browsers allow few connections to one host; what was missed comes when they look again."""
    coach = await coach_of()
    await coach.visit()
    await coach.ready()
    hide = (
        "Object.defineProperty(document, 'hidden', { configurable: true, value: %s });"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    async with coach.page.expect_event("requestfailed", lambda request: "/events" in request.url):
        await coach.page.evaluate(hide % "true")
    await reach(world, coach.supplier, "first_form")

    await coach.page.evaluate(hide % "false")

    await expect(coach.modal.get_by_text(CONGRATULATIONS)).to_be_visible()


HIDDEN_API = {"error": 503, "refused": 401}
CALL_AT = "2027-03-02T14:00:00.000Z"
OTHERWISE: dict[str, tuple[str, dict[str, Any]]] = {
    "quiet": (
        "quiet",
        {"state": "quiet", "tip": None, "quickActions": [], "messages": [], "callOffer": None},
    ),
    "paused": ("paused", {"state": "paused", "pausedUntil": CALL_AT, "tip": None, "quickActions": []}),
    "opted-out": ("opted_out", {"state": "opted_out"}),
    "call-booked": ("ready", {"callOffer": None, "call": {"id": None, "startsAt": CALL_AT}}),
    "call-asked": ("ready", {"callOffer": None, "call": {"id": None, "startsAt": None}}),
}
"""State of the screens below -> that of the element, and what the API's answer says otherwise."""


@pytest.mark.parametrize("locale", ["en-GB", "de"] if EVERY_SCREEN else ["de"])
async def test_each_further_state_looks_right(
    coach_of: MakeCoach, context: BrowserContext, axe: CheckAxe, screenshot: Screenshot, locale: str
) -> None:
    """With nothing to say, a break, a call, no API, no line: as an answer would have it, on a phone."""
    coach = await coach_of({"locale": locale}, forms={"created": 1, "sent": 3, "completed": 1})
    page, texts, wanted = coach.page, [], ""
    await page.set_viewport_size({"width": 320, "height": SIZES[320]})
    await page.emulate_media(reduced_motion="reduce")
    # before the API has answered, the language is the host page's
    await page.add_init_script(
        f"new MutationObserver(() => {{ document.documentElement.lang = {locale!r}; }})"
        ".observe(document, { childList: true })"
    )
    enough = asyncio.Event()

    async def answer(route: Route) -> None:
        if wanted in HIDDEN_API:
            await route.fulfill(status=HIDDEN_API[wanted], json={"detail": "away"})
        elif wanted == "loading":
            await enough.wait()
            await route.abort()
        elif "/events" in route.request.url:
            await route.fulfill(status=200, content_type="text/event-stream", body=": here\n\n")
        elif "?page=" not in route.request.url:
            await route.continue_()
        else:
            response = await route.fetch()
            await route.fulfill(response=response, json=await response.json() | OTHERWISE[wanted][1])

    await page.route("**/api/coach/**", answer)

    async def keep(name: str) -> None:
        texts.append(await coach.element.evaluate("(one) => one.shadowRoot.textContent"))
        for scheme in BOTH:
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            await screenshot(page, f"coach-state-{name}-{locale}-320-{scheme}")
            await axe(page)
        assert await page.evaluate(NO_OVERFLOW), f"{name} is wider than the screen"
        assert await page.evaluate(CUT_OFF) == [], name

    for wanted in ("loading", *HIDDEN_API, *OTHERWISE):
        await page.goto("about:blank")
        await coach.visit("/forms")
        await coach.ready(OTHERWISE.get(wanted, (wanted,))[0])
        await coach.pill.click()
        await keep(wanted)
        enough.set()
    await context.set_offline(True)
    await coach.ready("offline")
    await keep("offline")
    assert locale != "de" or not set(ENGLISH.findall(" ".join(texts)))
