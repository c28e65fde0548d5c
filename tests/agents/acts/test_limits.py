"""One supplier booked 340 calls in 14 s and had 341 mails sent: what costs others something has a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from httpx import AsyncClient

from agents.letters.links import sign
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.decisions.limits import CALL_CHANGES, CALL_MAILS_AN_HOUR, COACH_FEEDBACK, OPEN_CALLS, PREFERENCES
from scoring.time import DAY, HOUR, MINUTE
from tests.agents.acts.conftest import Send
from tests.agents.delivery.world import NOW, World
from tests.api.conftest import Authorization

pytestmark = pytest.mark.stack

Token = Callable[..., Authorization]
TIMES = [
    f"2026-01-{day}T{hour}:00:00Z" for day in (20, 21, 22, 23) for hour in ("10", "11", "13", "14", "15")
]


async def test_a_supplier_has_two_open_calls_whoever_asks_how_fast(
    world: World, schedule: Send, token: Token
) -> None:
    supplier = await world.supplier()
    answers = await asyncio.gather(*(schedule(supplier, time) for time in TIMES[:8]))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201] * OPEN_CALLS + [409] * (8 - OPEN_CALLS)
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert "move or cancel" in refused.json()["detail"]
    assert (await schedule(supplier, TIMES[9], by=token("service"))).status_code == 409
    assert (await schedule(supplier, TIMES[9], by=token("agent"))).status_code == 201
    assert len(await world.query("SELECT id FROM transactional_mails")) == OPEN_CALLS + 1


async def test_the_same_request_again_and_a_call_that_is_over_count_for_nothing(
    world: World, schedule: Send, clock: ManualClock
) -> None:
    supplier = await world.supplier()
    for _ in range(4):
        assert (await schedule(supplier, TIMES[0], key="one")).status_code in {200, 201}
    assert (await schedule(supplier, TIMES[1])).status_code == 201
    clock.advance_to(NOW + 7 * DAY)
    assert (await schedule(supplier, "2026-01-28T10:00:00Z")).status_code == 201


async def test_five_changes_a_day_then_only_cancelling(
    world: World, schedule: Send, patch: Send, token: Token, clock: ManualClock
) -> None:
    supplier = await world.supplier()
    theirs = token("supplier", supplier)
    call = (await schedule(supplier, TIMES[0])).json()["id"]
    moved = await asyncio.gather(*(patch(call, by=theirs, scheduledAt=time) for time in TIMES[1:9]))
    assert sorted(each.status_code for each in moved) == [200] * CALL_CHANGES.most + [429] * 3
    refused = next(each for each in moved if each.status_code == 429)
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) == DAY // 1000
    assert "2026-01-20T" in refused.json()["detail"]
    assert (await patch(call, scheduledAt=TIMES[10])).status_code == 200, "an agent may"
    assert (await patch(call, by=theirs, status="cancelled")).status_code == 200
    assert (await schedule(supplier, TIMES[12])).status_code == 429
    clock.advance_to(NOW + DAY + MINUTE)
    assert (await schedule(supplier, TIMES[12])).status_code == 201


async def test_emails_about_calls_to_one_supplier_wait_beyond_so_many_an_hour(
    world: World, schedule: Send, patch: Send, clock: ManualClock
) -> None:
    supplier = await world.supplier()
    call = (await schedule(supplier, TIMES[0])).json()["id"]
    await world.delivery().deliver_due()
    for time in TIMES[1 : CALL_MAILS_AN_HOUR + 2]:
        await patch(call, scheduledAt=time)
        await world.delivery().deliver_due()
    sent = "SELECT count(*) AS sent FROM transactional_mails WHERE status = 'sent'"
    assert await world.query(sent) == [{"sent": CALL_MAILS_AN_HOUR}]
    clock.advance_to(clock.now_ms() + HOUR)
    await world.delivery().deliver_due()
    assert await world.query(sent) == [{"sent": CALL_MAILS_AN_HOUR + 1}], "the newest of those that waited"


async def test_preferences_change_so_often_a_day_and_a_no_is_always_taken(
    world: World, api: AsyncClient, token: Token, settings: Settings
) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")
    url, theirs = f"/api/suppliers/{supplier}/consent", token("supplier", supplier)
    for number in range(PREFERENCES.most):
        assert (await api.put(url, json={"paused": number % 2 == 0}, headers=theirs)).status_code == 200
    refused = await api.put(url, json={"paused": True}, headers=theirs)
    assert refused.status_code == 429
    assert "Retry-After" in refused.headers
    page = f"/e/preferences/{sign('preferences', supplier, row, settings.secret('secret_key'))}"
    assert (await api.post(page, data={"choice": "emails_on"})).status_code == 429
    assert (await api.post(page, data={"choice": "emails_off"})).status_code == 200
    assert (await api.get(url, headers=theirs)).json()["emailOptOut"]
    assert (await api.put(url, json={"emailOptOut": False}, headers=token("agent"))).status_code == 200


async def test_notes_from_the_coach_are_bounded(world: World, api: AsyncClient, token: Token) -> None:
    supplier = await world.supplier()
    await world.query(
        "INSERT INTO supplier_acts (supplier_id, kind, at) SELECT %s, %s, to_timestamp(%s / 1000.0)"
        " FROM generate_series(1, %s)",
        supplier,
        COACH_FEEDBACK.kind,
        NOW,
        COACH_FEEDBACK.most,
    )
    said = {"kind": "tip_shown", "id": "whatever"}
    answer = await api.post(f"/api/coach/{supplier}/feedback", json=said, headers=token("supplier", supplier))
    assert answer.status_code == 429
