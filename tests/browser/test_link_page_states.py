"""Each further state of the pages that emails lead to, as the API shows it: looked at on a phone, by day and by night.

Those of every day are in test_link_pages.py; the pictures of both are named `page-…`.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from playwright.async_api import expect

from agents.letters.links import sign
from agents.letters.render import ours
from api.app import build_app
from scoring.decisions.calls import propose
from scoring.decisions.limits import CALL_CHANGES, PREFERENCES
from scoring.time import DAY, MINUTE
from store.people import acts, calls
from tests.browser.conftest import NO_OVERFLOW, SCHEMES, SIZES
from tests.browser.pictures import EVERY_SCREEN
from tests.browser.serving import free_ports, serving
from tests.browser.test_link_pages import SMALL_TARGETS
from topics.time import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from playwright.async_api import Page

    from runtime.settings import Settings
    from scoring.decisions.limits import Limit
    from tests.agents.delivery.world import World
    from tests.browser.conftest import CheckAxe, Screenshot

    Keep = Callable[[str, str], Awaitable[None]]

LOCALES = ("en-GB", "en-US", "de-AT") if EVERY_SCREEN else ("de-AT",)
FREE = "button[name=time]"
WEEK = 7 * DAY
OVER = "2020-01-07T10:00:00Z"
"""A time of a page that was left open for long."""
CALL = (
    "INSERT INTO support_interactions (supplier_id, interaction_type, scheduled_at, ends_at) "
    "VALUES (%s, 'check_in', %s, %s)"
)


def now() -> int:
    return time.time_ns() // 1_000_000


class Links:
    """Suppliers of one language, their calls, and the links of their emails."""

    def __init__(self, page: Page, api_url: str, world: World, settings: Settings, locale: str) -> None:
        self.page, self.world, self.locale = page, world, locale
        self._api_url, self._key = api_url, settings.secret("secret_key")

    async def somebody(self, **profile: Any) -> str:
        given = {
            "locale": self.locale,
            "timezone": "Europe/Vienna",
            "email": f"{uuid.uuid4().hex[:8]}@example.com",
        }
        return await self.world.supplier(**given | profile)

    async def go(self, action: Any, supplier: str, of: str | None = None, *, at: str | None = None) -> str:
        token = sign(action, supplier, of or str(uuid.uuid4()), self._key)
        address = f"{at or self._api_url}/e/{action}/{token}"
        await self.page.goto(address)
        return address

    async def call(self, supplier: str, starts_at: int | None, **given: Any) -> str:
        """A call of theirs; one without a time waits for it. Nobody is written to."""
        wish = calls.Call(
            id=str(uuid.uuid4()),
            supplier_id=supplier,
            interaction_type="onboarding_call",
            status="scheduled",
            scheduled_at=starts_at,
            ends_at=None if starts_at is None else starts_at + 15 * MINUTE,
            completed_at=None,
            duration_minutes=None,
            agent_id=None,
            notes=None,
            outcome=None,
            satisfaction_score=None,
            preferred_times=(),
            urgency="medium",
            sequence=0,
            intervention_id=None,
            created_at=now(),
        )
        wish = replace(wish, **given)
        async with self.world.pool.connection() as conn:
            assert await calls.add(conn, wish)
        return wish.id

    async def ahead(self) -> int:
        """A time that is free, some days ahead."""
        policy = self.world.policy
        async with self.world.pool.connection() as conn:
            taken = await calls.taken(conn, now())
        return propose(now(), taken, policy.calls, "Europe/Vienna", policy.hours, 30)[-1]

    async def wear_out(self, supplier: str, limit: Limit) -> None:
        """They have done it as often as they may."""
        async with self.world.pool.connection() as conn:
            for _ in range(limit.most):
                await acts.note(conn, supplier, limit, now())

    async def heading(self) -> str:
        return await self.page.locator("h1").inner_text()


@pytest.fixture(params=LOCALES)
def links(
    request: pytest.FixtureRequest, page: Page, api_url: str, world: World, browser_settings: Settings
) -> Links:
    return Links(page, api_url, world, browser_settings, request.param)


@pytest_asyncio.fixture(loop_scope="session")
async def keep(links: Links, axe: CheckAxe, screenshot: Screenshot) -> Keep:
    """Keep the pictures of a state in which the page says these words; nothing is wrong with it."""
    page = links.page
    await page.set_viewport_size({"width": 320, "height": SIZES[320]})

    async def kept(name: str, says: str) -> None:
        said = " ".join((await page.locator("main").inner_text()).split())
        assert says in said, said
        assert await page.evaluate("document.documentElement.lang") == links.locale
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme=scheme)
            await screenshot(page, f"page-{name}-{links.locale}-320-{scheme}", full_page=True)
            await axe(page)
        assert await page.evaluate(NO_OVERFLOW), name
        assert await page.evaluate(SMALL_TARGETS) == [], name

    return kept


@pytest_asyncio.fixture(loop_scope="session")
async def no_time_free(world: World) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Somebody else takes all agents' time when this is called, until the test ends."""
    taken: list[str] = []

    async def take() -> None:
        supplier = await world.supplier(email=f"{uuid.uuid4().hex[:8]}@example.com")
        taken.append(supplier)
        async with world.pool.connection() as conn:
            spans = sorted(await calls.taken(conn, now()))
        edges = [now(), *(each for span in spans for each in span), now() + 90 * DAY]
        for start, until in pairwise(edges):
            if until > start and (start, until) not in spans:
                await world.query(CALL, supplier, format_time(start), format_time(until))

    yield take
    for supplier in taken:
        await world.query("DELETE FROM support_interactions WHERE supplier_id = %s", supplier)


def in_words(links: Links, english: str, german: str) -> str:
    return german if links.locale.startswith("de") else english


async def test_times_to_choose_from(links: Links, keep: Keep) -> None:
    """More of them, one taken meanwhile, of somebody whose zone nobody knows."""
    supplier = await links.somebody()
    booking = await links.go("book", supplier)
    await links.page.goto(f"{booking}?more=1")
    await keep("book-more", in_words(links, "When suits you?", "Wann passt es Ihnen?"))

    await links.page.goto(booking)
    other = await links.somebody()
    first = links.page.locator(FREE).first
    starts = await first.get_attribute("value")
    assert starts
    await links.world.query(CALL, other, starts, format_time(parse_time(starts) + 15 * MINUTE))
    await links.page.locator("#notes").fill("+43 1 2345678")
    await first.click()
    await keep("book-taken", in_words(links, "That time can", "Diese Zeit ist nicht mehr zu haben. Die"))
    await expect(links.page.locator("#notes")).to_have_value("+43 1 2345678")

    await links.go("book", await links.somebody(timezone=None))
    await keep("book-zone-unknown", "UTC")


async def test_no_time_is_free(links: Links, keep: Keep, no_time_free: Callable[[], Awaitable[None]]) -> None:
    supplier = await links.somebody()
    booked = await links.call(supplier, await links.ahead())
    waiting = await links.call(supplier, None)
    another = await links.somebody()
    booking = await links.go("book", another)
    await no_time_free()
    await links.page.locator(FREE).first.click()
    nothing = in_words(
        links, "No time is free in the next four weeks.", "In den nächsten vier Wochen ist keine Zeit frei."
    )
    await keep("book-taken-none-free", nothing)
    await links.page.goto(booking)
    await keep("book-none-free", nothing)
    await links.go("call", supplier, booked)
    await links.page.goto(f"{links.page.url}?move=1")
    await keep("call-moving-none-free", nothing)
    await links.go("call", supplier, waiting)
    await keep("call-waiting-none-free", nothing)


async def test_two_calls_are_the_most(links: Links, keep: Keep) -> None:
    supplier = await links.somebody()
    waiting = await links.call(supplier, None)
    await links.go("book", supplier)
    await keep("book-waiting", in_words(links, "is waiting for a time", "steht noch nicht fest"))
    await links.call(supplier, await links.ahead(), interaction_type="technical_support")
    await links.page.locator(FREE).first.click()
    await keep("book-full", in_words(links, "You have 2", "Sie haben schon 2"))
    await links.go("call", supplier, waiting)
    await keep("call-waiting", in_words(links, "needs a time", "steht noch nicht fest"))
    await links.page.locator("button[value=cancel]").click()
    await keep(
        "call-cancelled-without-time",
        in_words(links, "Nobody will call you. If", "Wir rufen Sie nicht an. Wenn"),
    )


async def test_a_call_that_changed_meanwhile(links: Links, keep: Keep) -> None:
    """Its new time is taken, it is cancelled by an agent, it is over, it was moved too often."""
    supplier = await links.somebody()
    call = await links.call(supplier, await links.ahead())
    address = await links.go("call", supplier, call)
    await links.page.goto(f"{address}?move=1")
    await links.page.locator(FREE).first.evaluate("(one, over) => { one.value = over; }", OVER)
    await links.page.locator(FREE).first.click()
    await keep(
        "call-taken", in_words(links, "Nothing was changed; these are free.", "die folgenden sind frei.")
    )

    await links.wear_out(supplier, CALL_CHANGES)
    await links.page.locator(FREE).first.click()
    await keep("call-too-often", in_words(links, "very often today", "heute schon sehr oft"))

    await links.page.goto(f"{address}?move=1")
    await links.world.query("UPDATE support_interactions SET status = 'cancelled' WHERE id = %s", call)
    await links.page.locator(FREE).first.click()
    await keep(
        "call-cancelled-by-an-agent", in_words(links, "This call is cancel", "Dieser Termin ist abgesagt")
    )
    assert in_words(links, "had any more", "zu haben") not in await links.page.inner_text("main")

    await links.go(
        "call",
        supplier,
        await links.call(supplier, await links.ahead() - (10 + LOCALES.index(links.locale)) * WEEK),
    )
    await keep("call-over", in_words(links, "This call is over", "Dieser Termin ist vorbei"))


async def test_what_they_choose_to_hear(links: Links, keep: Keep) -> None:
    supplier = await links.somebody()
    address = await links.go("preferences", supplier)
    press = links.page.locator
    await press("button[value=pause]").click()
    await links.page.goto(address)
    await keep("preferences-paused", in_words(links, "You hear nothing from us until", "Sie hören bis"))
    await press("button[value=resume]").click()
    await keep("preferences-resume", in_words(links, "The break is over.", "Die Pause ist zu Ende."))
    await press("button[value=emails_off]").click()
    await links.page.goto(address)
    await keep("preferences-no-emails", in_words(links, "You get no emails", "Sie erhalten von uns keine"))
    await press("button[value=emails_on]").click()
    await keep(
        "preferences-emails_on", in_words(links, "We may send you emails again.", "Wir dürfen Ihnen wieder")
    )
    await links.wear_out(supplier, PREFERENCES)
    await press("button[value=pause]").click()
    await keep("too-often", in_words(links, "very often today", "heute schon sehr oft"))
    await links.page.goto(address)
    await press("button[value=all_off]").click()
    await links.page.goto(address)
    await keep("preferences-nothing", in_words(links, "We send you nothing", "Wir schicken Ihnen nichts"))
    await links.go("unsubscribe", supplier)
    await keep("unsubscribed-from-all", in_words(links, "You are unsubscribed", "Sie sind abgemeldet"))


async def test_each_milestone(links: Links, keep: Keep) -> None:
    """The one that the letter was about, with a business of a long name, and of somebody without one."""
    long = "The Very Long Name Of A Small Wedding Photography Studio & Daughters, Oxfordshire"
    for place, milestone in enumerate(ours().rules.milestones):
        supplier = await links.somebody(business_name=(None, long, "Hochzeitsfotografie Grünwald")[place % 3])
        [reached] = await links.world.query(
            "INSERT INTO success_milestones (id, supplier_id, milestone_type, achieved_at) "
            "VALUES (gen_random_uuid(), %s, %s, '2026-03-02T10:00:00Z') RETURNING id::text AS id", supplier, milestone
        )  # fmt: skip
        await links.go("milestone", supplier, reached["id"])
        await keep(f"milestone-{milestone}", in_words(links, "Congratulations", "Glückwunsch"))
    await links.page.route("**/e/**", lambda each: each.continue_(headers={"Accept-Language": links.locale}))
    await links.go("milestone", await links.somebody())
    await keep("milestone-none", in_words(links, "This link leads nowhere", "Dieser Link führt ins Leere"))


async def test_what_fails_on_our_side_is_a_page_too(
    links: Links, keep: Keep, browser_settings: Settings
) -> None:
    """An engine without a product's address has no button to it; without Postgres it says so, for people."""
    alone, away = free_ports(2)
    await links.page.route("**/e/**", lambda each: each.continue_(headers={"Accept-Language": links.locale}))
    nowhere = {
        "database_url": "postgresql://nobody@127.0.0.1:1/nothing",
        "api_port": away,
        "metrics_port": away,
    }
    with serving(build_app(browser_settings.model_copy(update=nowhere)), away) as url:
        await links.go("book", str(uuid.uuid4()), at=url)
        await keep("away", in_words(links, "That did not work just now", "Das hat gerade nicht geklappt"))
    without = {"development": False, "api_port": alone, "metrics_port": alone}
    with serving(build_app(browser_settings.model_copy(update=without)), alone) as url:
        await links.page.goto(f"{url}/e/call/spoilt")
        await keep(
            "gone-without-product", in_words(links, "This link leads nowhere", "Dieser Link führt ins Leere")
        )
        await links.page.goto(f"{url}/e/book/spoilt?more=what")
        await keep(
            "address-not-understood", in_words(links, "Nothing was changed", "Es wurde nichts geändert")
        )
