"""The rules as an agent works on them: a draft, a mistake mended, put into force, seen in the history, rolled back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from playwright.async_api import Page, expect

from api.app import build_app
from embedded.registry import Addresses
from replay.impact.canary import compare
from replay.impact.canary_live import OfVersion
from runtime.configuration import OUR_TEMPLATES
from runtime.settings import Settings
from scoring.decisions.forecast import Counts, Forecast
from tests.agents.activating import activate
from tests.api.dashboard.rules.quiet_log import BEGINNING, events, profile, publish, sixty_days
from tests.browser import signing_in
from tests.browser.conftest import BOTH, LOOKS, NO_OVERFLOW, SIZES, CheckAxe, Screenshot
from tests.browser.serving import PATIENCE_S, free_ports, serving
from tests.cli.services.test_deliver import success
from tests.conftest import own_settings
from tests.docs.test_rules_example import LETTERS
from tests.docs.test_rules_example import example as docs_example

pytestmark = pytest.mark.usefixtures("no_console_errors")

Open = Callable[..., Awaitable[None]]
# On a phone each cell has its column's name beside it: a long one makes room for itself.
LABELS_COVER = """() => [...document.querySelectorAll('table.rows td[data-label]')].filter((cell) => {
    cell.dataset.label = 'as many words as fit into five lines of a narrow column of a phone';
    return cell.checkVisibility() && cell.getBoundingClientRect().height < 80;
}).map((cell) => cell.outerHTML)"""


@pytest.fixture(scope="module")
def rules_settings(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of these tests' own, as what is in force is so for everybody; Emma may change it."""
    [port] = free_ports(1)
    where = tmp_path_factory.mktemp("rules") / "state"
    url = f"http://127.0.0.1:{port}"
    with own_settings(stack, where, api_port=port, public_url=url, rules_editors="emma") as own:
        yield own


@pytest.fixture(scope="module")
def rules_url(rules_settings: Settings) -> Iterator[str]:
    """The address of their API."""
    with serving(build_app(rules_settings), rules_settings.api_port) as served:
        yield served


async def other_words(settings: Settings, folder: Path, said: str) -> int:
    """A version in which a letter ends otherwise, as `success config activate` puts it into force."""
    letter = folder / "templates" / "email" / "quick_win.txt"
    letter.parent.mkdir(parents=True)
    letter.write_text((OUR_TEMPLATES / "email" / "quick_win.txt").read_text("utf-8") + f"\n{said}\n", "utf-8")
    return await activate(settings, folder, "[levels]\nhealthy = 72\n")


@pytest.fixture
def open_as(page: Page, rules_url: str, token: Callable[..., str]) -> Open:
    """Let an agent in and go to an address."""
    return lambda path, agent="emma": signing_in.open_as(page, rules_url, token("agent", agent), path)


async def put_into_force(page: Page, field: str, value: str, note: str) -> None:
    await page.get_by_label(field, exact=True).fill(value)
    await page.get_by_label("Why, for the history").fill(note)
    await page.get_by_role("button", name="Put into force").click()
    await expect(page.get_by_role("status")).to_contain_text("It is in force")


async def test_from_a_draft_with_a_mistake_to_a_version_that_is_rolled_back(
    page: Page, open_as: Open, axe: CheckAxe, screenshot: Screenshot
) -> None:
    await open_as("/rules")
    await expect(page.get_by_role("heading", name="In force: what ships")).to_be_visible()
    await page.get_by_role("link", name="Change them").click()
    changes = page.get_by_role("region", name="What it says otherwise")
    await expect(changes).to_contain_text("Nothing yet")

    at_most = page.get_by_label("At most", exact=True)
    await at_most.fill("few")
    await expect(changes).to_contain_text("The draft: [caps], field 'total'")
    await axe(page)
    await screenshot(page, "rules-draft-mistake", full_page=True)
    await at_most.fill("2")
    row = changes.get_by_role("listitem").filter(has_text="caps.total")
    await expect(row).to_contain_text("2")
    await page.get_by_role("checkbox", name="became_at_risk").uncheck()
    await expect(changes).to_contain_text("trigger became_at_risk")
    await expect(changes).to_contain_text(
        "success replay --set caps.total=2 --set trigger.became_at_risk=off"
    )
    await axe(page)
    await screenshot(page, "rules-draft-changed", full_page=True)

    await page.get_by_role("button", name="Put into force").click()  # the browser asks for the note
    await expect(page.get_by_label("Why, for the history")).to_be_focused()
    await page.get_by_label("Why, for the history").fill("two are enough")
    await page.get_by_role("button", name="Put into force").click()
    await expect(page.get_by_role("status")).to_contain_text("It is in force")
    history = page.get_by_role("region", name="History")
    newest = history.get_by_role("row").nth(1)
    await expect(newest).to_contain_text("two are enough")
    number = int(re.findall(r"Version (\d+)", await newest.inner_text())[0])
    await expect(page.get_by_role("region", name="Policy in force")).to_contain_text("At most 2 messages")

    await page.goto(page.url.partition("?")[0] + "/draft")
    await put_into_force(page, "At most", "1", "one is enough")
    await page.get_by_role("link", name=f"Version {number}", exact=True).click()
    await expect(page.get_by_role("region", name="What it says otherwise")).to_contain_text("caps.total")
    await page.get_by_role("link", name="Put it into force again").click()
    await expect(page.get_by_role("region", name="What that changes")).to_contain_text("caps.total")
    await axe(page)
    await screenshot(page, "rules-again", full_page=True)
    await page.get_by_label("Why, for the history").fill("one was too few")
    await page.get_by_role("button", name=f"Put version {number} into force").click()
    await expect(page.get_by_role("status")).to_contain_text("in force again")
    await expect(history.get_by_role("row").nth(1)).to_contain_text(f"version {number} again")
    await expect(page.get_by_role("heading", name=f"In force: version {number + 2}")).to_be_visible()
    await axe(page)


async def test_a_draft_is_made_by_keys_alone(page: Page, open_as: Open) -> None:
    await open_as("/rules/draft")
    await page.get_by_label("At most", exact=True).focus()
    await page.keyboard.press("Tab")
    await page.keyboard.press("ControlOrMeta+A")
    await page.keyboard.type("1")
    await expect(page.get_by_role("region", name="What it says otherwise")).to_contain_text("caps.positive")
    await page.get_by_role("checkbox", name="signed_up").focus()
    await page.keyboard.press("Space")
    await expect(page.get_by_role("region", name="What it says otherwise")).to_contain_text(
        "trigger signed_up"
    )
    await page.get_by_label("Why, for the history").focus()
    await page.keyboard.type("by keys")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_contain_text("It is in force")


async def test_who_may_not_change_them_tries_and_gets_the_command(page: Page, open_as: Open) -> None:
    await open_as("/rules", "noah")
    await expect(page.get_by_text("SUCCESS_RULES_EDITORS")).to_be_visible()
    await page.get_by_role("link", name="Try other numbers").click()
    await page.get_by_label("At most", exact=True).fill("9")
    changes = page.get_by_role("region", name="What it says otherwise")
    await expect(changes).to_contain_text("success config activate --set caps.total=9")
    await expect(page.get_by_role("button", name="Put into force")).to_have_count(0)


async def test_a_letter_is_looked_at_in_a_frame_that_can_do_nothing(page: Page, open_as: Open) -> None:
    await open_as("/rules")
    await page.get_by_role("link", name="See the letters").click()
    await page.get_by_role("combobox", name="Letter").select_option("no_login_7_days")
    await page.get_by_role("combobox", name="Language").select_option("de")
    await page.get_by_role("button", name="Show").click()
    await page.wait_for_url(re.compile("letter=no_login_7_days&locale=de"))
    phone = page.frame_locator("iframe.phone")
    await expect(phone.get_by_role("heading").first).to_be_visible()
    assert await page.locator("iframe.phone").evaluate("frame => frame.clientWidth") == 320
    await expect(page.get_by_role("region", name="As text")).to_contain_text("Sie")


async def test_a_condition_with_its_letters_is_added_tried_and_put_into_force_on_the_page_alone(  # noqa: PLR0915 - one walk
    page: Page, open_as: Open, rules_settings: Settings, axe: CheckAxe, screenshot: Screenshot
) -> None:
    """The example of docs/rules.md; a worker then decides by it."""
    quiet, _ = await sixty_days(rules_settings)
    worker = await success(rules_settings.model_copy(update={"metrics_port": None}), "worker")
    example, text = docs_example(), page.locator("textarea[name=text]")
    changes = page.get_by_role("region", name="What it says otherwise")
    parts = page.get_by_role("navigation", name="Parts of the draft")
    await open_as("/rules")
    await page.get_by_role("link", name="Change them").click()

    await parts.get_by_role("link", name="Rules").click()
    in_force = await text.input_value()
    wrong = example["rules.toml"].replace("last_client_activity", "last_activity")
    await text.fill(f"{in_force}\n{wrong}")
    await expect(changes).to_contain_text(re.compile(r"rules\.toml, line \d+: condition clients_went_quiet"))
    await page.reload()
    await expect(text).to_have_value(re.compile('since = "last_activity"'))
    await text.fill(f"{in_force}\n{example['rules.toml']}")
    await expect(changes).to_contain_text("condition clients_went_quiet")
    await expect(changes).to_contain_text("no trigger of the policy listens to it")
    await axe(page)

    await parts.get_by_role("link", name="Policy").click()
    await text.fill(f"{await text.input_value()}\n{example['policy.toml']}")
    await expect(changes).to_contain_text("there is no templates/email/clients_went_quiet.txt")

    await parts.get_by_role("link", name="Words").click()
    await axe(page)
    await page.get_by_label("Name, as the trigger").fill("clients_went_quiet")
    await page.get_by_role("button", name="Begin it").click()
    await expect(changes).to_contain_text("to_be_written' is undefined")
    for file in LETTERS:
        await page.goto(f"{page.url.partition('?')[0]}?file={file}")
        await text.fill(example[file])
        await expect(page.get_by_role("region", name="Line by line")).not_to_contain_text("to_be_written")
    await expect(changes).to_contain_text("trigger clients_went_quiet")
    await page.get_by_role("link", name="See the letter").click()
    await expect(page.get_by_text("Drei ruhige Wochen").first).to_be_visible()
    await page.get_by_role("combobox", name="Language").select_option("en-GB")
    await page.get_by_role("button", name="Show").click()
    await expect(page.get_by_text("Three quiet weeks").first).to_be_visible()
    await page.get_by_role("link", name="The draft").click()

    await parts.get_by_role("link", name="Last 30 days").click()
    await page.get_by_role("button", name="Try it").click()
    row = page.get_by_role("row").filter(has_text="clients_went_quiet")
    await expect(row).to_be_visible(timeout=60_000)
    await row.locator("summary").first.click()
    await expect(row.locator(f"a[href='/dashboard/suppliers/{quiet}']")).to_be_visible()
    await axe(page)
    await screenshot(page, "rules-trial", full_page=True)
    await page.get_by_label("Why, for the history").fill("who hears nothing from clients")
    await page.get_by_role("button", name="Put into force").click()
    await expect(page.get_by_role("status")).to_contain_text("It is in force")

    heading = await page.get_by_role("heading", name=re.compile("In force: version")).inner_text()
    number = int(heading.rpartition(" ")[2])
    try:
        assert await said_by_a_worker(rules_settings) == (number, "clients_went_quiet")
    finally:
        worker.terminate()
        await worker.wait()


async def said_by_a_worker(settings: Settings) -> tuple[int, str] | None:
    """The version that a row of somebody who has just gone quiet rests on, and its template."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            supplier = str(uuid4())
            here_again = events(supplier, 0, [("supplier.logged_in", {})])
            await publish(settings, [profile(supplier), *events(supplier, 22, BEGINNING), *here_again])
            for _ in range(10):
                await asyncio.sleep(0.5)
                if found := _row_of(settings, supplier):
                    return found


def _row_of(settings: Settings, supplier: str) -> tuple[int, str] | None:
    with psycopg.connect(settings.database_url) as conn:
        return conn.execute(
            "SELECT (metadata -> 'signal' ->> 'config_version')::int, template_used FROM success_interventions "
            "WHERE supplier_id = %s AND trigger_condition = 'clients_went_quiet'",
            (supplier,),
        ).fetchone()


async def test_it_looks_right(
    page: Page,
    open_as: Open,
    rules_url: str,
    rules_settings: Settings,
    tmp_path: Path,
    axe: CheckAxe,
    screenshot: Screenshot,
) -> None:
    await open_as("/rules/draft?set=spacing.emails%3D30h&set=trigger.celebrate_nothing%3Doff")
    await expect(page.get_by_text("No field of this page is for trigger.celebrate_nothing")).to_be_visible()
    number = await other_words(rules_settings, tmp_path / "words", "Seen on every screen, & <well>.")
    pages = {
        "rules-draft": "/draft?set=spacing.emails%3D344h",
        "rules": "",
        "rules-version": f"/versions/{number}",
        "rules-again": "/versions/1/again",
        "rules-letters": "/letters?letter=no_login_7_days",
        "rules-text": "/draft/text?file=rules.toml",
        "rules-letter": "/draft/text?file=templates/email/we_miss_you.html",
        "rules-words": "/draft/words",
        "rules-trial": "/draft/trial",
    }
    for name, path in pages.items():
        await page.goto(f"{rules_url}/dashboard/rules{path}")
        if name == "rules-letters":
            await expect(page.frame_locator("iframe.phone").get_by_role("heading").first).to_be_visible()
        for width, scheme in LOOKS:
            await page.set_viewport_size({"width": width, "height": SIZES[width]})
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            await screenshot(page, f"dashboard-{name}-{width}-{scheme}", full_page=True)
            assert await page.evaluate(NO_OVERFLOW), f"{name} is wider than {width} px"
            await axe(page)


@pytest.mark.parametrize(("suppliers", "sent"), [(1_000, 715), (1_000, 1_400), (20, 14)])
async def test_a_version_beside_its_forecast_looks_right(
    page: Page,
    open_as: Open,
    axe: CheckAxe,
    screenshot: Screenshot,
    monkeypatch: pytest.MonkeyPatch,
    suppliers: int,
    sent: int,
) -> None:
    """On some partitions: as forecast, not so, and too early; what a log of months would give is given here."""
    elsewhere = _counts(4 * suppliers, 4 * suppliers * 7 // 10)
    year = _counts(1_000, 6_000, days=60.0)
    found = compare(
        Forecast("d", "2026-01-01T00:00:00.000Z", "2026-03-02T00:00:00.000Z", year, year),
        _counts(suppliers, sent),
        elsewhere,
        7.0,
    )

    rules = import_module("api.dashboard.rules.page")  # the name is that of a function, too

    async def beside(*_: object) -> OfVersion:
        return OfVersion(2, (0, 3), found)

    monkeypatch.setattr(rules, "_beside_its_forecast", beside)
    await open_as("/rules")
    section = page.get_by_role("region", name=re.compile("beside its forecast"))
    await expect(section).to_contain_text(found.says[1:])
    if found.verdict != "not as forecast":
        await section.locator("summary").click()
    for width, height in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in BOTH:
            await page.emulate_media(color_scheme=scheme)
            name = f"rules-forecast-{found.verdict.replace(' ', '_')}-{width}-{scheme}"
            await screenshot(page, name, full_page=True)
        assert await page.evaluate(NO_OVERFLOW), width
    await axe(page)
    await page.set_viewport_size({"width": 320, "height": 640})
    assert await page.evaluate(LABELS_COVER) == []


def _counts(suppliers: int, sent: int, days: float = 7.0) -> Counts:
    """So many suppliers for so many days; a tenth is critical, and of ten messages one is held back."""
    by_trigger = {"no_login_7_days": sent * 2 // 3, "first_form_created": sent - sent * 2 // 3}
    levels = {
        "critical": suppliers // 10,
        "at_risk": suppliers // 5,
        "healthy": suppliers - suppliers // 10 - suppliers // 5,
    }
    return Counts(
        suppliers, suppliers * days, by_trigger, {"weekly_cap": round(suppliers * days / 100)}, levels
    )
