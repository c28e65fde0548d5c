"""Writing from a supplier's page: seen before it is sent, taken back for half a minute, decided like every other."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from typing import Any

import pytest

from api.dashboard.writing.page import UNDO_MS
from runtime.clock import ManualClock
from scoring.time import HOUR
from tests.agents.delivery.world import NOW, World
from tests.api.dashboard.conftest import Desk, fresh_id
from tests.api.dashboard.test_acts import audited, do
from tests.store.waiting import until_somebody_waits

pytestmark = pytest.mark.stack

OWN = "Good to talk to you.\n\nAs promised, <b>here</b> it is:"
KEPT = "First lines, in your words"


async def ask(desk: Desk, supplier_id: str, trigger: str = "became_at_risk", **fields: Any) -> str:
    return await do(desk, supplier_id, "message", request_id=fresh_id(), trigger=trigger, **fields)


async def rows(world: World, supplier_id: str) -> list[dict[str, Any]]:
    return await world.query(
        "SELECT * FROM success_interventions WHERE supplier_id = %s ORDER BY created_at", supplier_id
    )


async def words(world: World, row: dict[str, Any]) -> str:
    found = await world.query("SELECT body FROM message_words WHERE intervention_id = %s", row["id"])
    return str(found[0]["body"])


async def deliver(world: World) -> None:
    """What is due, half a minute later."""
    world.clock.advance_to(world.clock.now_ms() + UNDO_MS)
    await world.delivery().deliver_due()


# seen before it is sent -------------------------------------------------------------------------------


async def test_the_letter_is_shown_as_delivery_would_write_it(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier(locale="de-AT", business_name="Hut & Blume")
    page = await desk.get(f"/dashboard/suppliers/{supplier_id}/write/low_client_adoption")
    assert "frame-src 'self'" in page.headers["content-security-policy"]
    assert "leaves 30 seconds after you send it" in page.text
    written = page.text.split("<textarea")[1].split("</textarea>")[0]
    assert "Sarah,\n\nHut &amp; Blume hat bisher 5 Kunden" in written
    where = re.search(r'<iframe name="letter" sandbox [^>]*src="([^"]+)"', page.text)
    assert where is not None
    frame = await desk.get(unescape(where[1]))
    assert "sandbox" in frame.headers["content-security-policy"]
    assert "Hut &amp; Blume" in frame.text
    text = await desk.page(unescape(where[1]) + "?as=text")
    await ask(desk, supplier_id, "low_client_adoption")
    await deliver(world)
    sent = await words(world, (await rows(world, supplier_id))[0])
    assert without_links(sent) == without_links(unescape(text.split("<pre")[1].partition(">")[2]))


def without_links(text: str) -> str:
    return re.sub(r"\S+/e/\S+", "", text.partition("</pre>")[0]).strip()


async def test_what_is_typed_is_shown_in_the_frame_and_in_no_address(desk: Desk, world: World) -> None:
    here = f"/dashboard/suppliers/{await world.supplier()}/write/became_at_risk/letter"
    shown = await desk.post(here, opening=OWN.replace("\n", "\r\n"))
    assert '<p dir="auto" ' in shown.text
    assert "As promised, &lt;b&gt;here&lt;/b&gt; it is:</p>" in shown.text
    assert (
        "As promised, &lt;b&gt;here&lt;/b&gt; it is:"
        in (await desk.post(here, opening=OWN, **{"as": "text"})).text
    )
    for far_too_long in ("x" * 1001, "<i>" * 3400):
        assert (await desk.post(here, opening=far_too_long)).status_code == 422


async def test_a_message_without_first_lines_offers_none_and_loses_none(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier()
    await world.health(supplier_id, level="critical", score=20)
    assert KEPT in await desk.page(f"/dashboard/suppliers/{supplier_id}/write/stuck_onboarding")
    assert KEPT not in await desk.page(f"/dashboard/suppliers/{supplier_id}/write/became_critical")
    answer = await desk.post(
        f"/dashboard/suppliers/{supplier_id}/message",
        request_id=fresh_id(),
        trigger="became_critical",
        opening=OWN,
    )
    assert answer.status_code == 409
    assert "shows no opening" in answer.text
    assert await rows(world, supplier_id) == []


async def test_the_page_says_when_it_leaves_and_why_not_at_once(
    desk: Desk, world: World, clock: ManualClock
) -> None:
    supplier_id = await world.supplier()
    address = f"/dashboard/suppliers/{supplier_id}/write/became_at_risk"
    clock.advance_to(NOW + 12 * HOUR)
    assert "emails leave by day in their time zone" in await desk.page(address)
    await do(desk, supplier_id, "hold", note="on leave", until="2026-02-02")
    text = await desk.page(address)
    assert "not sent: held by an agent" in text
    assert '<button type="submit" data-key="s" disabled>Send it' in text


# sent, in their words ---------------------------------------------------------------------------------


async def test_their_own_first_lines_are_sent_once_and_told_to_nobody(desk: Desk, world: World) -> None:
    supplier_id, request_id = await world.supplier(), fresh_id()
    for _ in range(2):
        text = await do(
            desk, supplier_id, "message", request_id=request_id, trigger="became_at_risk", opening=OWN
        )
    assert "asked for by emma" in text
    [row] = await rows(world, supplier_id)
    assert (row["status"], str(row["signal_id"])) == ("scheduled", request_id)
    assert row["metadata"]["opening"] == OWN
    assert await audited(world, supplier_id) == [("emma", "message.requested")]
    await world.delivery().deliver_due()
    assert (await world.status(str(row["id"])))[0] == "scheduled"  # it can still be taken back
    await deliver(world)
    [sent] = await rows(world, supplier_id)
    assert (sent["status"], "opening" in sent["metadata"]) == ("sent", False)
    assert (await words(world, row)).startswith(OWN)
    told = await world.query(
        "SELECT convert_from(value, 'UTF8') AS said FROM outbox WHERE key = %s", supplier_id
    )
    logged = await world.query(
        "SELECT details::text AS said FROM audit_log WHERE supplier_id = %s", supplier_id
    )
    assert told
    assert not any("promised" in each["said"] for each in (*told, *logged))


async def test_first_lines_that_nobody_changed_are_the_letters_own(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier()
    page = await desk.page(f"/dashboard/suppliers/{supplier_id}/write/became_at_risk")
    as_it_was = unescape(page.split("<textarea")[1].partition(">")[2].split("</textarea>")[0])
    await ask(desk, supplier_id, opening=as_it_was.replace("\n", "\r\n"))
    [row] = await rows(world, supplier_id)
    assert "opening" not in row["metadata"]


async def test_a_message_asked_for_keeps_to_the_caps_and_the_page_says_so_before(
    desk: Desk, world: World
) -> None:
    supplier_id = await world.supplier()
    assert "leaves 30 seconds after you send it" in await desk.page(f"/dashboard/suppliers/{supplier_id}")
    for trigger in ("signed_up", "zero_clients_imported", "no_login_7_days"):
        row = await world.row(supplier_id, trigger)
        await world.query(
            "UPDATE success_interventions SET status = 'sent', claimed_at = due_at, sent_at = due_at WHERE id = %s",
            row,
        )
    text = await ask(desk, supplier_id)
    assert "not sent: weekly cap reached" in text
    await deliver(world)
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


# taken back -------------------------------------------------------------------------------------------


async def test_what_is_taken_back_is_never_sent_and_counts_nowhere(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier()
    text = await ask(desk, supplier_id)
    assert re.search(r"leaves\s+<time [^>]*data-left[^>]*>in 30 s</time>", text)
    [row] = await rows(world, supplier_id)
    undo = f"messages/{row['id']}/undo"
    assert f'action="/dashboard/suppliers/{supplier_id}/{undo}"' in text
    text = await do(desk, supplier_id, undo)
    assert "nothing was sent" in text
    assert "taken back by emma before it left" in text
    assert "data-left" not in text
    assert "nothing was sent" in await do(desk, supplier_id, undo)  # pressed twice
    await deliver(world)
    assert await world.status(str(row["id"])) == ("suppressed", "held")
    events = [each["type"] for each in await world.events() if each["subject"] == supplier_id]
    assert events == ["success.intervention.scheduled", "success.intervention.suppressed"]
    assert await audited(world, supplier_id) == [
        ("emma", "message.requested"),
        ("emma", "message.taken_back"),
    ]
    await ask(desk, supplier_id)  # once a week is this trigger's cap
    await deliver(world)
    assert [each["status"] for each in await rows(world, supplier_id)] == ["suppressed", "sent"]


async def test_what_is_claimed_meanwhile_has_left_and_the_page_says_so(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier()
    await ask(desk, supplier_id)
    [row] = await rows(world, supplier_id)
    async with world.pool.connection() as claiming:
        await claiming.execute("SELECT FROM suppliers WHERE id = %s FOR NO KEY UPDATE", (supplier_id,))
        undoing = asyncio.create_task(do(desk, supplier_id, f"messages/{row['id']}/undo"))
        await until_somebody_waits(world.settings.database_url)
        await claiming.execute(
            "UPDATE success_interventions SET status = 'sending', claimed_at = now() WHERE id = %s",
            (row["id"],),
        )
    assert "it had left already" in await undoing
    assert await world.status(str(row["id"])) == ("sending", None)
    await world.query("UPDATE success_interventions SET status = 'unknown' WHERE id = %s", row["id"])


async def test_only_what_an_agent_asked_for_is_taken_back(desk: Desk, world: World) -> None:
    supplier_id, other = await world.supplier(), await world.supplier()
    row = await world.row(supplier_id, "became_at_risk")
    answer = await desk.post(f"/dashboard/suppliers/{other}/messages/{row}/undo")
    assert answer.status_code == 404
    await do(desk, supplier_id, f"messages/{row}/undo")
    assert await world.status(row) == ("scheduled", None)


# the timeline -----------------------------------------------------------------------------------------


async def test_the_timeline_has_the_words_of_what_was_sent_and_what_waits(
    desk: Desk, world: World, clock: ManualClock
) -> None:
    supplier_id = await world.supplier()
    await world.row(supplier_id, "low_client_adoption")
    await world.delivery().deliver_due()
    await world.health(supplier_id, seq=20, clients={"known": 7, "active": 2})
    clock.advance_to(NOW + HOUR)
    await world.row(supplier_id, "became_at_risk", signal_at=clock.now_ms())
    shown = await world.row(supplier_id, "signed_up")
    await world.query(
        "UPDATE success_interventions SET status = 'sent', claimed_at = due_at, sent_at = due_at WHERE id = %s",
        shown,
    )
    text = await desk.page(f"/dashboard/suppliers/{supplier_id}")
    letters = {
        part.split("</summary>")[0]: part.split("</details>")[0] for part in text.split("<summary>")[1:]
    }
    sent = letters["5 clients in. The quick way to the rest"]  # as it was, though they have seven by now
    assert "as it would be" not in sent
    assert "/e/unsubscribe/…" in sent
    waits = next(said for subject, said in letters.items() if "min)" in subject)
    assert "as it would be written now" in waits
    assert "as the coach would say it now" in letters["Welcome, Sarah"]
    assert not re.search(r"/e/\w+/[\w-]{40}", text)
