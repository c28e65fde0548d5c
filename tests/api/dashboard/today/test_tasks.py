"""Calls to make: none is lost or doubled, each act is done once and audited, and what makes no sense is not to do."""

from __future__ import annotations

import csv
import io
import re
from typing import Any
from uuid import uuid4

import pytest

from runtime.clock import ManualClock
from scoring.time import DAY, HOUR
from tests.agents.delivery.world import NOW, World
from tests.api.dashboard.conftest import Desk, add_changes, fresh_id
from topics.time import format_time

pytestmark = pytest.mark.stack

OPEN = "SELECT * FROM support_interactions WHERE supplier_id = %s AND status = 'scheduled'"


@pytest.fixture
async def agent(stranger: Desk) -> Desk:
    """An agent of this test's own, whose book is empty."""
    await stranger.sign_in(f"agent {uuid4().hex[:8]}")
    return stranger


async def offered(world: World, **profile: Any) -> str:
    """A supplier for whom the engine asked for a call, which was sent: the id of the supplier."""
    supplier_id = await world.supplier(**profile)
    await world.health(supplier_id, seq=11, score=20, level="critical", churn_probability=0.9)
    await world.row(supplier_id, "became_critical", signal={"seq": 11, "level": "critical"})
    await world.delivery().deliver_due()
    assert len(await world.query(OPEN, supplier_id)) == 1
    return supplier_id


async def task_of(world: World, supplier_id: str) -> str:
    """The id of their only task."""
    [task] = await world.query(OPEN, supplier_id)
    return str(task["id"])


async def test_what_to_say_is_in_their_language_and_then_in_english(agent: Desk, world: World) -> None:
    supplier_id = await offered(world, locale="de-DE", first_name="Anna")
    await agent.post(f"/dashboard/suppliers/{supplier_id}/take", next="/dashboard")
    for text in (await book(agent), await agent.page(f"/dashboard/suppliers/{supplier_id}")):
        assert "What to say, in German</summary>" in text
        german = text.partition('lang="de-DE"><li>')[2]
        assert german.startswith("Guten Tag Anna, hier ist WedSync")
        assert "Hello Anna, this is WedSync" in german
    # without a task, the suggestion to call has them too
    await agent.post(f"/dashboard/tasks/{await task_of(world, supplier_id)}/done", outcome="resolved")
    other = await world.supplier(locale="en-US", first_name="Ben")
    await world.health(other, seq=11, score=20, level="critical", churn_probability=0.9)
    text = await agent.page(f"/dashboard/suppliers/{other}")
    assert "What to say</summary>" in text
    assert text.count("this is WedSync") == 1


async def book(desk: Desk) -> str:
    """The part of the agent's own page that is to be done."""
    return re.split(r'id="call-now"', await desk.page("/dashboard?book=mine"))[0]


async def act(desk: Desk, form: str, **fields: Any) -> str:
    """Send a form twice, as a finger does, and load the page that it leads to."""
    for _ in range(2):
        answer = await desk.post(f"/dashboard/{form}", next="/dashboard?book=mine", **fields)
        assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith("/dashboard?book=mine&said=")
    return await desk.page(answer.headers["location"])


def later(clock: ManualClock, span: int) -> None:
    """Let time pass, in ms."""
    clock.advance_to(clock.now_ms() + span)


async def audited(world: World, supplier_id: str) -> list[str]:
    """What was noted about them, in order."""
    found = await world.query("SELECT action FROM audit_log WHERE supplier_id = %s ORDER BY id", supplier_id)
    return [row["action"] for row in found]


async def test_a_call_that_was_sent_is_on_the_teams_list_and_goes_with_one_click_into_my_book(
    agent: Desk, world: World
) -> None:
    supplier_id = await offered(
        world, business_name="Amber Weddings", phone="+44 20 7946 0000", plan="enterprise"
    )
    text = await agent.page(f"/dashboard/suppliers/{supplier_id}")
    assert "Due tomorrow" in text
    assert "the team's" in text
    listed = list(csv.DictReader(io.StringIO((await agent.get("/dashboard/calls.csv")).text[1:])))
    [row] = [row for row in listed if row["id"] == supplier_id]
    assert (row["kind"], row["phone"], row["reachable"]) == ("offer", "'+44 20 7946 0000", "09:00 their time")
    assert row["why"].startswith("5 clients")
    assert "point" not in row["would_help"]
    assert "Amber Weddings" not in await book(agent)
    await act(agent, f"suppliers/{supplier_id}/take")
    mine = await book(agent)
    assert "Amber Weddings" in mine
    assert 'href="tel:+442079460000"' in mine
    assert "Hello Sarah, this is WedSync, calling about Amber Weddings" in mine
    await act(agent, f"suppliers/{supplier_id}/give-back")
    assert "Amber Weddings" not in await book(agent)
    assert await audited(world, supplier_id) == ["supplier.taken_over", "supplier.given_back"]


async def test_a_second_offer_renews_the_first_and_an_agents_own_words_stay(
    agent: Desk, world: World
) -> None:
    supplier_id = await offered(world)
    first = await task_of(world, supplier_id)
    later(world.clock, 8 * DAY)
    again = await world.row(supplier_id, "became_critical", signal={"seq": 11, "level": "critical"})
    await world.delivery().deliver_due()
    assert await world.status(again) == ("sent", None)
    [task] = await world.query(OPEN, supplier_id)
    assert (str(task["id"]), str(task["intervention_id"])) == (first, again)
    await act(agent, f"tasks/{first}/done", outcome="not_needed")
    await act(agent, f"suppliers/{supplier_id}/task", request_id=fresh_id(), notes="Ask about May")
    later(world.clock, 8 * DAY)
    await world.row(supplier_id, "became_critical", signal={"seq": 11, "level": "critical"})
    await world.delivery().deliver_due()
    [task] = await world.query(OPEN, supplier_id)
    assert task["notes"] == "Ask about May"


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("resolved", "completed"), ("escalated", "completed"), ("not_needed", "cancelled")],
)
async def test_how_a_call_went_ends_it_once(agent: Desk, world: World, outcome: str, status: str) -> None:
    supplier_id = await offered(world, business_name="Birch Films")
    await add_changes(world, supplier_id, (NOW - HOUR, 20, "critical"))
    await act(agent, f"suppliers/{supplier_id}/take")
    task = await task_of(world, supplier_id)
    assert "Birch Films" in await book(agent)
    done = await act(agent, f"tasks/{task}/done", outcome=outcome, notes="Back after the season")
    assert "Done, and noted." in done
    # It is not suggested again this week, either.
    assert "Birch Films" not in done.split('id="changed"')[0]
    [row] = await world.query("SELECT * FROM support_interactions WHERE id = %s", task)
    assert row["status"] == status
    assert row["done_by"].startswith("agent ")
    assert row["notes"].endswith("\n\nBack after the season")
    assert await audited(world, supplier_id) == [
        "supplier.taken_over",
        "call_completed" if status == "completed" else "call_cancelled",
    ]


async def test_a_follow_up_is_a_task_in_a_week(agent: Desk, world: World) -> None:
    supplier_id = await offered(world)
    await act(agent, f"tasks/{await task_of(world, supplier_id)}/done", outcome="follow_up_needed")
    [task] = await world.query(OPEN, supplier_id)
    assert task["snoozed_until"].isoformat() == "2026-01-26T00:00:00+00:00"
    assert await audited(world, supplier_id) == ["call_completed", "task.added"]


async def test_who_does_not_answer_comes_back_on_the_next_working_day(
    agent: Desk, world: World, clock: ManualClock
) -> None:
    supplier_id = await offered(world, business_name="Cedar & Co")
    await act(agent, f"suppliers/{supplier_id}/take")
    task = await task_of(world, supplier_id)
    await act(agent, f"tasks/{task}/done", outcome="no_answer")
    [row] = await world.query(OPEN, supplier_id)
    assert (row["tries"], row["snoozed_until"].isoformat()) == (1, "2026-01-20T00:00:00+00:00")
    assert 'class="later"' in await book(agent)
    later(clock, DAY)
    text = await book(agent)
    assert "Did not pick up once" in text
    assert "Due today" in text
    later(clock, 2 * DAY)
    assert "Overdue by 2 days" in await book(agent)
    assert await audited(world, supplier_id) == ["supplier.taken_over", "task.not_answered"]


async def test_putting_off_keeps_it_off_the_teams_list_until_that_day(
    agent: Desk, world: World, clock: ManualClock
) -> None:
    supplier_id = await offered(world, plan="enterprise")

    async def listed() -> bool:
        return supplier_id in (await agent.get("/dashboard/calls.csv")).text

    assert await listed()
    await act(agent, f"tasks/{await task_of(world, supplier_id)}/snooze", days="3")
    assert not await listed()
    later(clock, 3 * DAY)
    assert await listed()
    assert await audited(world, supplier_id) == ["task.put_off"]
    answer = await agent.post(f"/dashboard/tasks/{fresh_id()}/snooze", days="3", next="")
    assert answer.status_code == 404


async def test_who_asked_for_a_call_is_a_task_even_if_nothing_else_is_known_of_them(
    agent: Desk, world: World, token: Any
) -> None:
    supplier_id = str(uuid4())
    await world.profile(supplier_id, business_name="Dune Florals")
    asked = await agent.client.post(
        "/api/support/schedule-call",
        headers={"Authorization": f"Bearer {token('supplier', supplier_id)}"},
        json={"supplierId": supplier_id, "preferredTimes": [], "reason": "onboarding", "urgency": "low"},
    )
    assert asked.status_code == 201
    await act(agent, f"suppliers/{supplier_id}/take")
    text = await book(agent)
    assert "Dune Florals" in text
    assert "Asked for a call on 19 January" in text
    assert "you asked us for a call on 19 January, thank you for waiting" in text


async def test_an_agent_adds_one_call_to_their_page_and_takes_a_suggestion_over(
    agent: Desk, world: World
) -> None:
    supplier_id = await world.supplier(business_name="Elm Studio")
    request_id = fresh_id()
    await act(agent, f"suppliers/{supplier_id}/task", request_id=request_id, notes="Ask about May", days="1")
    page = await agent.page(f"/dashboard/suppliers/{supplier_id}")
    assert "Ask about May" in page
    assert "Add a call to make" not in page
    assert "Elm Studio" not in await book(agent)
    await act(agent, f"suppliers/{supplier_id}/task", request_id=fresh_id(), own="yes")
    assert "Elm Studio" in await book(agent)
    assert [str(row["id"]) for row in await world.query(OPEN, supplier_id)] == [request_id]
    assert await audited(world, supplier_id) == ["task.added", "supplier.taken_over"]
    assert (
        await agent.post(f"/dashboard/suppliers/{fresh_id()}/task", request_id=fresh_id())
    ).status_code == 404


async def test_a_booked_call_ends_what_was_to_be_done(agent: Desk, world: World) -> None:
    supplier_id = await world.supplier()
    task, call = fresh_id(), fresh_id()
    await act(agent, f"suppliers/{supplier_id}/task", request_id=task)
    at = format_time(NOW + 2 * HOUR)
    assert (
        await agent.post(f"/dashboard/suppliers/{supplier_id}/call", request_id=call, at=at)
    ).status_code == 303
    [left] = await world.query(OPEN, supplier_id)
    assert (str(left["id"]), left["intervention_id"]) == (call, None)
    # A form that lay open is late: it ends neither.
    await act(agent, f"tasks/{task}/done", outcome="not_needed")
    await act(agent, f"tasks/{call}/done", outcome="resolved")
    assert [str(row["id"]) for row in await world.query(OPEN, supplier_id)] == [call]


async def test_what_makes_no_sense_any_more_is_on_no_list_and_says_why_on_their_page(
    agent: Desk, world: World
) -> None:
    supplier_id = await offered(world, business_name="Fir Photo")
    await act(agent, f"suppliers/{supplier_id}/take")
    assert "Fir Photo" in await book(agent)
    await agent.post(f"/dashboard/suppliers/{supplier_id}/consent", wish="out")
    assert "Fir Photo" not in await book(agent)
    page = await agent.page(f"/dashboard/suppliers/{supplier_id}")
    assert "Not on anybody's list: they opted out of everything" in page
    await world.query("DELETE FROM suppliers WHERE id = %s", supplier_id)
    assert await world.query("SELECT 1 FROM supplier_owners WHERE supplier_id = %s", supplier_id) == []
    assert "Fir Photo" not in await book(agent)


async def test_no_form_works_without_this_sessions_token(agent: Desk, world: World) -> None:
    supplier_id = await offered(world)
    task = await task_of(world, supplier_id)
    forms = (
        f"tasks/{task}/done",
        f"tasks/{task}/snooze",
        *(f"suppliers/{supplier_id}/{it}" for it in ("take", "give-back", "task")),
    )
    for form in forms:
        fields = {"outcome": "resolved", "days": "1", "request_id": fresh_id(), "csrf": "0" * 64}
        assert (await agent.post(f"/dashboard/{form}", **fields)).status_code == 403, form
    assert await audited(world, supplier_id) == []
