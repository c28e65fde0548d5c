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
    text = await do(desk, supplier_id, "hold", note="talks to Tom")
    assert "Messages to them are held" in text
    assert "talks to Tom" in text
    assert "Messages held" in text  # in the timeline
    row = await world.row(supplier_id, "became_at_risk")
    await world.delivery().deliver_due()
    assert await world.status(row) == ("suppressed", "held")
    assert "Release" not in await do(desk, supplier_id, "release")
    assert await audited(world, supplier_id) == [("emma", "messages.held"), ("emma", "messages.released")]


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


async def test_a_message_asked_for_is_a_row_that_delivery_decides(desk: Desk, world: World) -> None:
    supplier_id, request_id = await world.supplier(), fresh_id()
    for _ in range(2):
        text = await do(desk, supplier_id, "message", request_id=request_id, trigger="became_at_risk")
    assert "asked for by emma" in text
    rows = await world.query("SELECT * FROM success_interventions WHERE supplier_id = %s", supplier_id)
    assert len(rows) == 1
    assert (rows[0]["status"], str(rows[0]["signal_id"])) == ("scheduled", request_id)
    assert await audited(world, supplier_id) == [("emma", "message.requested")]
    await world.delivery().deliver_due()
    assert await world.status(str(rows[0]["id"])) == ("sent", None)
    events = await world.query("SELECT value FROM outbox WHERE key = %s ORDER BY id", supplier_id)
    assert [b'"success.intervention.scheduled"' in bytes(event["value"]) for event in events][:1] == [True]


async def test_a_message_asked_for_keeps_to_the_caps_and_the_page_says_so_before(
    desk: Desk, world: World
) -> None:
    supplier_id = await world.supplier()
    assert "leaves at once" in await desk.page(f"/dashboard/suppliers/{supplier_id}")
    for trigger in ("signed_up", "zero_clients_imported", "no_login_7_days"):
        row = await world.row(supplier_id, trigger)
        await world.query(
            "UPDATE success_interventions SET status = 'sent', claimed_at = due_at, sent_at = due_at WHERE id = %s",
            row,
        )
    text = await do(desk, supplier_id, "message", request_id=fresh_id(), trigger="became_at_risk")
    assert "not sent: weekly cap reached" in text
    await world.delivery().deliver_due()
    found = await world.query(
        "SELECT status, reason FROM success_interventions WHERE supplier_id = %s "
        "AND trigger_condition = 'became_at_risk'",
        supplier_id,
    )
    assert (found[0]["status"], found[0]["reason"]) == ("suppressed", "superseded")


async def test_celebrations_and_unknown_messages_can_not_be_asked_for(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier()
    address = f"/dashboard/suppliers/{supplier_id}/message"
    for trigger in ("first_form_created", "signed_up", "nonsense"):
        assert (await desk.post(address, request_id=fresh_id(), trigger=trigger)).status_code == 422
    assert await world.query("SELECT 1 FROM success_interventions WHERE supplier_id = %s", supplier_id) == []


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
    offered = [part.split('"')[0] for part in text.split('<option value="2026-')[1:]]
    assert offered
    assert all(to_ms(datetime.fromisoformat(f"2026-{time}")) > clock.now_ms() + HOUR - 1 for time in offered)


# only so ---------------------------------------------------------------------------------------------

FORMS: dict[str, dict[str, str]] = {
    "hold": {},
    "release": {},
    "note": {"request_id": fresh_id(), "text": "x"},
    "consent": {"wish": "out"},
    "message": {"request_id": fresh_id(), "trigger": "became_at_risk"},
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
