"""Consent by the API, and feedback on its way to Kafka."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from httpx import AsyncClient

from agents.engine.connection import client_options
from agents.letters.links import sign, sign_click
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.time import DAY, MINUTE
from tests.agents.delivery.world import NOW, World
from tests.api.kafka import own_topics
from topics.catalog import ACTIVITY, INTERVENTIONS, full_name
from topics.decoding import ActivityEvent, decode
from topics.partitioner import partition_of
from topics.signals import InterventionChanged
from topics.time import format_time

__all__ = ["own_topics"]
pytestmark = pytest.mark.stack

BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}


async def test_a_supplier_reads_and_changes_their_own_consent(api: AsyncClient, world: World, token) -> None:
    supplier = await world.supplier()
    url, theirs = f"/api/suppliers/{supplier}/consent", token("supplier", supplier)
    assert (await api.get(url, headers=theirs)).json() == {
        "emailOptOut": False,
        "emailOptOutAt": None,
        "allOptOut": False,
        "allOptOutAt": None,
        "pausedUntil": None,
    }
    answer = await api.put(url, json={"allOptOut": True, "paused": True}, headers=theirs)
    assert answer.status_code == 200
    assert answer.json() == {
        "emailOptOut": False,
        "emailOptOutAt": None,
        "allOptOut": True,
        "allOptOutAt": format_time(NOW),
        "pausedUntil": format_time(NOW + 30 * DAY),
    }
    assert (await api.get(url, headers=theirs)).json() == answer.json()


async def test_an_agent_changes_it_for_them_and_the_log_says_who(
    api: AsyncClient, world: World, token
) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")
    answer = await api.put(
        f"/api/suppliers/{supplier}/consent", json={"emailOptOut": True}, headers=token("agent", "Kim")
    )
    assert answer.json()["emailOptOut"]
    [logged] = await world.query("SELECT * FROM audit_log")
    assert (logged["actor"], logged["actor_role"], str(logged["supplier_id"])) == ("Kim", "agent", supplier)
    await world.delivery().deliver_due()
    assert await world.status(row) == ("suppressed", "opted_out")


async def test_nobody_else_reads_or_changes_it(api: AsyncClient, world: World, token) -> None:
    supplier, other = await world.supplier(), await world.supplier()
    url, wish = f"/api/suppliers/{supplier}/consent", {"allOptOut": True}
    assert (await api.put(url, json=wish)).status_code == 401
    assert (await api.put(url, json=wish, headers=token("supplier", other))).status_code == 404
    unknown = "/api/suppliers/33333333-3333-4333-8333-333333333333/consent"
    assert (await api.put(unknown, json=wish, headers=token("agent"))).status_code == 404
    assert (await api.get(unknown, headers=token("agent"))).status_code == 404


@pytest.mark.parametrize(
    "wish", [{}, {"emailOptOut": "yes"}, {"email_optout": True}, [], {"emailOptOut": None}]
)
async def test_a_wish_that_says_nothing_clear_is_422(
    api: AsyncClient, world: World, token, wish: Any
) -> None:
    supplier = await world.supplier()
    answer = await api.put(f"/api/suppliers/{supplier}/consent", json=wish, headers=token("agent"))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def records(settings: Settings, topic: str, count: int) -> list[Any]:
    """The first `count` records of a topic, waited for."""
    consumer = AIOKafkaConsumer(
        full_name(settings.topic_prefix, topic), auto_offset_reset="earliest", **client_options(settings)
    )
    await consumer.start()
    try:
        async with asyncio.timeout(60):
            return [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()


async def test_an_opt_out_reaches_the_activity_topic_as_scoring_reads_it(
    api: AsyncClient, world: World, settings: Settings
) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")
    link = sign("unsubscribe", supplier, row, settings.secret("secret_key"))
    assert (await api.post(f"/e/unsubscribe/{link}")).status_code == 200

    [record] = await records(settings, ACTIVITY, 1)
    assert record.key == supplier.encode()
    assert record.partition == partition_of(record.key, settings.partitions)
    event = decode(record.key, record.value, list(record.headers), record.timestamp)
    assert isinstance(event, ActivityEvent)
    assert (event.type, event.data.scope, event.at) == ("communication.opted_out", "email", NOW)


async def test_opens_and_clicks_are_told_once_when_no_burst_can_undo_them(
    api: AsyncClient, world: World, settings: Settings, clock: ManualClock
) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")
    await world.query(
        "UPDATE success_interventions SET status = 'sent', sent_at = to_timestamp(%s)", NOW / 1000
    )
    clock.advance_to(NOW + MINUTE)
    token = sign_click("https://app.wedsync.example/x", supplier, row, settings.secret("secret_key"))
    await api.get(f"/e/click/{token}", headers=BROWSER)
    assert len(await world.query("SELECT * FROM feedback_due")) == 2
    clock.advance_to(NOW + 2 * MINUTE)
    await api.get(f"/e/click/{token}", headers=BROWSER)

    found = await records(settings, INTERVENTIONS, 2)
    events = [InterventionChanged.model_validate_json(record.value) for record in found]
    assert [event.type.rpartition(".")[2] for event in events] == ["opened", "clicked"]
    assert {event.time for event in events} == {format_time(NOW + MINUTE)}
    assert {event.data.intervention_id for event in events} == {row}
    assert await world.query("SELECT * FROM feedback_due") == []
    told = [json.loads(record.value)["type"] for record in found]
    assert len(told) == len(set(told))
