"""Milestones over HTTP: asking for one, reporting one, and progress with all."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient

from runtime.settings import Settings
from scoring.advice.book import book_of
from scoring.health.machine import apply
from scoring.health.rules import SHIPPED
from scoring.health.signals import MILESTONE_ACHIEVED
from scoring.health.state import State
from scoring.identity import signal_id
from scoring.time import DAY
from tests.agents.delivery.world import NOW, World
from tests.api.kafka import own_topics, records
from tests.api.lives import Life
from tests.api.test_auth_and_problems import assert_problem
from topics.catalog import ACTIVITY
from topics.decoding import ActivityEvent, decode
from topics.time import format_time

__all__ = ["own_topics"]
pytestmark = pytest.mark.stack


async def ask(
    api: AsyncClient, supplier: str, headers: dict[str, str], milestone: str = "first_form", **more: Any
) -> Any:
    body = {"supplierId": supplier, "milestoneType": milestone, **more}
    return await api.post("/api/success/milestone", json=body, headers=headers)


async def with_a_form(world: World) -> str:
    life = Life(world)
    life.happens("form.created", 2 * DAY, form_id="f")
    return await life.stored()


async def test_a_milestone_that_is_known_comes_with_its_celebration(
    api: AsyncClient, world: World, token, settings: Settings
) -> None:
    supplier = await with_a_form(world)
    for caller in (token("supplier", supplier), token("agent"), token("service")):
        answer = await ask(api, supplier, caller, metadata={"from": "the test"})
        assert answer.status_code == 200
        assert answer.json() == {
            "success": True,
            "milestone": {
                "id": signal_id(supplier, MILESTONE_ACHIEVED, "first_form", ""),
                "type": "first_form",
                "achievedAt": format_time(NOW - 2 * DAY),
                "celebrated": False,
            },
            "celebration": {
                "message": "Congratulations on creating your first form!",
                "reward": book_of(SHIPPED).milestones["first_form"].then,
            },
        }
    assert await records(settings, ACTIVITY) == []


async def test_what_is_celebrated_is_not_celebrated_again(api: AsyncClient, world: World, token) -> None:
    supplier = await with_a_form(world)
    await world.query("UPDATE success_milestones SET celebrated = true")
    answer = (await ask(api, supplier, token("supplier", supplier))).json()
    assert answer["milestone"]["celebrated"]
    assert "celebration" not in answer


async def test_a_supplier_cannot_award_themselves_one(
    api: AsyncClient, world: World, token, settings: Settings
) -> None:
    supplier = await with_a_form(world)
    assert_problem(await ask(api, supplier, token("supplier", supplier), "first_payment"), 409)
    assert await records(settings, ACTIVITY) == []


@pytest.mark.parametrize("role", ["service", "agent"])
async def test_services_and_agents_report_one(
    api: AsyncClient, world: World, token, settings: Settings, role: str
) -> None:
    supplier = await with_a_form(world)
    answer = await ask(api, supplier, token(role, "Kim"), "first_payment")
    assert answer.status_code == 201
    said = answer.json()
    assert said["milestone"]["type"] == "first_payment"
    assert said["milestone"]["achievedAt"] == format_time(NOW)
    assert said["celebration"]["message"] == "Congratulations on your first payment!"
    [record] = await records(settings, ACTIVITY)
    event = decode(record.key, record.value, record.headers, record.timestamp)
    assert isinstance(event, ActivityEvent)
    assert (event.type, event.subject, event.at) == ("milestone.reported", supplier, NOW)
    [achieved] = [one for one in apply(State(), supplier, event) if one.type == MILESTONE_ACHIEVED]
    assert achieved.id == said["milestone"]["id"]
    assert achieved.data["milestone"] == "first_payment"
    [logged] = await world.query("SELECT actor, action, details FROM audit_log")
    assert (logged["actor"], logged["action"]) == ("Kim", "milestone.report")
    assert logged["details"] == {"milestone": "first_payment"}


async def test_a_report_that_is_repeated_is_the_same_event(
    api: AsyncClient, world: World, token, settings: Settings
) -> None:
    supplier = await with_a_form(world)
    for _ in range(2):
        assert (await ask(api, supplier, token("service"), "first_payment")).status_code == 201
    ids = {json.loads(record.value)["id"] for record in await records(settings, ACTIVITY)}
    assert len(ids) == 1


async def test_a_report_holds_nothing_but_ids(
    api: AsyncClient, world: World, token, settings: Settings
) -> None:
    """The caller's metadata may be personal: no topic but the profiles' may carry that."""
    supplier = await with_a_form(world)
    await ask(api, supplier, token("service"), "first_payment", metadata={"note": "Sarah paid"})
    [record] = await records(settings, ACTIVITY)
    assert b"Sarah" not in record.value


async def test_a_supplier_of_whom_nothing_is_known_yet_can_be_reported_on(api: AsyncClient, token) -> None:
    stranger = str(uuid4())
    assert (await ask(api, stranger, token("service"))).status_code == 201
    assert_problem(await ask(api, stranger, token("supplier", stranger)), 404)


async def test_who_was_erased_stays_so(api: AsyncClient, world: World, token, settings: Settings) -> None:
    supplier = await with_a_form(world)
    await api.delete(f"/api/suppliers/{supplier}/data", headers=token("supplier", supplier))
    assert_problem(await ask(api, supplier, token("service")), 404)
    assert await records(settings, ACTIVITY) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"milestoneType": "first_form"}, "supplierId"),
        ({"supplierId": "sarah", "milestoneType": "first_form"}, "supplierId"),
        ({"supplierId": str(uuid4()), "milestoneType": "first_wedding"}, "milestoneType"),
        ({"supplierId": str(uuid4()), "milestoneType": "first_form", "metadata": 1}, "metadata"),
    ],
)
async def test_a_wrong_request_says_where(api: AsyncClient, token, body: dict, field: str) -> None:
    answer = await api.post("/api/success/milestone", json=body, headers=token("agent"))
    assert assert_problem(answer, 422)["errors"][0]["field"] == field


async def test_every_milestone_has_its_progress_and_next_step(api: AsyncClient, world: World, token) -> None:
    life = Life(world)
    life.happens("form.created", 3 * DAY, form_id="f")
    life.happens("client.imported", 2 * DAY, client_ids=list("abcd"))
    life.happens("journey.created", DAY, journey_id="j")
    supplier = await life.stored()
    answer = await api.get(f"/api/success/milestones/{supplier}", headers=token("supplier", supplier))
    said = {each["type"]: each for each in answer.json()["milestones"]}
    assert list(said) == list(SHIPPED.milestones)
    assert {name: each["progress"] for name, each in said.items()} == {
        "first_form": 1.0,
        "ten_clients": 0.4,
        "first_automation": 0.5,
        "first_payment": 0.0,
    }
    assert [name for name, each in said.items() if each["achieved"]] == ["first_form"]
    assert said["first_form"]["achievedAt"] == format_time(NOW - 3 * DAY)
    assert said["first_form"]["nextStep"] == book_of(SHIPPED).milestones["first_form"].then
    assert said["ten_clients"]["nextStep"].startswith("6 more")
    assert all(each["nextStep"] and each["actionUrl"].startswith("/") for each in said.values())


async def test_before_the_first_event_nothing_is_reached(api: AsyncClient, world: World, token) -> None:
    supplier = await Life(world).stored()
    answer = await api.get(f"/api/success/milestones/{supplier}", headers=token("agent"))
    assert {each["progress"] for each in answer.json()["milestones"]} == {0.0}
