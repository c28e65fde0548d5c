"""Each further state of the coach, on a phone, by day and by night: pills, folds, the form, what fails.

Those of every day are in test_coach_screens.py and test_coach_states.py; the pictures of all are named `coach-…`.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import expect

from scoring.time import DAY
from tests.browser.coach_page import ALL_FEATURES, HEALTHY, CoachPage
from tests.browser.conftest import NO_OVERFLOW, SCHEMES, SIZES
from tests.browser.pictures import EVERY_SCREEN
from tests.browser.test_coach import coach_of, reach
from tests.browser.test_coach_screens import CUT_OFF, ENGLISH
from tests.browser.test_link_page_states import no_time_free
from topics.time import format_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import BrowserContext, Page, Route

    from tests.agents.delivery.world import World
    from tests.browser.conftest import CheckAxe, Screenshot
    from tests.browser.test_coach import MakeCoach

    Keep = Callable[[str], Awaitable[None]]

__all__ = ["coach_of", "no_time_free"]

STUCK = {"forms": {"created": 0, "sent": 0, "completed": 0}, "features": ["clients_imported"]}
"""The health of somebody to whom the coach has something to say."""
HOST_SPEAKS = """new MutationObserver(() => {{ document.documentElement.lang = {!r}; }})
    .observe(document, {{ childList: true }})"""
HAS_NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', { value: undefined })"
TIMES = "**/call-times"
BOOKING = "**/api/support/schedule-call"


@pytest.fixture(params=["en-GB", "de"] if EVERY_SCREEN else ["de"])
def locale(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def word(locale: str) -> Callable[[str, str], str]:
    return lambda english, german: german if locale == "de" else english


@pytest_asyncio.fixture(loop_scope="session")
async def keep(page: Page, locale: str, axe: CheckAxe, screenshot: Screenshot) -> Keep:
    """Keep the pictures of a state; nothing is wrong with it."""
    await page.set_viewport_size({"width": 320, "height": SIZES[320]})
    await page.emulate_media(reduced_motion="reduce")
    await page.add_init_script(HOST_SPEAKS.format(locale))

    async def kept(name: str) -> None:
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            await screenshot(page, f"coach-state-{name}-{locale}-320-{scheme}")
            await axe(page)
        assert await page.evaluate(NO_OVERFLOW), f"{name} is wider than the screen"
        assert await page.evaluate(CUT_OFF) == [], name
        said = await page.locator("success-coach").evaluate("(one) => one.shadowRoot.textContent")
        assert locale != "de" or not ENGLISH.findall(said), said

    return kept


async def fail(route: Route) -> None:
    await route.fulfill(status=503, json={"detail": "away"})


async def too_often(route: Route) -> None:
    await route.fulfill(status=429, json={"detail": "no"})


async def pill_of(coach: CoachPage, path: str, state: str = "ready") -> None:
    await coach.page.goto("about:blank")
    await coach.visit(path)
    await coach.ready(state)


async def test_the_pill(coach_of: MakeCoach, keep: Keep, world: World, locale: str) -> None:
    """What it says: a moment, that it is there, the offer, the tip, the steps done, a message; nothing in a break."""
    coach = await coach_of({"locale": locale})
    await coach.page.route("**/api/coach/**", fail)
    await pill_of(coach, "/forms", "error")
    await keep("pill-error")
    await coach.page.unroute("**/api/coach/**")
    await coach.page.route("**/api/coach/**", lambda _: None)  # nobody answers
    await pill_of(coach, "/forms", "loading")
    await keep("pill-loading")
    await coach.page.unroute("**/api/coach/**")
    await pill_of(coach, "/forms")
    await keep("pill-offer")
    await world.health(coach.supplier, **HEALTHY | {"features": ALL_FEATURES[:2]})
    await pill_of(coach, "/journeys")
    await keep("pill-tip")
    await world.health(coach.supplier, **HEALTHY | {"cancelled": True, "seq": 12})
    await pill_of(coach, "/forms", "quiet")
    await keep("pill-steps")
    await world.health(coach.supplier, **HEALTHY | {"seq": 13, "features": []})
    await world.row(coach.supplier, "signed_up")
    await world.delivery().deliver_due()
    await pill_of(coach, "/forms")
    await keep("pill-message")
    await world.query(
        "UPDATE suppliers SET paused_until = now() + interval '20 days' WHERE id = %s", coach.supplier
    )
    await pill_of(coach, "/forms", "paused")
    await keep("pill-paused")


async def test_the_welcome_follows_what_they_did(
    coach_of: MakeCoach, keep: Keep, world: World, locale: str, word: Callable[[str, str], str]
) -> None:
    done = {"none": [], "clients": ALL_FEATURES[:1], "form": ALL_FEATURES[1:2], "both": ALL_FEATURES[:2]}
    coach = await coach_of({"locale": locale})
    await world.row(coach.supplier, "signed_up")
    await world.delivery().deliver_due()
    for seq, (name, features) in enumerate(done.items(), 11):
        forms = {"created": int("forms_created" in features), "sent": 0, "completed": 0}
        await world.health(coach.supplier, seq=seq, features=features, forms=forms)
        await coach.page.goto("about:blank")
        await coach.open("/forms")
        await expect(coach.card.get_by_role("heading", name=word("Welcome", "Willkommen"))).to_be_visible()
        await keep(f"welcome-{name}")


async def test_what_unfolds(
    coach_of: MakeCoach, keep: Keep, world: World, locale: str, word: Callable[[str, str], str]
) -> None:
    """Steps, what else helps, milestones (one is reached, and shared), and help in the first days."""
    coach = await coach_of({"locale": locale}, **STUCK)
    await reach(world, coach.supplier, "first_form", days_ago=40)
    await world.query(
        "UPDATE success_milestones SET celebrated = true WHERE supplier_id = %s", coach.supplier
    )
    await coach.open("/forms")
    parts = {
        "steps": word("All steps", "Alle Schritte"),
        "more": word("More that helps", "Was noch hilft"),
        "milestones": word("Milestones", "Meilensteine"),
    }
    for name, words in parts.items():
        fold = coach.card.locator("summary").filter(has_text=words)
        await fold.click()
        await fold.evaluate("(one) => one.scrollIntoView({ block: 'start' })")
        await keep(f"unfolded-{name}")
        await fold.click()
    await coach.card.locator("summary").filter(has_text=parts["milestones"]).click()
    share = coach.card.get_by_role("button", name=word("Tell others", "Weitersagen"))
    await share.scroll_into_view_if_needed()
    await share.click()
    await expect(coach.card.locator("milestone-card .said").first).not_to_be_empty()
    await keep("milestone-shared")

    new = format_time(time.time_ns() // 1_000_000 - 2 * DAY)
    fresh = await coach_of({"locale": locale}, **STUCK, signed_up_at=new, last_login=new)
    await fresh.open("/forms")
    fold = fresh.card.locator("summary").filter(has_text=word("Get help", "Hilfe bekommen"))
    await fold.click()
    await fold.scroll_into_view_if_needed()
    await fresh.card.get_by_role(
        "button", name=word("Pick a time", "Zeit wählen")
    ).scroll_into_view_if_needed()
    await keep("unfolded-help")


async def test_several_milestones_shared_by_hand(
    coach_of: MakeCoach, keep: Keep, world: World, locale: str, word: Callable[[str, str], str]
) -> None:
    coach = await coach_of({"locale": locale})
    for days, milestone in enumerate(("ten_clients", "first_form"), 1):
        await reach(world, coach.supplier, milestone, days_ago=days)
    await coach.page.add_init_script(HAS_NO_CLIPBOARD)
    await coach.visit("/forms")
    await expect(coach.modal.locator("h2")).to_be_visible()
    await keep("celebration-of-two")
    await coach.modal.get_by_role("button", name=word("Tell others", "Weitersagen")).click()
    await expect(coach.modal.locator(".said")).not_to_be_empty()
    await keep("celebration-shared-by-hand")


async def test_somebody_of_whom_little_is_known(
    coach_of: MakeCoach, keep: Keep, page: Page, api_url: str, token: Callable[..., str], locale: str
) -> None:
    """Without a name, with a tip that is for the page alone; and somebody of whom nothing has come through yet."""
    coach = await coach_of({"locale": locale, "first_name": None}, seq=11)
    await coach.open("/clients")
    await keep("no-name-tip-for-the-page")
    await page.goto("about:blank")
    await page.set_extra_http_headers({"Accept-Language": locale})
    nobody = CoachPage(page, api_url, token, str(uuid.uuid4()))
    await nobody.visit("/forms")
    await nobody.ready("quiet")
    await nobody.pill.click()
    await keep("nobody-yet")


async def test_the_line_is_lost_or_closed(
    coach_of: MakeCoach, keep: Keep, context: BrowserContext, locale: str
) -> None:
    coach = await coach_of({"locale": locale}, **STUCK)
    page, status = coach.page, 0

    async def line(route: Route) -> None:
        if status:
            await route.fulfill(status=status, json={"detail": "no"})
        else:
            await route.abort()

    await page.route("**/events?page=*", line)
    await coach.visit("/forms")
    await coach.ready("lost")
    await coach.pill.click()
    await keep("lost")
    status = 403
    await page.goto("about:blank")
    await coach.visit("/forms")
    await coach.ready("refused")
    await coach.pill.click()
    await keep("signed-out-meanwhile")
    await page.unroute("**/events?page=*")
    await page.route("**/api/coach/**", fail)
    await page.goto("about:blank")
    await coach.visit("/forms")
    await coach.ready("error")
    await context.set_offline(True)
    await coach.ready("offline")
    await coach.pill.click()
    await keep("offline-from-the-start")
    await context.set_offline(False)


async def test_the_form_for_a_call(
    coach_of: MakeCoach,
    keep: Keep,
    locale: str,
    word: Callable[[str, str], str],
    no_time_free: Callable[[], Awaitable[None]],
) -> None:
    """As it comes, each thing that may be wrong with a time, no time at all, and what fails."""
    coach = await coach_of({"locale": locale}, **STUCK)
    page, problem = coach.page, coach.card.get_by_role("alert")
    enough = asyncio.Event()

    async def hold(route: Route) -> None:
        await enough.wait()
        await route.continue_()

    async def below(name: str) -> None:
        await book.scroll_into_view_if_needed()
        await keep(name)

    await page.route(TIMES, hold)
    await coach.open("/forms")
    await coach.card.get_by_role("button", name=word("Pick a time", "Zeit wählen")).click()
    await keep("call-loading")
    enough.set()
    choices = coach.card.locator(".choice")
    await expect(choices).to_have_count(4)
    await keep("call")
    book = coach.card.locator("button[type=submit]")
    await book.click()
    await expect(problem).not_to_be_empty()
    await below("call-no-time-chosen")
    await choices.last.click()
    await coach.card.locator("input[type=datetime-local]").fill("2026-01-01T10:00")
    await book.click()
    await expect(problem).to_contain_text(word("has passed", "in der Vergangenheit"))
    await below("call-time-past")
    await choices.first.click()
    for wrong, name, words in (
        (fail, "failed", word("did not work", "nicht geklappt")),
        (too_often, "too-often", word("Too many tries", "Zu viele Versuche")),
    ):
        await page.route(BOOKING, wrong)
        await book.click()
        await expect(problem).to_contain_text(words)
        await below(f"call-{name}")
        await page.unroute(BOOKING)
    enough.clear()
    await page.route(BOOKING, hold)
    await no_time_free()
    await book.click()
    await expect(book).to_be_disabled()
    await below("call-booking")
    enough.set()
    await expect(problem).to_contain_text(word("You asked for a call", "um ein Gespräch gebeten"))
    await expect(choices).to_have_count(1)
    await below("call-time-gone-none-free")
    await page.unroute(BOOKING)
    await coach.card.get_by_role("button", name=word("Back", "Zurück")).click()
    await expect(
        coach.card.get_by_text(word("You asked for a call", "um ein Gespräch gebeten"))
    ).to_be_visible()
    await keep("call-waits-for-a-time")


async def test_there_is_no_time_from_the_start(
    coach_of: MakeCoach,
    keep: Keep,
    locale: str,
    word: Callable[[str, str], str],
    no_time_free: Callable[[], Awaitable[None]],
) -> None:
    coach = await coach_of({"locale": locale}, **STUCK)
    await no_time_free()
    await coach.open("/forms")
    await coach.card.get_by_role("button", name=word("Pick a time", "Zeit wählen")).click()
    await expect(coach.card.locator(".choice")).to_have_count(1)
    await keep("call-none-free")


async def test_the_settings_and_what_fails_there(
    coach_of: MakeCoach, keep: Keep, locale: str, word: Callable[[str, str], str]
) -> None:
    coach = await coach_of({"locale": locale}, **STUCK)
    await coach.open("/forms")
    await coach.card.get_by_role("button", name=word("Tips and messages", "Tipps und Nachrichten")).click()
    await keep("settings")
    await coach.page.route("**/consent", fail)
    pause = coach.card.get_by_role("button", name=word("A break of 30 days", "30 Tage Pause"))
    await pause.click()
    await expect(coach.card.get_by_role("alert")).to_contain_text(word("did not work", "nicht geklappt"))
    await keep("settings-failed")
    await coach.page.unroute("**/consent")
    await pause.click()
    await coach.ready("paused")
    await coach.page.route("**/consent", fail)
    await coach.card.get_by_role("button", name=word("End the break", "Pause beenden")).click()
    await expect(coach.card.get_by_role("alert")).to_be_visible()
    await keep("paused-failed")
