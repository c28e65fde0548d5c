"""What a supplier can do with the coach: tips, messages, calls, celebrations, and being left alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page, expect

from scoring.time import DAY
from store import milestones
from tests.agents.delivery.world import World
from tests.browser.coach_page import CONGRATULATIONS, HEALTHY, OFFER, CoachPage, remembered, told, until
from topics.time import format_time

pytestmark = pytest.mark.usefixtures("no_console_errors")
MakeCoach = Callable[..., Awaitable[CoachPage]]


@pytest_asyncio.fixture(loop_scope="session")
async def coach_of(page: Page, api_url: str, token: Callable[..., str], world: World) -> MakeCoach:
    """The coach of a new supplier; keywords are those of their health."""

    async def made(profile: dict[str, Any] | None = None, **health: Any) -> CoachPage:
        supplier = await world.supplier(**(profile or {}))
        if health:
            await world.health(supplier, **health)
        return CoachPage(page, api_url, token, supplier)

    return made


async def reach(world: World, supplier: str, milestone: str, *, days_ago: float = 0) -> None:
    """They reach a milestone, as the intervention agent writes it."""
    async with world.pool.connection() as conn:
        reached = {
            "id": f"{supplier[:-8]}{abs(hash(milestone)) % 16**8:08x}",
            "supplier_id": supplier,
            "milestone": milestone,
            "at": format_time(round(world.clock.now_ms() - days_ago * DAY)),
            "data": {},
        }
        await milestones.save(conn, [reached])


# tips --------------------------------------------------------------------------------------------------


async def test_the_tip_follows_the_page(coach_of: MakeCoach) -> None:
    coach = await coach_of()
    await coach.open("/clients")
    await expect(coach.card).to_contain_text("From about ten couples on")

    await coach.page.get_by_role("navigation").get_by_role("link", name="Templates").click()

    await expect(coach.card).to_contain_text("Start from a template")


async def test_a_tip_put_away_stays_away(coach_of: MakeCoach, world: World) -> None:
    coach = await coach_of()
    await coach.open("/journeys")
    await coach.card.get_by_role("button", name="Not now").click()
    await expect(coach.card).not_to_contain_text("A blank page takes an evening")

    await coach.page.reload()
    await coach.ready()
    await coach.pill.click()

    await expect(coach.card.locator(".tip")).to_be_visible()
    await expect(coach.card).not_to_contain_text("A blank page takes an evening")
    assert {
        "tip:template_before_blank_page shown",
        "tip:template_before_blank_page dismissed",
    } <= await remembered(world, coach.supplier)
    assert [kind for kind in await told(world, coach.supplier) if kind.startswith("tip")][:2] == [
        "tip_shown",
        "tip_dismissed",
    ]


async def test_the_host_goes_where_the_tip_leads(coach_of: MakeCoach, world: World) -> None:
    """The demo host prevents `success-action` and routes by itself; the page is not loaded anew."""
    coach = await coach_of()
    await coach.open("/journeys")
    await coach.page.evaluate("window.stayed = true")

    await coach.card.get_by_role("link", name="Browse templates").first.click()

    await coach.page.wait_for_url("**/demo/host/templates")
    assert await coach.page.evaluate("window.stayed") is True
    await expect(coach.card).to_be_hidden()
    await until(lambda: _has(world, coach.supplier, "tip:template_before_blank_page clicked"))


async def _has(world: World, supplier: str, what: str) -> bool:
    return what in await remembered(world, supplier)


async def test_progress_is_steps_done_and_milestones_with_their_next_step(coach_of: MakeCoach) -> None:
    coach = await coach_of()
    await coach.open()

    await expect(coach.card.get_by_role("progressbar", name="Your setup")).to_have_attribute(
        "aria-valuetext", "4 of 7 steps done"
    )
    await coach.card.get_by_text("All steps").click()
    await expect(coach.card.get_by_role("link", name="Use a template")).to_be_visible()
    await coach.card.get_by_text("Milestones").click()
    await expect(coach.card.get_by_text("5 more to bring in")).to_be_visible()
    await coach.card.get_by_text("More that helps").click()
    await expect(coach.card.get_by_role("link", name="See open forms")).to_be_visible()


async def test_what_they_do_shows_at_once(coach_of: MakeCoach, world: World) -> None:
    coach = await coach_of()
    await coach.open("/templates")
    await expect(coach.card.get_by_text("4 of 7 steps done")).to_be_visible()

    await world.health(
        coach.supplier, seq=12, score=54, features=["clients_imported", "forms_created", "templates_used"]
    )

    await expect(coach.card.get_by_text("5 of 7 steps done")).to_be_visible()


async def test_nobody_reads_at_risk_or_critical_or_a_grade(coach_of: MakeCoach) -> None:
    for level in ("at_risk", "critical"):
        coach = await coach_of(level=level, score=33, seq=11)
        async with coach.page.expect_response("**/api/coach/*?page=*") as answered:
            await coach.open()
        words = await (await answered.value).text() + await coach.card.inner_text()
        assert not [word for word in ("at_risk", "at risk", "critical", "33", "riskLevel") if word in words]


# messages ----------------------------------------------------------------------------------------------


async def test_a_message_is_shown_opened_and_used(coach_of: MakeCoach, world: World) -> None:
    coach = await coach_of(**HEALTHY | {"features": []})
    row = await world.row(coach.supplier, "signed_up")
    await world.delivery().deliver_due()

    await coach.visit()
    await expect(coach.pill).to_contain_text("Welcome, Sarah")
    await coach.pill.click()
    await expect(coach.card).to_contain_text("Bring your clients in")
    await until(lambda: _column(world, row, "opened_at"))
    assert (await world.find(row))["clicked_at"] is None

    await coach.card.get_by_role("link", name="Bring your clients in").click()

    await until(lambda: _column(world, row, "clicked_at"))
    assert [kind for kind in await told(world, coach.supplier) if kind in {"opened", "clicked"}] == [
        "opened",
        "clicked",
    ]
    await coach.page.reload()
    await coach.ready()
    await expect(coach.pill).not_to_contain_text("Welcome")


async def _column(world: World, row: str, name: str) -> Any:
    return (await world.find(row))[name]


async def test_a_message_arrives_in_an_open_coach(coach_of: MakeCoach, world: World) -> None:
    coach = await coach_of(**HEALTHY)
    await coach.open()
    await world.row(coach.supplier, "signed_up")

    await world.delivery().deliver_due()

    await expect(coach.card.get_by_role("heading", name="Welcome, Sarah")).to_be_visible()


# calls -------------------------------------------------------------------------------------------------


async def test_a_healthy_supplier_is_offered_no_call(coach_of: MakeCoach) -> None:
    coach = await coach_of(**HEALTHY)
    await coach.open()

    await expect(coach.card.get_by_role("heading", name="Hello Sarah")).to_be_visible()
    await expect(coach.page.get_by_text(OFFER)).to_have_count(0)


async def test_they_book_one_of_three_times_in_their_own_zone(coach_of: MakeCoach, world: World) -> None:
    coach = await coach_of({"timezone": "America/New_York"})
    offer = await world.row(coach.supplier, "became_critical")
    await world.health(coach.supplier, level="critical", seq=12, score=30)
    await world.delivery().deliver_due()
    await coach.open()
    await coach.card.get_by_role("button", name="Pick a time").click()
    await expect(coach.card.get_by_text("Times are New York time.")).to_be_visible()
    choices = coach.card.locator(".choice")
    await expect(choices).to_have_count(4)

    text = await choices.first.inner_text()
    await choices.first.click()
    await coach.card.get_by_label("What is it about?").select_option("growth_consultation")
    await coach.card.get_by_role("button", name="Book the call").click()

    await expect(coach.card.get_by_text(f"Your call is booked: {text}.")).to_be_visible()
    await expect(coach.page.get_by_text(OFFER)).to_have_count(0)
    found = await world.query(
        "SELECT * FROM support_interactions WHERE supplier_id = %s AND scheduled_at IS NOT NULL",
        coach.supplier,
    )
    assert [(row["interaction_type"], row["status"]) for row in found] == [("check_in", "scheduled")]
    assert str(found[0]["intervention_id"]) == offer
    row = await world.find(offer)
    assert row["opened_at"] is not None
    assert row["clicked_at"] is not None


async def test_a_time_that_was_given_away_meanwhile_brings_other_times(
    coach_of: MakeCoach, world: World
) -> None:
    coach = await coach_of()
    await coach.open()
    await coach.card.get_by_role("button", name="Pick a time").click()
    await coach.card.locator(".choice").first.click()
    value = await coach.card.locator("input[type=radio]").first.get_attribute("value")
    other = await world.supplier()
    await world.query(
        "INSERT INTO support_interactions (supplier_id, interaction_type, scheduled_at, ends_at) "
        "VALUES (%s, 'check_in', %s::timestamptz, %s::timestamptz + interval '15 min')",
        other, value, value,
    )  # fmt: skip

    await coach.card.get_by_role("button", name="Book the call").click()
    await expect(coach.card.get_by_role("alert")).to_contain_text("That time does not work")
    await coach.card.locator(".choice").first.click()
    await coach.card.get_by_role("button", name="Book the call").click()

    await expect(coach.card.get_by_text("Your call is booked")).to_be_visible()
    found = await world.query(
        "SELECT status FROM support_interactions WHERE supplier_id = %s AND scheduled_at IS NOT NULL",
        coach.supplier,
    )
    assert len(found) == 1


async def test_a_time_of_their_own_that_does_not_work_brings_those_that_do(coach_of: MakeCoach) -> None:
    coach = await coach_of()
    await coach.open()
    await coach.card.get_by_role("button", name="Pick a time").click()
    await coach.card.get_by_role("button", name="Book the call").click()
    await expect(coach.card.get_by_role("alert")).to_have_text("Pick a time first.")

    await coach.card.get_by_label("Another time").click()
    await coach.card.get_by_label("Day and time").fill("2027-01-02T03:00")  # a Saturday night
    await coach.card.get_by_role("button", name="Book the call").click()

    await expect(coach.card.get_by_role("alert")).to_contain_text("That time does not work")
    await expect(coach.card.locator(".choice")).to_have_count(4)


# celebrations ------------------------------------------------------------------------------------------


async def test_a_celebration_takes_the_focus_and_gives_it_back(coach_of: MakeCoach, world: World) -> None:
    coach = await coach_of()
    await coach.open()
    await expect(coach.card).to_be_visible()
    await reach(world, coach.supplier, "first_form")

    await expect(coach.modal.get_by_role("heading", name=CONGRATULATIONS)).to_be_focused()
    names = []
    for _ in range(4):
        await coach.page.keyboard.press("Tab")
        names.append(await coach.modal.locator(":focus").inner_text())
    assert names == ["Send the form", "Tell others", "Carry on", "Send the form"]
    await coach.page.keyboard.press("Shift+Tab")
    assert await coach.modal.locator(":focus").inner_text() == "Carry on"
    await coach.page.keyboard.press("Escape")

    await expect(coach.modal).to_have_count(0)
    await expect(coach.card.get_by_role("heading", name="Hello Sarah")).to_be_focused()


async def test_a_milestone_is_celebrated_once(coach_of: MakeCoach, world: World) -> None:
    coach = await coach_of()
    await coach.visit()
    await coach.ready()
    await coach.page.evaluate(
        "window.heard = []; document.addEventListener('success-milestone', (event) => window.heard.push(event.detail))"
    )
    await reach(world, coach.supplier, "first_form")
    await expect(coach.modal.locator("canvas[data-thrown]")).to_have_count(1)
    await coach.modal.get_by_role("button", name="Carry on").click()
    assert await coach.page.evaluate("window.heard") == [{"type": "first_form", "message": CONGRATULATIONS}]
    await until(lambda: _has(world, coach.supplier, "milestone:first_form celebrated"))

    await coach.page.reload()
    await coach.ready()
    await coach.pill.click()
    await expect(coach.card).to_be_visible()

    await expect(coach.modal).to_have_count(0)
    found = await world.query(
        "SELECT celebrated FROM success_milestones WHERE supplier_id = %s", coach.supplier
    )
    assert found == [{"celebrated": True}]
    assert (await told(world, coach.supplier)).count("milestone_celebrated") == 1


async def test_there_is_no_confetti_for_who_wants_no_motion(coach_of: MakeCoach, world: World) -> None:
    coach = await coach_of()
    await coach.page.emulate_media(reduced_motion="reduce")
    asked: list[str] = []
    coach.page.on("request", lambda request: asked.append(request.url))
    await coach.visit()
    await coach.ready()
    await reach(world, coach.supplier, "first_form")

    await expect(coach.modal.get_by_text(CONGRATULATIONS)).to_be_visible()
    await coach.modal.get_by_role("button", name="Carry on").click()

    await expect(coach.modal).to_have_count(0)
    assert not [url for url in asked if "confetti" in url]


async def test_several_milestones_at_once_are_one_celebration(coach_of: MakeCoach, world: World) -> None:
    coach = await coach_of()
    await reach(world, coach.supplier, "first_form", days_ago=20)
    await reach(world, coach.supplier, "ten_clients", days_ago=10)

    await coach.visit()

    await expect(
        coach.modal.get_by_role("heading", name="Congratulations on your first ten clients!")
    ).to_be_visible()
    await expect(coach.modal).to_contain_text(f"And there is more: {CONGRATULATIONS}")
    await coach.modal.get_by_role("button", name="Carry on").click()
    await expect(coach.modal).to_have_count(0)
    await until(lambda: _has(world, coach.supplier, "milestone:first_form celebrated"))


async def test_the_email_was_faster_and_the_coach_celebrates_all_the_same(
    coach_of: MakeCoach, world: World
) -> None:
    """But not what an email told their long ago."""
    coach = await coach_of()
    await reach(world, coach.supplier, "ten_clients", days_ago=30)
    await reach(world, coach.supplier, "first_form")
    await world.query(
        "UPDATE success_milestones SET celebrated = true WHERE supplier_id = %s", coach.supplier
    )

    await coach.visit()

    await expect(coach.modal.get_by_text(CONGRATULATIONS)).to_be_visible()
    await expect(coach.modal.get_by_text("ten clients")).to_have_count(0)


async def test_they_are_not_interrupted_in_the_middle_of_a_word(coach_of: MakeCoach, world: World) -> None:
    coach = await coach_of()
    await coach.visit("/forms/new")
    await coach.ready()
    field = coach.page.get_by_test_id("form-name")
    await field.press_sequentially("Sum", delay=10)
    await reach(world, coach.supplier, "first_form")
    await field.press_sequentially("mer enquiries", delay=60)

    assert await field.input_value() == "Summer enquiries"
    await expect(coach.modal.get_by_text(CONGRATULATIONS)).to_be_visible()


async def test_sharing_uses_the_device_or_the_clipboard(
    coach_of: MakeCoach, world: World, context: BrowserContext
) -> None:
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    coach = await coach_of()
    await reach(world, coach.supplier, "first_form")
    await coach.visit()
    await coach.page.evaluate(
        "Object.defineProperty(navigator, 'share', { value: undefined, configurable: true })"
    )
    await coach.modal.get_by_role("button", name="Tell others").click()
    await expect(coach.modal.get_by_role("status")).to_have_text("Copied. Paste it wherever you like.")
    assert "one form" in await coach.page.evaluate("navigator.clipboard.readText()")

    await coach.page.evaluate(
        "Object.defineProperty(navigator, 'share', { configurable: true, "
        "value: async (what) => (window.sharedWith = what) })"
    )
    await coach.modal.get_by_role("button", name="Tell others").click()

    await coach.page.wait_for_function("window.sharedWith?.title.startsWith('Congratulations')")
    await until(lambda: _has(world, coach.supplier, "milestone:first_form shared"))


# being left alone --------------------------------------------------------------------------------------


async def test_they_switch_everything_off_and_on_again(coach_of: MakeCoach, world: World) -> None:
    coach = await coach_of()
    await coach.open()
    await coach.card.get_by_role("button", name="Tips and messages").click()
    await coach.card.get_by_role("button", name="Switch everything off").click()
    await coach.ready("opted_out")
    await expect(coach.card.get_by_text("Tips and messages are switched off.")).to_be_visible()
    assert (await world.query("SELECT all_opt_out FROM suppliers WHERE id = %s", coach.supplier))[0][
        "all_opt_out"
    ]

    await reach(world, coach.supplier, "first_form")
    await coach.page.reload()
    await coach.ready("opted_out")
    await expect(coach.page.get_by_text(OFFER)).to_have_count(0)
    await expect(coach.modal).to_have_count(0)
    await coach.pill.click()
    await coach.card.get_by_role("button", name="Switch them on").click()

    await expect(coach.modal.get_by_text(CONGRATULATIONS)).to_be_visible()


async def test_they_take_a_break(coach_of: MakeCoach, world: World) -> None:
    coach = await coach_of()
    await coach.open()
    await coach.card.get_by_role("button", name="Tips and messages").click()
    await coach.card.get_by_role("button", name="A break of 30 days").click()

    await expect(coach.card.get_by_text("Quiet until")).to_be_visible()
    await coach.card.get_by_role("button", name="End the break").click()
    await expect(coach.card.locator(".tip")).to_be_visible()
    found = await world.query("SELECT paused_until FROM suppliers WHERE id = %s", coach.supplier)
    assert found == [{"paused_until": None}]


async def test_it_makes_way_for_what_they_type_in(coach_of: MakeCoach) -> None:
    coach = await coach_of()
    await coach.page.set_viewport_size({"width": 360, "height": 640})
    await coach.open("/forms/new")
    await coach.page.evaluate(
        "const notes = document.createElement('textarea');"
        "Object.assign(notes.style, { position: 'fixed', inset: '500px 0 0 0' });"
        "document.querySelector('main').append(notes)"
    )
    await expect(coach.card).to_be_visible()
    await coach.page.evaluate("document.querySelector('textarea').focus()")

    await expect(coach.card).to_be_hidden()
    await expect(coach.pill).to_be_hidden()
    await coach.page.keyboard.type("They want doves")
    await coach.page.evaluate("document.activeElement.blur()")
    await expect(coach.pill).to_be_visible()


async def test_the_keyboard_is_enough(coach_of: MakeCoach) -> None:
    coach = await coach_of()
    await coach.visit("/journeys")
    await coach.ready()
    await coach.pill.focus()
    await coach.page.keyboard.press("Enter")
    await expect(coach.card.get_by_role("heading", name="Hello Sarah")).to_be_focused()
    await coach.page.keyboard.press("Tab")
    await coach.page.keyboard.press("Tab")
    await expect(coach.card.get_by_role("button", name="Pick a time")).to_be_focused()
    await coach.page.keyboard.press("Enter")
    await expect(coach.card.get_by_text("When suits you?")).to_be_visible()

    await coach.page.keyboard.press("Escape")

    await expect(coach.card).to_be_hidden()
    await expect(coach.pill).to_be_focused()
