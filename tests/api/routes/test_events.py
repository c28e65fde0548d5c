"""`POST /api/events`: what is taken, what is refused and why, and that Kafka has exactly what was taken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient

from api import app as wiring
from api.app import build_app
from embedded.registry import Addresses
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.time import MINUTE
from tests.agents.delivery.world import NOW
from tests.api.conftest import running
from tests.api.kafka import Published
from tests.api.test_auth_and_problems import assert_problem
from tests.conftest import PARTITIONS, own_settings
from tests.factories import cloudevent
from topics.catalog import ACTIVITY
from topics.decoding import ActivityEvent, decode
from topics.partitioner import partition_of
from topics.time import format_time

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def settings(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Shared by the tests of this module, each of which asks about its own suppliers."""
    with own_settings(stack, tmp_path_factory.mktemp("shared") / "state") as own:
        yield own


SARAH = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


def event(**given: Any) -> dict[str, Any]:
    """A good event; keywords replace or add attributes."""
    defaults = {"id": str(uuid4()), "subject": SARAH, "type": "form.sent", "data": {"form_id": "enquiry"}}
    return cloudevent(at=NOW, **defaults | given)


@pytest.fixture
async def published(settings: Settings) -> Published:
    """What this test publishes."""
    return await Published(settings, ACTIVITY).now()


@pytest.fixture
def send(api: AsyncClient, token):
    """Post what is given, as a service."""

    async def sent(body: Any, kind: str = STRUCTURED, **headers: str) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await api.post(
            "/api/events", content=content, headers={**token("service"), "Content-Type": kind, **headers}
        )

    return sent


async def test_a_structured_event_is_on_the_topic_when_the_answer_comes(send, published: Published) -> None:
    made = event(traceparent="00-1")
    answer = await send(made, f"{STRUCTURED}; charset=utf-8")
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    [record] = await published.since_then()
    assert json.loads(record.value) == made
    assert record.key == SARAH.encode()
    assert record.partition == partition_of(record.key, PARTITIONS)
    assert isinstance(decode(record.key, record.value, record.headers, NOW), ActivityEvent)


async def test_a_binary_event_is_the_same_event(send, published: Published) -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "1 of 2",
        "ce-source": "/forms/Z%C3%BCrich",
        "ce-type": "form.sent",
        "ce-subject": SARAH,
        "ce-time": format_time(NOW),
        "ce-traceparent": "00-1",
    }
    answer = await send({"form_id": "enquiry", "client_id": "c"}, "application/json", **headers)
    assert answer.status_code == 202, answer.text
    [record] = await published.since_then()
    read = decode(record.key, record.value, record.headers, NOW)
    assert isinstance(read, ActivityEvent)
    assert (read.id, read.source, read.data.client_id) == ("1 of 2", "/forms/Zürich", "c")
    assert json.loads(record.value)["traceparent"] == "00-1"


async def test_a_binary_event_without_data_needs_no_body(
    api: AsyncClient, token, published: Published
) -> None:
    headers = {
        f"ce-{name}": value for name, value in event(type="supplier.logged_in").items() if name != "data"
    }
    answer = await api.post("/api/events", headers={**token("service"), **headers})
    assert answer.status_code == 202, answer.text
    [record] = await published.since_then()
    assert isinstance(decode(record.key, record.value, record.headers, NOW), ActivityEvent)


async def test_data_of_a_binary_event_brings_no_attributes(send, published: Published) -> None:
    headers = {f"ce-{name}": value for name, value in event().items() if name != "data"}
    smuggled = b'{"form_id": "f"}, "subject": "11111111-1111-4111-8111-111111111111"'
    answer = await send(smuggled, "application/json", **headers)
    assert "not_json" in assert_problem(answer, 422)["detail"]
    assert await published.since_then() == []


async def test_a_batch_keeps_its_order_by_supplier(send, published: Published) -> None:
    suppliers = [str(uuid4()) for _ in range(5)]
    batch = [event(id=str(number), subject=suppliers[number % 5]) for number in range(200)]
    answer = await send(batch, BATCH)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 200})
    arrived: dict[str, list[int]] = {supplier: [] for supplier in suppliers}
    for record in await published.since_then():
        assert record.partition == partition_of(record.key, PARTITIONS)
        arrived[record.key.decode()].append(int(json.loads(record.value)["id"]))
    assert sum(map(len, arrived.values())) == 200
    assert all(ids == sorted(ids) for ids in arrived.values())


async def test_one_bad_event_and_nothing_of_a_batch_is_published(send, published: Published) -> None:
    batch = [event(), event(data={}), event(), event(subject="sarah"), event(time="yesterday")]
    problem = assert_problem(await send(batch, BATCH), 422)
    assert [(each["index"], each["code"]) for each in problem["errors"]] == [
        (1, "missing_field"),
        (3, "subject_not_uuid"),
        (4, "wrong_field"),
    ]
    assert "event 1" in problem["detail"]
    assert await published.since_then() == []


async def test_an_empty_batch_is_nothing_to_do(send) -> None:
    assert (await send([], BATCH)).json() == {"accepted": 0}


async def test_an_event_of_an_unknown_type_is_taken(send, published: Published) -> None:
    """A newer producer must not be held up by an older API."""
    assert (await send(event(type="gallery.delivered"))).status_code == 202
    assert len(await published.since_then()) == 1


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"subject": SARAH.upper()}, "subject_not_uuid"),
        ({"subject": None}, "not_cloudevent"),
        ({"specversion": "0.3"}, "not_cloudevent"),
        ({"id": ""}, "not_cloudevent"),
        ({"data": {"form_id": 7}}, "wrong_field"),
        ({"data": "text"}, "wrong_field"),
        ({"time": format_time(NOW + 6 * MINUTE)}, "future_time"),
        ({"data": {"form_id": "a\x00b"}}, "wrong_field"),
    ],
)
async def test_a_bad_event_says_why(send, given: dict[str, Any], code: str) -> None:
    problem = assert_problem(await send(event(**given)), 422)
    assert problem["errors"] == [{"index": 0, "code": code, "detail": problem["detail"]}]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b'"text"', b"[" * 101 + b"]" * 101])
async def test_what_is_no_event_at_all_says_why(send, body: bytes) -> None:
    assert assert_problem(await send(body), 422)["errors"][0]["code"] in {"not_json", "not_cloudevent"}


@pytest.mark.parametrize("body", [b"", b"{}", b"[{]", b"[" * 200, b"1"])
async def test_what_is_no_batch_says_why(send, body: bytes) -> None:
    assert "not_json" in assert_problem(await send(body, BATCH), 422)["detail"]


async def test_a_profile_is_no_event(send) -> None:
    assert_problem(await send({"profile": {"id": SARAH}}), 422)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("application/json", "`ce-` headers"),
        ("text/plain", "text/plain"),
        ("", "without Content-Type"),
        ("application/cloudevents+avro", "avro"),
        (f"{STRUCTURED}; charset=utf-16", "utf-16"),
    ],
)
async def test_a_body_of_another_type_is_415(send, kind: str, says: str) -> None:
    answer = await send(event(), kind)
    assert says in assert_problem(answer, 415)["detail"]


async def test_a_mebibyte_is_taken_and_a_byte_more_is_413(send, published: Published) -> None:
    largest = 1_048_576
    padded = json.dumps(event(pad="")).encode()
    padded = padded.replace(b'"pad": ""', b'"pad": "' + b"x" * (largest - len(padded)) + b'"')
    assert len(padded) == largest
    assert_problem(await send(padded + b" "), 413)
    assert_problem(await send(b"[" + padded + b"]", BATCH), 413)
    assert (await send(padded)).status_code == 202
    assert [len(record.value) for record in await published.since_then()] == [largest]


async def test_a_long_body_is_refused_while_it_comes(api: AsyncClient, token) -> None:
    """Without Content-Length nobody reads on for ever."""
    read = 0

    async def endless():
        nonlocal read
        while True:
            read += 65_536
            yield b" " * 65_536

    headers = {**token("service"), "Content-Type": STRUCTURED}
    assert_problem(await api.post("/api/events", content=endless(), headers=headers), 413)
    assert read <= 3 * 1_048_576


async def test_no_binary_event_grows_beyond_the_limit(send) -> None:
    headers = {f"ce-{name}": value for name, value in event(pad="x" * 4000).items() if name != "data"}
    data = b'{"form_id": "' + b"x" * (1_048_576 - 20) + b'"}'
    assert_problem(await send(data, "application/json", **headers), 413)


async def test_the_same_event_twice_is_taken_twice_and_counts_once(send, published: Published) -> None:
    """Who got no answer sends it again: (source, id) is what counts, in the workers."""
    made = event()
    for _ in range(2):
        assert (await send(made)).status_code == 202
    assert len({record.value for record in await published.since_then()}) == 1


async def test_while_kafka_is_away_the_answer_is_503(
    settings: Settings, clock: ManualClock, token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "PATIENCE_S", 0.05)
    app = build_app(settings, clock)
    async with running(app) as client:

        async def never(_events: object) -> None:
            await asyncio.Event().wait()

        object.__setattr__(app.state.services, "publish", wiring._in_time(never))
        headers = {**token("service"), "Content-Type": STRUCTURED}
        answer = await client.post("/api/events", content=json.dumps(event()), headers=headers)
    assert "try the same again" in assert_problem(answer, 503)["detail"]
    assert answer.headers["retry-after"]


async def test_unknown_types_are_taken_and_named_with_what_was_meant(send) -> None:
    answer = await send(
        [event(type="form.creatd"), event(type="quote.sent"), event(), event(type="quote.sent")], BATCH
    )
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": 4,
        "unknownTypes": [
            {"type": "quote.sent", "events": 2},
            {"type": "form.creatd", "events": 1, "didYouMean": "form.created"},
        ],
    }
