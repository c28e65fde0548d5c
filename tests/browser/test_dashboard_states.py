"""What the dashboard shows when there is nothing, when something is away, and when somebody may not: each drawn."""

from __future__ import annotations

import psycopg
import pytest
from playwright.async_api import expect

from api.app import build_app
from api.dashboard.fresh.first_steps import SOMEBODY
from api.dashboard.fresh.lag import Lag
from api.dashboard.sign_in import login_link
from runtime.settings import Settings
from tests.agents.delivery.world import World
from tests.api.dashboard.conftest import add_changes
from tests.browser.dashboard_states import Dashboard, dashboard, kafka, now_ms, own, quiet, reading, there
from tests.browser.serving import free_ports, serving
from topics.time import format_time

__all__ = ["dashboard", "kafka", "own", "there"]

DONE = "ol.steps > li.done"


@pytest.mark.usefixtures("no_console_errors")
async def test_the_first_steps_of_a_fresh_stack(dashboard: Dashboard, there: World) -> None:
    dashboard.kafka.answer = reading(workers=0)
    await dashboard.sign_in()
    page = dashboard.page
    await expect(page.get_by_text("no worker runs yet")).to_be_visible()
    await expect(page.locator(DONE)).to_have_count(0)
    await page.get_by_text("Over HTTP, or from a producer of your own").click()
    await dashboard.draw("first-steps-nothing-yet")
    dashboard.kafka.answer = reading()
    await there.query("INSERT INTO suppliers (id) VALUES (%s)", SOMEBODY)
    await there.health(SOMEBODY, calculated_at=format_time(now_ms()), level="critical", score=6)
    await add_changes(there, SOMEBODY, (now_ms(), 6, "critical"))
    await page.reload()
    await expect(page.locator(DONE)).to_have_count(1)
    await dashboard.draw("first-steps-event-arrived")
    await there.profile(SOMEBODY, stamp=format_time(now_ms()))
    await page.reload()
    await expect(page.locator(DONE)).to_have_count(2)
    await dashboard.draw("first-steps-profile-known")


EMPTY = {
    "population": ("/population", "No supplier has a score yet"),
    "suppliers": ("/suppliers", "No supplier has a score yet"),
    "search": ("/suppliers?q=nobody+there", "Nobody's name, address or id begins like that"),
    "changes": ("/changes", "Nobody's level changed like that"),
    "changes-of-a-day": ("/changes?day=2026-01-05", "Nobody's level changed like that"),
    "messages": ("/messages", "No message fell due in this time"),
    "message-list": ("/messages/list", "No message fits these filters"),
    "rules": ("/rules", "Nothing was activated yet"),
    "rules-trial": ("/rules/draft/trial", "Nothing was tried yet"),
}


@pytest.mark.usefixtures("no_console_errors")
async def test_pages_of_which_nothing_is_there(dashboard: Dashboard) -> None:
    await dashboard.let_in()
    page = dashboard.page
    for name, (path, words) in EMPTY.items():
        await dashboard.go(path)
        await expect(page.locator(".empty", has_text=words)).to_be_visible()
        await dashboard.draw(f"empty-{name}")
    await dashboard.go("/system")
    await expect(page.get_by_text("There are none: every record that was read could be.")).to_be_visible()
    await expect(page.get_by_text("start success deliver")).to_be_visible()
    await dashboard.draw("empty-system")
    await page.get_by_label("Search suppliers").fill("nobody")
    await expect(page.locator("#found")).to_contain_text("Nobody is called so.")
    await dashboard.draw("search-finds-nobody", whole=False)


@pytest.mark.usefixtures("no_console_errors")
async def test_a_day_on_which_there_is_nothing_to_do(dashboard: Dashboard, there: World) -> None:
    for name in ("Amber & Ash Films", "Larch & Lace"):
        await quiet(there, name)
    await dashboard.sign_in()
    page = dashboard.page
    for words in (
        "No call is to be made",
        "Nobody who is not healthy",
        "Nobody's level has changed",
        "No calls are",
    ):
        await expect(page.locator(".empty", has_text=words)).to_be_visible()
    await dashboard.draw("today-nothing-to-do")
    await page.get_by_role("link", name="My book").click()
    await expect(page.get_by_text("Nothing is to be done for your suppliers")).to_be_visible()
    await dashboard.draw("today-my-book-empty")
    await dashboard.go("/suppliers")
    await page.get_by_text("Keep this view").click()
    await dashboard.draw("suppliers-no-view-kept")
    await dashboard.go("/suppliers?level=critical")
    await expect(page.get_by_text("No supplier fits these filters")).to_be_visible()
    await dashboard.draw("suppliers-none-fits")


LAGS = {
    "worker-away": (reading(workers=0, behind=12_345), "the worker is away, and 12,345 events wait for it"),
    "worker-behind": (reading(behind=1_600_000), "the worker is 1.6 million events behind"),
    "worker-unread": (Lag(), "how far the worker is behind can't be read"),
}


@pytest.mark.usefixtures("no_console_errors")
@pytest.mark.parametrize("state", LAGS)
async def test_what_lags_is_said_on_every_page(dashboard: Dashboard, there: World, state: str) -> None:
    dashboard.kafka.answer, words = LAGS[state]
    for name in ("Amber & Ash Films", "Larch & Lace"):
        await quiet(there, name)
    await dashboard.sign_in()
    page = dashboard.page
    await expect(page.locator("#as-of")).to_contain_text(words)
    await expect(page.locator(".empty", has_text="Not known").first).to_be_visible()
    await dashboard.draw(f"{state}-today")
    await dashboard.go("/suppliers?level=critical")
    await expect(page.locator(".empty")).to_contain_text("Not known")
    await dashboard.draw(f"{state}-suppliers")
    await dashboard.go("/system")
    no_worker = "Kafka does not answer, so" if dashboard.kafka.answer.workers is None else "wait to be read"
    await expect(page.get_by_text(no_worker)).to_be_visible()
    await dashboard.draw(f"{state}-system")


async def test_postgres_is_away(dashboard: Dashboard, own: Settings) -> None:
    await dashboard.let_in()
    server, _, name = own.database_url.rpartition("/")
    async with await psycopg.AsyncConnection.connect(f"{server}/postgres", autocommit=True) as conn:
        await conn.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        await dashboard.go("/population")
        await expect(dashboard.page.get_by_text("The database does not answer")).to_be_visible()
        await dashboard.draw("postgres-away")
        await conn.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


async def test_the_login_says_what_is_wrong_with_what_was_shown(dashboard: Dashboard, own: Settings) -> None:
    page = dashboard.page
    refusals = {
        "login-no-token": ("not a token", "token is not valid"),
        "login-a-suppliers-token": (dashboard.token("supplier", SOMEBODY), "a supplier's token"),
        "login-an-old-token": (dashboard.token("agent", "emma", lifetime_s=-60), "token has expired"),
    }
    for name, (shown, said) in refusals.items():
        await dashboard.go("/login")
        await page.get_by_label("Your token").fill(shown)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text(said)
        await dashboard.draw(name)
    link = login_link(own, "emma")
    await page.goto(link)
    await expect(page.get_by_text("This link signs you in once.")).to_be_visible()
    await dashboard.draw("login-by-link")
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("heading", name="Today", exact=True).wait_for()
    await page.context.clear_cookies()
    await page.goto(link)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("This link has been used")
    await dashboard.draw("login-link-used")


@pytest.mark.usefixtures("no_console_errors")
@pytest.mark.parametrize("by", ["account", "nothing"])
async def test_the_login_where_nobody_develops(dashboard: Dashboard, own: Settings, by: str) -> None:
    provider = (
        {"oidc_issuer": "https://accounts.example.com", "oidc_client_id": "success"}
        if by == "account"
        else {}
    )
    live = own.model_copy(update={"development": False, "api_port": free_ports(1)[0], **provider})
    with serving(build_app(live), live.api_port) as url:
        await dashboard.page.goto(f"{url}/dashboard/login")
        said = "Sign in with your account" if provider else "Nobody can sign in yet"
        await expect(dashboard.page.get_by_text(said)).to_be_visible()
        await dashboard.draw(f"login-by-{by}")


@pytest.mark.usefixtures("no_console_errors")
async def test_a_session_is_over(dashboard: Dashboard, there: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.dashboard.live.CHECK_S", 0.2)
    await quiet(there, "Amber & Ash Films")
    await quiet(there, "Larch & Lace")
    await dashboard.sign_in()
    await dashboard.page.wait_for_selector("html[data-follows]")
    await there.query("UPDATE dashboard_sessions SET ended_at = now() WHERE ended_at IS NULL")
    await expect(dashboard.page.locator("#as-of")).to_contain_text("You are signed out")
    await dashboard.draw("signed-out-while-open")
    await dashboard.page.get_by_role("link", name="Population").click()
    await expect(dashboard.page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
    assert "next=/dashboard/population" in dashboard.page.url


async def test_what_went_wrong_is_a_page(
    dashboard: Dashboard, there: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    supplier_id = await quiet(there, "Larch & Lace")
    await dashboard.let_in()
    page = dashboard.page
    await dashboard.draw("error-not-there", f"/suppliers/{SOMEBODY}")
    await expect(page.get_by_role("heading", name="Not there")).to_be_visible()
    await dashboard.draw("error-not-understood", "/changes?days=0")
    await expect(page.get_by_role("heading", name="Not understood")).to_be_visible()
    await dashboard.go(f"/suppliers/{supplier_id}")
    await page.evaluate(
        "for (const one of document.querySelectorAll('[name=csrf]')) one.value = 'of yesterday'"
    )
    await page.get_by_label("For the team").fill("Prefers mornings.")
    await page.get_by_role("button", name="Keep note").click()
    await expect(page.get_by_role("heading", name="Not done")).to_be_visible()
    await dashboard.draw("error-page-too-old")
    await there.query("INSERT INTO suppliers (id) VALUES (%s)", SOMEBODY)
    await dashboard.draw("error-not-now", f"/suppliers/{SOMEBODY}/write/became_at_risk")

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("api.dashboard.population.store.population_moves", broken)
    await dashboard.go("/population")
    await expect(page.get_by_role("heading", name="Something went wrong")).to_be_visible()
    await dashboard.draw("error-of-ours")


@pytest.mark.usefixtures("no_console_errors")
async def test_the_keys_are_told(dashboard: Dashboard) -> None:
    await dashboard.sign_in()
    await dashboard.page.keyboard.press("?")
    await expect(dashboard.page.get_by_role("dialog", name="Keys")).to_be_visible()
    await dashboard.draw("keys", whole=False)
