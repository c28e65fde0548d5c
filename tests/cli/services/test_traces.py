"""One trace from what a supplier did to the email in their mailbox, with all services as processes of their own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from embedded.registry import Addresses
from runtime.settings import Settings
from tests.agents.delivery.world import World
from tests.browser.serving import free_ports
from tests.cli.services.test_deliver import finished, mailed, success, world
from tests.cli.services.test_live_celebration import event, publish, until_sent
from tests.collector import Collector, Span, collecting
from topics.catalog import ACTIVITY, full_name
from topics.partitioner import partition_of

__all__ = ["world"]
pytestmark = pytest.mark.stack

PATIENCE_S = 90
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
PRIVATE = (b"zuleika", b"dobson", b"private.example", b"link-of-a-letter", b"bearer")


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Where the services that a test starts send their spans."""
    with collecting() as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.fixture
async def api(settings: Settings, collector: Collector) -> AsyncIterator[httpx.AsyncClient]:
    """Worker, delivery and API; a client of the last."""
    [port] = free_ports(1)
    own = settings.model_copy(update={"api_port": port})
    assert collector.port
    running = [await success(own, service) for service in ("worker", "deliver", "api")]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield client
    for process in running:
        process.terminate()
    for process in running:
        code, _, err = await finished(process)
        assert code == 0, err


async def asked(client: httpx.AsyncClient, method: str, path: str, **options: Any) -> httpx.Response:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await client.request(method, path, **options)
        except httpx.TransportError:
            assert time.monotonic() < deadline, "the API does not listen"
            await asyncio.sleep(0.1)


async def token(settings: Settings) -> str:
    _, out, _ = await finished(await success(settings, "token", "--role", "service"))
    return out.strip()


async def signed_up(settings: Settings, world: World) -> str:
    """A supplier with a name and an address, whom we have welcomed."""
    supplier = str(uuid4())
    named = {"first_name": "Zuleika", "business_name": "Dobson & Daughters", "timezone": "Europe/London"}
    profile = {"id": supplier, "email": "zuleika@private.example.com", **named}
    await publish(settings, {"profile": profile}, event("supplier.signed_up", supplier, plan="free"))
    await until_sent(world, "signed_up", supplier)
    return supplier


async def email_of(collector: Collector, row: dict[str, Any]) -> Span:
    def is_it(span: Span) -> bool:
        return bool(span.attributes["success.intervention_id"] == str(row["id"]))

    return await asyncio.to_thread(collector.until, "send email", is_it)


async def test_an_event_over_http_is_followed_from_the_callers_span_to_the_email(
    world: World, settings: Settings, stack: Addresses, collector: Collector, api: httpx.AsyncClient
) -> None:
    supplier, bearer = await signed_up(settings, world), await token(settings)
    told = event("form.created", supplier, form_id="f1")

    headers = {
        "Authorization": f"Bearer {bearer}",
        "Content-Type": "application/cloudevents+json",
        "traceparent": TRACEPARENT,
    }
    answer = await asked(api, "POST", "/api/events", content=json.dumps(told), headers=headers)
    assert answer.status_code == 202, answer.text
    row = await until_sent(world, "first_form_created")
    await asked(api, "GET", "/e/link-of-a-letter?t=link-of-a-letter")
    email = await email_of(collector, row)
    await asyncio.to_thread(collector.until, "POST /api/events")

    assert len(mailed(stack, str(row["id"]))) == 1
    assert collector.above(email) == ["write intervention", "fold form.created", "POST /api/events", SPAN]
    way = [span for span in collector.spans if span.trace == TRACE]
    assert {span.service for span in way} == {"success-api", "success-worker", "success-deliver"}
    assert email.attributes["success.status"] == "sent"
    assert email.attributes["success.signal_id"] == str(row["signal_id"])
    assert not email.failed
    assert collector.paths == {"/v1/traces"}
    lowered = collector.received.lower()
    assert [word for word in (*PRIVATE, bearer.lower().encode()) if word in lowered] == []


async def test_a_binary_event_brings_its_context_and_a_wrong_one_is_ignored(
    world: World, settings: Settings, collector: Collector, api: httpx.AsyncClient
) -> None:
    anna, belle = await signed_up(settings, world), await signed_up(settings, world)
    await binary(settings, anna, "form.created", TRACEPARENT, form_id="f1")
    of_anna = await email_of(collector, await until_sent(world, "first_form_created"))
    await binary(settings, belle, "form.created", "zuleika@private.example", form_id="f1")
    of_belle = await email_of(collector, await until_sent(world, "first_form_created", belle))

    assert api is not None
    assert collector.above(of_anna) == ["write intervention", "fold form.created", SPAN]
    assert collector.above(of_belle) == ["write intervention", "fold form.created"]
    assert of_belle.trace != of_anna.trace == TRACE
    assert b"zuleika" not in collector.received


async def binary(settings: Settings, supplier: str, kind: str, traceparent: str, **data: str) -> None:
    """Publish an event as an SDK does in binary mode."""
    made = event(kind, supplier, **data)
    headers = [(f"ce_{name}", str(made[name]).encode()) for name in made if name != "data"]
    headers += [("ce_traceparent", traceparent.encode()), ("content-type", b"application/json")]
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka, acks="all") as producer:
        await producer.send_and_wait(
            full_name(settings.topic_prefix, ACTIVITY),
            json.dumps(made["data"]).encode(),
            supplier.encode(),
            headers=headers,
            partition=partition_of(supplier.encode(), settings.partitions),
        )
