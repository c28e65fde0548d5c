"""Dead letters: looked at, mended, judged by the rules that refused them, and published to where they came from."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from runtime.settings import Settings
from tests.agents.delivery.world import World
from tests.api.dashboard.conftest import Desk, fresh_id, serving
from tests.factories import cloudevent
from topics.catalog import ACTIVITY, DEAD_LETTERS, PROFILES, full_name
from topics.outcome import dead_letter_headers

pytestmark = pytest.mark.stack


@pytest.fixture
async def producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    made = AIOKafkaProducer(bootstrap_servers=settings.kafka)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def bury(settings: Settings, producer: AIOKafkaProducer) -> Any:
    """Publish a dead letter as the worker does; gives its address on the dashboard."""

    async def buried(
        value: bytes | None, reason: str, topic: str = ACTIVITY, key: bytes | None = None, **headers: bytes
    ) -> str:
        name = full_name(settings.topic_prefix, topic)
        sent = await producer.send_and_wait(
            full_name(settings.topic_prefix, DEAD_LETTERS),
            value,
            key,
            headers=dead_letter_headers(reason, name, 0, 7, list(headers.items())),
        )
        return f"/dashboard/system/dead-letter?partition={sent.partition}&offset={sent.offset}"

    return buried


async def last_of(settings: Settings, topic: str, key: str) -> Any:
    """The newest record of a topic with this key; it must be there."""
    consumer = AIOKafkaConsumer(
        full_name(settings.topic_prefix, topic),
        bootstrap_servers=settings.kafka,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            async for record in consumer:
                if record.key == key.encode():
                    return record
    finally:
        await consumer.stop()


def event(supplier_id: str, **given: Any) -> dict[str, Any]:
    return cloudevent(
        subject=supplier_id, **{"id": fresh_id(), "source": "/forms", "time": "2026-01-19T08:00:00Z", **given}
    )


def text_of(page: str) -> str:
    found = re.search(r"<textarea name=\"text\"[^>]*>(.*?)</textarea>", page, re.DOTALL)
    assert found
    return html.unescape(found[1])


def fields(address: str, **more: str) -> dict[str, str]:
    return dict(re.findall(r"(partition|offset)=(\d+)", address)) | more


async def test_a_letter_is_listed_with_its_reason_and_mended(
    desk: Desk, world: World, settings: Settings, bury: Any
) -> None:
    supplier_id = fresh_id()
    whole = event(supplier_id)
    broken = json.dumps(whole | {"data": {}}).encode()
    address = await bury(broken, "missing_field: form_id", key=supplier_id.encode())
    listed = await desk.page("/dashboard/system/kafka")
    assert "missing_field: form_id" in listed
    assert html.escape(address) in listed
    page = await desk.page(address)
    assert json.loads(text_of(page)) == json.loads(broken)

    still = await desk.post("/dashboard/system/dead-letter", **fields(address, text=text_of(page)))
    assert still.status_code == 422
    assert "Still refused: missing_field" in still.text
    mended = json.dumps(whole)
    checked = await desk.post("/dashboard/system/dead-letter", **fields(address, text=mended, act="check"))
    assert "Nothing is wrong with it now" in checked.text
    done = await desk.post("/dashboard/system/dead-letter", **fields(address, text=mended))
    assert done.status_code == 303
    assert "Published again" in await desk.page(done.headers["location"])
    assert "published again" in await desk.page("/dashboard/system/kafka")
    record = await last_of(settings, ACTIVITY, supplier_id)
    assert json.loads(record.value) == json.loads(mended)
    [logged] = await world.query(
        "SELECT actor, action, details FROM audit_log WHERE supplier_id = %s", supplier_id
    )
    assert (logged["actor"], logged["action"]) == ("emma", "dead_letter.published")
    assert logged["details"]["changes"]["data.form_id"] == [None, "f1"]


async def test_a_letter_is_published_once(desk: Desk, world: World, bury: Any) -> None:
    supplier_id = fresh_id()
    address = await bury(b"{}", "missing_field: x", key=supplier_id.encode())
    mended = event(supplier_id, type="milestone.reported", data={"milestone": "first_form"})
    form = fields(address, text=json.dumps(mended))
    answers = await asyncio.gather(*(desk.post("/dashboard/system/dead-letter", **form) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [303, 409, 409, 409, 409]
    assert len(await world.query("SELECT 1 FROM outbox WHERE key = %s", supplier_id)) == 1
    assert len(await world.query("SELECT 1 FROM audit_log WHERE supplier_id = %s", supplier_id)) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"subject": "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"},
        {"type": "supplier.cancelled", "data": {}},
        {"id": "another"},
        {"source": "/elsewhere"},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_whom_and_what_a_letter_is_about_stays(
    desk: Desk, world: World, bury: Any, other: dict[str, Any]
) -> None:
    supplier_id = fresh_id()
    was = event(supplier_id)
    address = await bury(
        json.dumps(was | {"data": {}}).encode(), "missing_field: form_id", key=supplier_id.encode()
    )
    refused = await desk.post(
        "/dashboard/system/dead-letter", **fields(address, text=json.dumps(was | other))
    )
    assert refused.status_code == 422
    assert "Still refused" in refused.text
    said = [supplier_id, other.get("subject", supplier_id)]
    assert await world.query("SELECT 1 FROM outbox WHERE key = ANY(%s)", said) == []


async def test_a_letter_that_names_no_type_becomes_no_event_that_the_api_keeps_from_agents(
    desk: Desk, bury: Any
) -> None:
    supplier_id = fresh_id()
    address = await bury(b"{", "not_json: x", key=supplier_id.encode())
    refused = await desk.post(
        "/dashboard/system/dead-letter", **fields(address, text=json.dumps(event(supplier_id)))
    )
    assert refused.status_code == 422
    assert "agents publish only" in refused.text


@pytest.mark.parametrize("topic", [PROFILES, "success.health"])
async def test_profiles_and_signals_are_not_published_by_agents(desk: Desk, bury: Any, topic: str) -> None:
    supplier_id = fresh_id()
    address = await bury(None, "wrong_field: email", topic, supplier_id.encode())
    assert "success dead-letters publish" in await desk.page(address)
    for value in ({"id": supplier_id, "email": "evil@example.com"}, event(supplier_id)):
        refused = await desk.post("/dashboard/system/dead-letter", **fields(address, text=json.dumps(value)))
        assert refused.status_code == 422


async def test_a_binary_event_is_mended_as_a_structured_one(
    desk: Desk, settings: Settings, bury: Any
) -> None:
    supplier_id = fresh_id()
    attributes = {
        f"ce_{name}": str(value).encode() for name, value in event(supplier_id).items() if name != "data"
    }
    address = await bury(b'{"form_id": "f1"}', "subject_not_key: x", key=supplier_id.encode(), **attributes)
    text = text_of(await desk.page(address))
    assert json.loads(text)["subject"] == supplier_id
    assert (await desk.post("/dashboard/system/dead-letter", **fields(address, text=text))).status_code == 303
    assert json.loads((await last_of(settings, ACTIVITY, supplier_id)).value)["data"] == {"form_id": "f1"}


async def test_what_is_no_text_can_be_looked_at_and_not_mended(desk: Desk, bury: Any) -> None:
    address = await bury(b"\xff\xfe\x00", "not_json: not UTF-8")
    page = await desk.page(address)
    assert "success dead-letters publish" in page
    assert "<textarea" not in page


async def test_a_letter_that_is_not_there_is_404_and_without_a_token_nothing_is_published(
    desk: Desk, world: World, bury: Any
) -> None:
    assert (await desk.get("/dashboard/system/dead-letter?partition=0&offset=999999")).status_code == 404
    assert (await desk.get("/dashboard/system/dead-letter?partition=999&offset=0")).status_code == 404
    supplier_id = fresh_id()
    address = await bury(b"{", "not_json: x")
    form = fields(address, text=json.dumps(event(supplier_id)))
    assert (await desk.client.post("/dashboard/system/dead-letter", data=form)).status_code == 403
    assert await world.query("SELECT 1 FROM audit_log WHERE supplier_id = %s", supplier_id) == []


async def test_without_kafka_the_page_says_so(settings: Settings, clock: Any, monkeypatch: Any) -> None:
    async with serving(settings, clock) as desk:
        await desk.sign_in()
        away = settings.model_copy(update={"kafka": "127.0.0.1:9"})
        app = desk.client._transport.app
        monkeypatch.setattr(app.state, "services", replace(app.state.services, settings=away))
        text = await desk.page("/dashboard/system/kafka")
        assert text.count("Kafka does not answer") == 2
        assert (await desk.get("/dashboard/system/dead-letters.csv")).status_code == 503
        assert "To be published" in await desk.page("/dashboard/system")
