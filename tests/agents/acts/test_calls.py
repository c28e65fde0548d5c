"""Booking, moving, cancelling and completing calls over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient

from runtime.clock import ManualClock
from scoring.time import DAY, HOUR
from tests.agents.acts.conftest import Send
from tests.agents.delivery.world import NOW, World
from tests.api.conftest import Authorization
from topics.signals import InterventionChanged

pytestmark = pytest.mark.stack

TEN = "2026-01-20T10:00:00.000Z"
ELEVEN = "2026-01-20T11:00:00.000Z"
SATURDAY = "2026-01-24T10:00:00.000Z"
Token = Callable[..., Authorization]


async def row(world: World, call_id: str) -> dict[str, Any]:
    [found] = await world.query("SELECT * FROM support_interactions WHERE id = %s", call_id)
    return found


async def events(world: World) -> list[dict[str, Any]]:
    """What the outbox holds or held of calls, by the public model."""
    said = [event for event in await world.events() if ".call_" in event["type"]]
    return [InterventionChanged.model_validate_json(json.dumps(event)).model_dump() for event in said]


@pytest.mark.parametrize(
    ("reason", "interaction_type"),
    [
        ("onboarding", "onboarding_call"),
        ("technical_issue", "technical_support"),
        ("growth_consultation", "check_in"),
    ],
)
async def test_a_wish_becomes_a_confirmed_call(
    world: World, schedule: Send, reason: str, interaction_type: str
) -> None:
    sarah = await world.supplier()
    answer = await schedule(
        sarah, SATURDAY, TEN, ELEVEN, reason=reason, urgency="high", notes="my client list"
    )
    assert answer.status_code == 201, answer.text
    call = answer.json()
    assert (call["supplierId"], call["confirmed"], call["scheduledAt"]) == (sarah, True, TEN)
    assert call["endsAt"] == "2026-01-20T10:15:00.000Z"
    assert [each["verdict"] for each in call["considered"]] == ["outside_hours", "confirmed", "free"]
    assert call["proposedTimes"] == []
    stored = await row(world, call["id"])
    assert stored["interaction_type"] == interaction_type
    assert stored["scheduled_at"].isoformat() == "2026-01-20T10:00:00+00:00"
    assert (stored["status"], stored["urgency"], stored["notes"]) == ("scheduled", "high", "my client list")
    assert [each.isoformat() for each in stored["preferred_times"]] == [
        "2026-01-24T10:00:00+00:00",
        "2026-01-20T10:00:00+00:00",
        "2026-01-20T11:00:00+00:00",
    ]


async def test_where_no_time_fits_the_call_waits_as_a_task_and_free_times_are_proposed(
    world: World, schedule: Send, patch: Send
) -> None:
    sarah = await world.supplier()
    call = (await schedule(sarah, SATURDAY, "2026-01-19T08:00:00Z")).json()
    assert (call["status"], call["confirmed"], call["scheduledAt"]) == ("scheduled", False, None)
    assert [each["verdict"] for each in call["considered"]] == ["outside_hours", "past"]
    assert len(call["proposedTimes"]) == 3
    assert await world.query("SELECT 1 FROM transactional_mails") == []

    moved = await patch(call["id"], scheduledAt=call["proposedTimes"][0])
    assert (moved.status_code, moved.json()["scheduledAt"]) == (200, call["proposedTimes"][0])
    told = [event["type"].rpartition(".")[2] for event in await events(world)]
    assert told == ["call_requested", "call_scheduled"]


async def test_two_suppliers_never_get_the_same_time(world: World, schedule: Send) -> None:
    wishes = [schedule(await world.supplier(), TEN, ELEVEN) for _ in range(6)]
    answers = [answer.json() for answer in await asyncio.gather(*wishes)]
    confirmed = sorted(each["scheduledAt"] for each in answers if each["confirmed"])
    assert confirmed == [TEN, ELEVEN]
    for each in answers:
        if not each["confirmed"]:
            assert {time["verdict"] for time in each["considered"]} == {"taken"}
            assert not {TEN, ELEVEN} & set(each["proposedTimes"])


async def test_a_cancelled_call_gives_its_time_back(world: World, schedule: Send, patch: Send) -> None:
    first = (await schedule(await world.supplier(), TEN)).json()
    cancelled = (await patch(first["id"], status="cancelled")).json()
    assert (cancelled["status"], cancelled["confirmed"]) == ("cancelled", False)
    assert (await schedule(await world.supplier(), TEN)).json()["scheduledAt"] == TEN


async def test_a_request_that_is_repeated_with_its_key_books_once(world: World, schedule: Send) -> None:
    sarah = await world.supplier()
    first, again = await asyncio.gather(*(schedule(sarah, TEN, key="click-1") for _ in range(2)))
    assert {first.status_code, again.status_code} == {200, 201}
    assert first.json()["id"] == again.json()["id"]
    assert len(await world.query("SELECT 1 FROM support_interactions")) == 1
    other = await schedule(await world.supplier(), ELEVEN, key="click-1")
    assert other.json()["id"] != first.json()["id"]


async def test_a_booking_takes_up_the_open_offer(
    world: World, schedule: Send, api: AsyncClient, token: Token
) -> None:
    sarah = await world.supplier()
    await world.health(sarah, level="critical", score=30)
    offer = await world.row(sarah, "became_critical")
    await world.delivery().deliver_due()
    assert (await row(world, offer))["scheduled_at"] is None

    seen = await api.get(f"/api/support/calls/{offer}", headers=token("supplier", sarah))
    assert seen.json()["notes"] is None  # the agents' words about risk are not for them
    call = (await schedule(sarah, TEN, reason="growth_consultation")).json()
    assert call["interventionId"] == offer
    task = await row(world, offer)
    assert (task["status"], task["outcome"]) == ("completed", "resolved")
    assert (await events(world))[-1]["data"]["intervention_id"] == offer


async def test_an_offer_can_also_be_given_a_time_itself(world: World, patch: Send, token: Token) -> None:
    sarah = await world.supplier()
    await world.health(sarah, level="critical", score=30)
    offer = await world.row(sarah, "became_critical")
    await world.delivery().deliver_due()
    answer = await patch(offer, by=token("supplier", sarah), scheduledAt=TEN)
    assert (answer.status_code, answer.json()["scheduledAt"]) == (200, TEN)
    assert len(await world.query("SELECT 1 FROM transactional_mails")) == 1


async def test_suppliers_book_for_themselves_and_staff_for_all(
    world: World, schedule: Send, token: Token, api: AsyncClient
) -> None:
    sarah, emma = await world.supplier(), await world.supplier()
    stranger = await schedule(sarah, TEN, by=token("supplier", emma))
    assert (stranger.status_code, stranger.headers["content-type"]) == (404, "application/problem+json")
    assert (await schedule(sarah, TEN, by=token("agent", "Jo"))).status_code == 201
    assert (await schedule(sarah, ELEVEN, by=token("service"))).status_code == 201
    assert (await schedule(str(uuid4()), TEN, by=token("agent"))).status_code == 404
    unsigned = await api.post("/api/support/schedule-call", json={})
    assert unsigned.status_code == 401
    logged = await world.query("SELECT actor, actor_role, action, supplier_id FROM audit_log ORDER BY id")
    assert [(each["actor"], each["actor_role"], each["action"]) for each in logged] == [
        ("Jo", "agent", "call_scheduled"),
        ("the service", "service", "call_scheduled"),
    ]


async def test_another_suppliers_call_does_not_exist(
    world: World, schedule: Send, patch: Send, api: AsyncClient, token: Token
) -> None:
    sarah, emma = await world.supplier(), await world.supplier()
    call = (await schedule(sarah, TEN)).json()
    theirs = await api.get(f"/api/support/calls/{call['id']}", headers=token("supplier", sarah))
    assert theirs.json()["scheduledAt"] == TEN
    theirs = await api.get(f"/api/support/calls/{call['id']}", headers=token("supplier", emma))
    assert theirs.status_code == 404
    changed = await patch(call["id"], by=token("supplier", emma), status="cancelled")
    assert changed.status_code == 404
    assert (await row(world, call["id"]))["status"] == "scheduled"
    assert (await api.get(f"/api/support/calls/{uuid4()}", headers=token("agent"))).status_code == 404
    assert (await api.get("/api/support/calls/7", headers=token("agent"))).status_code == 422


async def test_suppliers_move_and_cancel_their_calls_and_no_more(
    world: World, schedule: Send, patch: Send, token: Token
) -> None:
    sarah = await world.supplier()
    call = (await schedule(sarah, TEN)).json()
    me = token("supplier", sarah)
    assert (await patch(call["id"], by=me, scheduledAt=ELEVEN)).json()["scheduledAt"] == ELEVEN
    for body in ({"status": "completed", "outcome": "resolved"}, {"status": "no_show"}, {"notes": "x"}):
        assert (await patch(call["id"], by=me, **body)).status_code == 403
    assert (await patch(call["id"], by=me, status="cancelled")).json()["status"] == "cancelled"


async def test_a_call_is_moved_to_free_times_only(world: World, schedule: Send, patch: Send) -> None:
    call = (await schedule(await world.supplier(), TEN)).json()
    await schedule(await world.supplier(), ELEVEN)
    taken = await patch(call["id"], scheduledAt=ELEVEN)
    assert (taken.status_code, taken.json()["detail"]) == (409, "that time is taken")
    assert len(taken.json()["proposedTimes"]) == 3
    for outside in (SATURDAY, "2026-01-19T08:00:00Z", "2030-01-21T10:00:00Z"):
        assert (await patch(call["id"], scheduledAt=outside)).status_code == 422
    # its own time is no obstacle
    assert (await patch(call["id"], scheduledAt="2026-01-20T10:05:00Z")).status_code == 200


async def test_a_call_is_completed_with_what_came_of_it(
    world: World, schedule: Send, patch: Send, clock: ManualClock, token: Token
) -> None:
    call = (await schedule(await world.supplier(), TEN)).json()
    agent = str(uuid4())
    clock.advance_to(NOW + DAY + 2 * HOUR)
    assert (await patch(call["id"], status="completed")).status_code == 422
    done = await patch(
        call["id"],
        by=token("agent", agent),
        status="completed",
        outcome="follow_up_needed",
        satisfactionScore=5,
        durationMinutes=17,
        notes="imports their list tonight",
    )
    assert done.status_code == 200, done.text
    assert done.json()["completedAt"] == "2026-01-20T11:00:00.000Z"
    stored = await row(world, call["id"])
    assert (stored["status"], stored["outcome"], stored["satisfaction_score"]) == (
        "completed",
        "follow_up_needed",
        5,
    )
    assert (stored["duration_minutes"], str(stored["agent_id"])) == (17, agent)
    for body in ({"status": "cancelled"}, {"scheduledAt": ELEVEN}, {"status": "no_show"}):
        refused = await patch(call["id"], **body)
        assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
    assert (await patch(call["id"], satisfactionScore=4)).json()["satisfactionScore"] == 4
    [*_, last] = await events(world)
    assert (last["type"], last["data"]["outcome"]) == (
        "success.intervention.call_completed",
        "follow_up_needed",
    )
    assert "imports" not in json.dumps(await world.events())


async def test_a_missed_call_is_noted_once_it_has_begun(
    world: World, schedule: Send, patch: Send, clock: ManualClock
) -> None:
    call = (await schedule(await world.supplier(), TEN)).json()
    assert (await patch(call["id"], status="no_show")).status_code == 409
    clock.advance_to(NOW + DAY + HOUR)
    assert (await patch(call["id"], status="no_show")).json()["status"] == "no_show"
    assert (await patch(call["id"], status="no_show")).status_code == 200
    assert (await patch(call["id"], scheduledAt="2026-01-21T10:00:00Z")).status_code == 409


@pytest.mark.parametrize(
    "wrong",
    [
        {"preferredTimes": ["2026-01-20T10:00:00"]},
        {"preferredTimes": ["tomorrow"]},
        {"preferredTimes": [TEN] * 21},
        {"preferredTimes": TEN},
        {"reason": "chat"},
        {"urgency": "now"},
        {"supplierId": "sarah"},
        {"notes": "nul \x00"},
        {"notes": "n" * 4001},
    ],
)
async def test_a_wrong_wish_is_refused_with_its_field(
    world: World, schedule: Send, token: Token, wrong: Any
) -> None:
    sarah = await world.supplier()
    answer = await schedule(sarah, TEN, by=token("supplier", sarah), **wrong)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith(next(iter(wrong)))
    assert await world.query("SELECT 1 FROM support_interactions") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"satisfactionScore": 6, "status": "completed"},
        {"status": "gone"},
        {"colour": "red"},
        {"outcome": "fine"},
    ],
)
async def test_a_wrong_change_is_refused(world: World, schedule: Send, patch: Send, wrong: Any) -> None:
    call = (await schedule(await world.supplier(), TEN)).json()
    assert (await patch(call["id"], **wrong)).status_code == 422


async def test_what_belongs_to_a_completed_call_is_not_said_of_an_open_one(
    world: World, schedule: Send, patch: Send
) -> None:
    call = (await schedule(await world.supplier(), TEN)).json()
    assert (await patch(call["id"], satisfactionScore=5)).status_code == 422
    assert (await patch(call["id"], notes="ring the studio")).json()["notes"] == "ring the studio"


async def test_every_step_is_published_and_logged_once(
    world: World, schedule: Send, patch: Send, clock: ManualClock
) -> None:
    call = (await schedule(await world.supplier(), TEN)).json()
    await patch(call["id"], scheduledAt=ELEVEN)
    await patch(call["id"], scheduledAt=ELEVEN)
    await patch(call["id"], notes="x")
    await patch(call["id"], status="cancelled")
    await patch(call["id"], status="cancelled")
    said = [event["type"].rpartition(".")[2] for event in await events(world)]
    assert said == ["call_scheduled", "call_rescheduled", "call_cancelled"]
    logged = await world.query("SELECT action, details FROM audit_log ORDER BY id")
    assert [each["action"] for each in logged] == [said[0], said[1], "call_amended", said[2]]
    assert {each["details"]["call_id"] for each in logged} == {call["id"]}
    del clock
