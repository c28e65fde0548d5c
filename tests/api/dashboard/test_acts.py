"""What agents do from a supplier's page: done once, by the rules, audited, and only with this session's token."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from runtime.clock import ManualClock
from scoring.time import DAY, HOUR
from store.times import to_ms
from tests.agents.delivery.world import NOW, World
from tests.api.dashboard.conftest import Desk, fresh_id

pytestmark = pytest.mark.stack


async def audited(world: World, supplier_id: str) -> list[tuple[str, str]]:
    """(who, what) of everything that was noted about them."""
    found = await world.query(
        "SELECT actor, action FROM audit_log WHERE supplier_id = %s ORDER BY id", supplier_id
    )
    return [(row["actor"], row["action"]) for row in found]


async def do(desk: Desk, supplier_id: str, form: str, **fields: Any) -> str:
    """Send a form of their page and load the page that it leads to."""
    answer = await desk.post(f"/dashboard/suppliers/{supplier_id}/{form}", **fields)
    assert answer.status_code == 303, answer.text
    return await desk.page(answer.headers["location"])


async def test_hold_and_release(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier()
    text = await do(desk, supplier_id, "hold", note="talks to Tom", until="", day="")
    assert "Messages to them are held" in text
    assert "talks to Tom" in text
    assert "until somebody releases them" in text
    assert "Messages held" in text  # in the timeline
    row = await world.row(supplier_id, "became_at_risk")
    await world.delivery().deliver_due()
    assert await world.status(row) == ("suppressed", "held")
    assert "Release" not in await do(desk, supplier_id, "release")
    assert await audited(world, supplier_id) == [("emma", "messages.held"), ("emma", "messages.released")]


async def test_a_hold_has_a_reason_and_ends_by_itself(desk: Desk, world: World, clock: ManualClock) -> None:
    supplier_id = await world.supplier()
    for fields in ({"note": " "}, {"note": "on leave", "day": "2026-01-19"}, {"note": "x", "until": "soon"}):
        answer = await desk.post(f"/dashboard/suppliers/{supplier_id}/hold", **fields)
        assert answer.status_code == 422
    text = await do(desk, supplier_id, "hold", note="on leave", until="2026-02-02", day="2026-01-26")
    assert "until Mon 26 Jan 2026, 00:00 UTC" in text
    assert "on leave until 26 Jan 2026" in " ".join(text.replace(" · ", " ").split())  # in the timeline
    assert '<span class="tag">held</span>' in text
    clock.advance_to(to_ms(datetime(2026, 1, 26, tzinfo=UTC)))
    text = await desk.page(f"/dashboard/suppliers/{supplier_id}")
    assert '<span class="tag">held</span>' not in text
    assert "Hold all messages" in text


async def test_opting_out_says_first_what_it_stops(desk: Desk, world: World) -> None:
    text = await desk.page(f"/dashboard/suppliers/{await world.supplier()}")
    asked = text.split("They want no messages: opt them out</summary>")[1].split("</details>")[0]
    assert "It stops emails" in asked
    assert "Mail about calls that they book goes on" in asked
    assert 'value="out"' in asked
    assert text.count('value="out"') == 1


async def test_a_note_is_kept_once_and_the_audit_log_has_its_id_only(desk: Desk, world: World) -> None:
    supplier_id, request_id = await world.supplier(), fresh_id()
    for _ in range(2):
        text = await do(
            desk, supplier_id, "note", request_id=request_id, text="  Prefers mornings.\nBusy in May. "
        )
    assert text.count("Prefers mornings.") == 1
    logged = await world.query("SELECT details FROM audit_log WHERE supplier_id = %s", supplier_id)
    assert [row["details"] for row in logged] == [{"note_id": request_id}]
    assert (
        await desk.post(f"/dashboard/suppliers/{supplier_id}/note", request_id=fresh_id(), text=" ")
    ).status_code == 422
    await world.query("DELETE FROM suppliers WHERE id = %s", supplier_id)
    assert await world.query("SELECT 1 FROM supplier_notes WHERE supplier_id = %s", supplier_id) == []


async def test_opting_out_stops_what_waits_and_is_told(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier()
    row = await world.row(supplier_id, "became_at_risk")
    assert "opted out of everything" in await do(desk, supplier_id, "consent", wish="out")
    await world.delivery().deliver_due()
    assert await world.status(row) == ("suppressed", "opted_out")
    told = await world.query(
        "SELECT 1 FROM outbox WHERE topic = 'supplier.activity' AND key = %s", supplier_id
    )
    assert len(told) == 1
    assert "opted out of everything" not in await do(desk, supplier_id, "consent", wish="in")
    assert await audited(world, supplier_id) == [("emma", "consent.change")] * 2


async def test_a_call_is_booked_held_and_ended(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier()
    at = datetime(2026, 1, 20, 10, 0, tzinfo=UTC)
    request_id = fresh_id()
    for _ in range(2):
        text = await do(desk, supplier_id, "call", request_id=request_id, at=at.isoformat())
    assert "Check-in: booked" in text
    mails = await world.query("SELECT method FROM transactional_mails WHERE call_id = %s", request_id)
    assert [mail["method"] for mail in mails] == ["REQUEST"]
    text = await do(
        desk,
        supplier_id,
        f"calls/{request_id}",
        act="completed",
        outcome="follow_up_needed",
        notes="wants a demo",
    )
    assert "Check-in: completed" in text
    assert "follow-up needed" in text
    assert await audited(world, supplier_id) == [("emma", "call_scheduled"), ("emma", "call_completed")]
    again = await desk.post(f"/dashboard/suppliers/{supplier_id}/calls/{request_id}", act="cancelled")
    assert again.status_code == 409
    assert "completed already" in again.text


async def test_a_time_that_is_taken_leaves_a_call_that_waits(desk: Desk, world: World) -> None:
    at = datetime(2026, 1, 21, 11, 0, tzinfo=UTC).isoformat()
    first, second = await world.supplier(), await world.supplier()
    await do(desk, first, "call", request_id=fresh_id(), at=at)
    text = await do(desk, second, "call", request_id=fresh_id(), at=at)
    assert "waits for a time" in text


async def test_the_offer_of_a_call_is_a_task_that_can_be_closed(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier()
    await world.health(supplier_id, level="critical", score=20)
    row = await world.row(supplier_id, "became_critical")
    await world.delivery().deliver_due()
    assert "Call offer" in await desk.page(f"/dashboard/suppliers/{supplier_id}")
    text = await do(desk, supplier_id, f"calls/{row}", act="completed", outcome="resolved")
    assert "Call offer: completed" in text


async def test_the_proposed_times_are_free_and_ahead(desk: Desk, world: World, clock: ManualClock) -> None:
    supplier_id = await world.supplier()
    clock.advance_to(NOW + 3 * DAY)
    text = await desk.page(f"/dashboard/suppliers/{supplier_id}")
    times = text.split('<select name="at"')[1].split("</select>")[0]
    offered = [part.split('"')[0] for part in times.split('<option value="2026-')[1:]]
    assert offered
    assert all(to_ms(datetime.fromisoformat(f"2026-{time}")) > clock.now_ms() + HOUR - 1 for time in offered)


# only so ---------------------------------------------------------------------------------------------

FORMS: dict[str, dict[str, str]] = {
    "hold": {"note": "x"},
    "release": {},
    "note": {"request_id": fresh_id(), "text": "x"},
    "consent": {"wish": "out"},
    "message": {"request_id": fresh_id(), "trigger": "became_at_risk"},
    f"messages/{fresh_id()}/undo": {},
    "write/became_at_risk/letter": {"opening": "x"},
    "call": {"request_id": fresh_id(), "at": "2026-01-22T10:00:00+00:00"},
    f"calls/{fresh_id()}": {"act": "cancelled"},
}


async def test_no_form_does_anything_without_this_sessions_token(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier()
    for act, fields in FORMS.items():
        address = f"/dashboard/suppliers/{supplier_id}/{act}"
        assert (await desk.client.post(address, data=fields)).status_code == 403, act
        assert (await desk.client.post(address, data=fields | {"csrf": "0" * 64})).status_code == 403, act
        evil = {"Origin": "https://evil.example"}
        answer = await desk.client.post(address, data=fields | {"csrf": desk.csrf}, headers=evil)
        assert answer.status_code == 403, act
    assert await audited(world, supplier_id) == []


async def test_no_form_does_anything_for_nobody(stranger: Desk, world: World) -> None:
    supplier_id = await world.supplier()
    for act, fields in FORMS.items():
        answer = await stranger.client.post(f"/dashboard/suppliers/{supplier_id}/{act}", data=fields)
        assert answer.status_code in {303, 403}, act
    assert await audited(world, supplier_id) == []


async def test_acts_on_who_is_not_there_change_nothing(desk: Desk) -> None:
    for act, fields in FORMS.items():
        answer = await desk.post(f"/dashboard/suppliers/{fresh_id()}/{act}", **fields)
        assert answer.status_code == 404, act
