"""The dashboard as an agent uses it: by mouse and by keys, on a laptop and a phone, by day and by night."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import Browser, Page, expect

from scoring.time import DAY, HOUR
from tests.agents.delivery.world import World
from tests.api.dashboard.conftest import add_changes
from tests.browser.coach_page import until
from tests.browser.conftest import LOOKS, NO_OVERFLOW, SIZES, CheckAxe, Screenshot
from tests.browser.pictures import EVERY_SCREEN
from tests.browser.signing_in import let_in, open_as, sign_in_by_hand
from tests.browser.test_today import tagged
from topics.time import format_time

pytestmark = pytest.mark.usefixtures("no_console_errors")

# A chart that is drawn has points that are not transparent.
IS_DRAWN = """id => { const canvas = document.getElementById(id);
    return canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(byte => byte > 0); }"""
SignIn = Callable[..., Awaitable[None]]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def sign_in(page: Page, api_url: str, token: Callable[..., str]) -> SignIn:
    """Let an agent in and load a page: *Today*, unless another is named."""
    return lambda path="": open_as(page, api_url, token("agent", "emma"), path)


async def someone_at_risk(world: World, name: str, churn_probability: float = 0.9) -> str:
    """A paying supplier who has just become at risk, with a past, a message and a milestone."""
    now = now_ms()
    supplier_id = await world.supplier(
        business_name=name,
        email=f"{uuid4().hex[:8]}@example.com",
        plan="enterprise",
        signed_up_at=format_time(now - 60 * DAY),
    )
    await world.health(
        supplier_id,
        seq=20,
        plan="enterprise",
        churn_probability=churn_probability,
        churn_signals={"overdue": 0.8, "rare_logins": 0.9, "inactive_clients": 0.6},
        calculated_at=format_time(now - HOUR),
        last_login=format_time(now - 8 * DAY),
        signed_up_at=format_time(now - 60 * DAY),
        next_level_if_silent="critical",
        next_level_at=format_time(now + 6 * DAY),
        next_change_at=format_time(now + 2 * DAY),
    )
    path = [
        (60, 30, "critical"),
        (50, 55, "at_risk"),
        (40, 78, "healthy"),
        (25, 84, "healthy"),
        (12, 72, "healthy"),
    ]
    changes = [(now - days * DAY, score, level) for days, score, level in path]
    await add_changes(
        world, supplier_id, *changes, (now - HOUR, 48, "at_risk"), loginFrequency=-10, clientActivity=-4
    )
    await world.row(supplier_id, "first_form_created", signal_at=now - 30 * DAY)
    held = await world.row(supplier_id, "no_login_7_days", signal_at=now - HOUR)
    await world.query(
        "UPDATE success_interventions SET status = 'suppressed', reason = 'weekly_cap' WHERE id = %s", held
    )
    return supplier_id


async def test_from_the_call_list_to_a_call_that_is_booked(
    page: Page, api_url: str, world: World, token: Callable[..., str], screenshot: Screenshot
) -> None:
    await someone_at_risk(world, "Amber & Ash Films", churn_probability=0.99)
    await sign_in_by_hand(page, api_url, token("agent", "emma"))
    calls = page.get_by_role("region", name="Suggested calls")
    await expect(calls.get_by_text(re.compile("last logged in on")).first).to_be_visible()
    await calls.get_by_role("link", name="Amber & Ash Films").click()
    await expect(page.get_by_role("heading", name="Amber & Ash Films")).to_be_visible()
    await page.wait_for_function(IS_DRAWN, arg="score")
    await expect(page.get_by_text("If nothing happens")).to_be_visible()
    await page.get_by_role("button", name="Book a call").click()
    await expect(page.get_by_role("status")).to_contain_text("The call is booked")
    await expect(page.get_by_role("region", name="Timeline")).to_contain_text("Check-in: booked")
    await screenshot(page, "dashboard-call-booked", full_page=True)


async def test_a_letter_is_seen_changed_sent_and_taken_back(
    page: Page, world: World, sign_in: SignIn, screenshot: Screenshot
) -> None:
    supplier_id = await someone_at_risk(world, "Larch & Lace")
    await sign_in(f"/suppliers/{supplier_id}")
    await page.get_by_role("region", name="Write").get_by_role("link", name="Quick win").click()
    letter = page.frame_locator("iframe[name=letter]")
    lines = page.get_by_label("First lines, in your words")
    await expect(letter.get_by_text("Hi Sarah,")).to_be_visible()
    await expect(lines).to_have_value(re.compile("^Hi Sarah,\n\n"))
    await lines.fill("Lovely to talk to you, Sarah.\n\nAs promised, <b>this</b> first:")
    await expect(letter.get_by_text("As promised, <b>this</b> first:")).to_be_visible()
    await expect(letter.get_by_text("Hi Sarah,")).to_have_count(0)
    await screenshot(page, "dashboard-writing", full_page=True)
    await page.get_by_role("button", name="Send it").click()
    await expect(page.get_by_role("status")).to_contain_text("can be taken back until it leaves")
    await expect(page.locator("form.undo")).to_contain_text(re.compile(r"Quick win leaves in \d+"))
    await screenshot(page, "dashboard-undo")
    await page.get_by_role("button", name="Undo").click()
    await expect(page.get_by_role("status")).to_contain_text("nothing was sent")
    await expect(page.get_by_role("region", name="Timeline")).to_contain_text("taken back by emma")


async def test_without_scripts_the_letter_is_shown_at_a_click(
    browser: Browser, api_url: str, world: World, token: Callable[..., str]
) -> None:
    supplier_id = await someone_at_risk(world, "Plain & Simple")
    page = await browser.new_page(java_script_enabled=False)
    await page.goto(f"{api_url}/dashboard/suppliers/{supplier_id}/write/became_at_risk")
    await page.get_by_label("Your token").fill(token("agent", "emma"))
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_label("First lines, in your words").fill("Lovely to talk to you.")
    letter = page.frame_locator("iframe[name=letter]")
    for form in ("Letter", "As text"):
        await page.get_by_role("button", name=form, exact=True).click()
        await expect(letter.get_by_text("Lovely to talk to you.")).to_be_visible()
    await expect(letter.locator("pre")).to_be_visible()
    await page.close()


async def test_hold_and_note_from_their_page(page: Page, world: World, sign_in: SignIn) -> None:
    supplier_id = await someone_at_risk(world, "Fern & Fiddle")
    await sign_in(f"/suppliers/{supplier_id}")
    timeline = page.get_by_role("region", name="Timeline")
    await page.get_by_label("For the team").fill("Prefers mornings.")
    await page.get_by_role("button", name="Keep note").click()
    await expect(timeline).to_contain_text("Prefers mornings.")
    await page.get_by_label("Hold because").fill("talks to Tom")
    await page.get_by_role("button", name="Hold all messages").click()
    await expect(page.get_by_role("status")).to_contain_text("are held")
    await expect(page.get_by_text("not sent: held by an agent").first).to_be_visible()
    await page.get_by_role("button", name="Release").click()
    await expect(page.get_by_role("status")).to_contain_text("go again")


async def test_a_slash_searches_and_arrows_choose(page: Page, world: World, sign_in: SignIn) -> None:
    await someone_at_risk(world, "Quince & Quill")
    await sign_in()
    await page.keyboard.press("/")
    await page.keyboard.type("quince")
    await expect(page.locator("#found a").first).to_contain_text("Quince & Quill")
    await page.keyboard.press("Escape")
    await expect(page.locator("#found a")).to_have_count(0)
    await page.keyboard.type(" quin")
    await expect(page.locator("#found a").first).to_be_visible()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Quince & Quill")).to_be_visible()


async def test_every_mark_of_the_population_opens_its_list(page: Page, world: World, sign_in: SignIn) -> None:
    await someone_at_risk(world, "Marked Out")
    await sign_in("/population")
    for chart in ("levels", "bands"):
        await page.wait_for_function(IS_DRAWN, arg=chart)
    box = await page.locator("#levels").bounding_box()
    assert box
    await page.mouse.click(box["x"] + box["width"] - 16, box["y"] + box["height"] - 40)  # today
    await page.wait_for_url(f"**/dashboard/changes?day={datetime.now(UTC):%Y-%m-%d}")
    await page.go_back()
    movement = page.get_by_role("region", name="Movement")
    await movement.get_by_role("row", name=re.compile("^Healthy")).get_by_role("link").first.click()
    await expect(page.get_by_role("heading", name="Changes of level")).to_be_visible()
    await expect(page.get_by_label("From")).to_have_value("healthy")
    await page.go_back()
    await page.get_by_role("region", name="By week of sign-up").get_by_role("link").nth(1).click()
    await expect(page.get_by_label("Signed up in the week of")).to_have_value(
        re.compile(r"^\d{4}-\d\d-\d\d$")
    )


async def test_filters_are_in_the_address_and_more_comes_at_a_click(
    page: Page, world: World, sign_in: SignIn
) -> None:
    for n in range(52):
        supplier_id = await world.supplier(business_name=f"Many {n}")
        await world.health(supplier_id, signed_up_at="2023-05-03T10:00:00.000Z", churn_probability=0.1)
        await add_changes(world, supplier_id, (now_ms() - DAY, 20, "critical"))
    await sign_in("/suppliers?week=2023-05-01")
    await page.get_by_role("combobox", name="Level").select_option("critical")
    await page.get_by_role("button", name="Filter").click()
    await page.wait_for_url(re.compile("level=critical.*week=2023-05-01"))
    await expect(page.locator("a.who")).to_have_count(50)
    await page.get_by_role("button", name="More").click()
    await expect(page.locator("a.who")).to_have_count(52)
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name=re.compile("^CSV")).click()
    download = await downloading.value
    assert download.suggested_filename == "suppliers.csv"


@pytest.mark.usefixtures("worker")
async def test_a_dead_letter_is_mended_and_published(
    page: Page, api_url: str, publish: Any, token: Callable[..., str], screenshot: Screenshot
) -> None:
    supplier_id = str(uuid4())
    broken = {
        "specversion": "1.0",
        "id": "1",
        "source": "/forms",
        "type": "form.created",
        "subject": supplier_id,
        "time": format_time(now_ms()),
        "data": {},
    }
    await publish(broken)
    await let_in(page.context, api_url, token("agent", "emma"))

    async def letter_came() -> bool:
        answer = await page.request.get(f"{api_url}/dashboard/system/kafka")
        return supplier_id in await answer.text()

    async def somebody_is_known() -> bool:
        return (await page.request.get(f"{api_url}/dashboard/suppliers/{supplier_id}")).ok

    await until(letter_came, 60, pause_s=0.3)
    await page.goto(f"{api_url}/dashboard/system")
    await screenshot(page, "dashboard-dead-letters", full_page=True)
    await page.get_by_role("row").filter(has_text=supplier_id).get_by_role("link").click()
    text = page.get_by_label("Mend it")
    await expect(text).to_have_value(re.compile('"data": {}'))
    await text.fill((await text.input_value()).replace('"data": {}', '"data": {"form_id": "f1"}'))
    await page.get_by_role("button", name="Check").click()
    await expect(page.get_by_role("status")).to_contain_text("Nothing is wrong with it now")
    await screenshot(page, "dashboard-dead-letter", full_page=True)
    await page.get_by_role("button", name="Publish again").click()
    await expect(page.get_by_text("published again, to the topic it came from")).to_be_visible()
    await until(somebody_is_known, 60, pause_s=0.3)  # once the worker has read it
    await page.goto(f"{api_url}/dashboard/suppliers/{supplier_id}")
    await expect(page.get_by_role("heading", name=f"Supplier {supplier_id[:8]}")).to_be_visible()


async def test_today_shows_what_is_new_while_it_is_open(page: Page, world: World, sign_in: SignIn) -> None:
    await sign_in()
    await page.wait_for_selector("html[data-follows]")
    await someone_at_risk(world, "Newly Seen", churn_probability=0.999)
    await expect(page.get_by_role("link", name="Newly Seen").first).to_be_visible()


async def test_signing_out_ends_the_session(page: Page, api_url: str, token: Callable[..., str]) -> None:
    await sign_in_by_hand(page, api_url, token("agent", "emma"))
    await page.get_by_role("button", name=re.compile("Sign out")).click()
    await expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
    await page.goto(f"{api_url}/dashboard/population")
    await expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), LOOKS if EVERY_SCREEN else [(320, "dark")])
async def test_it_looks_right(
    page: Page,
    api_url: str,
    world: World,
    token: Callable[..., str],
    axe: CheckAxe,
    screenshot: Screenshot,
    width: int,
    scheme: Any,
) -> None:
    """Those of a laptop are held to the same by test_budgets.py."""
    supplier_id = await someone_at_risk(world, "Heather & Stone Photography")
    await page.set_viewport_size({"width": width, "height": SIZES[width]})
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    await page.goto(f"{api_url}/dashboard/login")
    await screenshot(page, f"dashboard-login-{width}-{scheme}")
    await let_in(page.context, api_url, token("agent", "emma"))
    pages = {
        "today": "",
        "population": "/population",
        "supplier": f"/suppliers/{supplier_id}",
        "write": f"/suppliers/{supplier_id}/write/became_at_risk",
        "suppliers": "/suppliers?level=at_risk",
        "changes": "/changes",
        "messages": "/messages",
        "message-list": "/messages/list?reason=weekly_cap",
        "system": "/system",
    }
    for name, path in pages.items():
        await page.goto(f"{api_url}/dashboard{path}")
        if name == "system":
            await expect(page.get_by_role("heading", name="Dead letters")).to_be_visible()
        await screenshot(page, f"dashboard-{name}-{width}-{scheme}", full_page=True)
        assert await page.evaluate(NO_OVERFLOW), f"{name} is wider than the screen"
        await axe(page)


async def test_print_leaves_the_bar_and_the_forms_out(
    page: Page, world: World, sign_in: SignIn, screenshot: Screenshot
) -> None:
    supplier_id = await someone_at_risk(world, "Printed Matter")
    await tagged(world, supplier_id)
    await sign_in(f"/suppliers/{supplier_id}")
    await page.emulate_media(media="print")
    await expect(page.get_by_role("button", name="Book a call")).to_be_hidden()
    await expect(page.locator(".bar")).to_be_hidden()
    await expect(page.get_by_role("link", name="spring-26")).to_be_visible()
    await expect(page.get_by_role("button", name="Remove tag spring-26")).to_be_hidden()
    await expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    await screenshot(page, "dashboard-print", full_page=True)


async def test_an_open_page_follows_and_leaves_what_somebody_types(
    page: Page, world: World, sign_in: SignIn
) -> None:
    supplier_id = await someone_at_risk(world, "Live & Lovely")
    await sign_in(f"/suppliers/{supplier_id}")
    await page.wait_for_selector("html[data-follows]")
    note = page.get_by_label("For the team")
    await note.fill("Half a thou")
    asked = page.locator("[data-live] details").last
    await asked.locator("summary").click()
    await note.focus()
    await page.evaluate("document.querySelector('#main h1').same = true")
    await world.health(supplier_id, seq=30, score=12, level="critical")
    await add_changes(world, supplier_id, (now_ms(), 12, "critical"))
    await expect(page.locator(".person .level")).to_contain_text("Critical")
    await expect(page.get_by_role("region", name="Timeline")).to_contain_text("Critical")
    await expect(note).to_have_value("Half a thou")
    await expect(note).to_be_focused()
    assert await asked.get_attribute("open") is not None
    await page.wait_for_function(IS_DRAWN, arg="score")
    assert await page.evaluate("document.querySelector('#main h1').same")  # in place, not loaded anew


async def test_an_open_page_says_when_its_session_is_over(
    page: Page, world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.dashboard.live.CHECK_S", 0.2)
    await sign_in()
    await page.wait_for_selector("html[data-follows]")
    await world.query("UPDATE dashboard_sessions SET ended_at = now() WHERE ended_at IS NULL")
    await expect(page.locator("#as-of")).to_contain_text("You are signed out")
    await expect(page.get_by_role("heading", name="Today", exact=True)).to_be_visible()
