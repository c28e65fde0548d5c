"""Each service on a port for monitoring: alive, ready and why not, and metrics that name nobody."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from runtime.settings import Settings
from tests.browser.serving import free_ports
from tests.cli.services.test_deliver import finished, success
from tests.cli.services.test_worker import AWAY, COMMAND
from topics.catalog import ACTIVITY, PROFILES, full_name
from topics.time import format_time

pytestmark = pytest.mark.stack

SUPPLIER = str(uuid.UUID(int=7))
PROFILE = {
    "id": SUPPLIER,
    "email": "zuleika@private.example.com",
    "first_name": "Zuleika",
    "business_name": "Dobson & Daughters",
    "timezone": "Europe/London",
}
PRIVATE = ("zuleika", "dobson", "private.example", SUPPLIER, "secret-client")
DEADLINE_S = 120.0
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def event(number: int, kind: str, **data: Any) -> bytes:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"e{number}",
            "source": "/test",
            "type": kind,
            "subject": SUPPLIER,
            "time": format_time(time.time_ns() // 1_000_000),
            "data": data,
        }
    ).encode()


async def publish(settings: Settings, *records: tuple[str, bytes]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka, acks="all") as producer:
        for topic, value in records:
            await producer.send_and_wait(full_name(settings.topic_prefix, topic), value, SUPPLIER.encode())


class Monitored:
    """A service's port for monitoring."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._client = httpx.AsyncClient(base_url=f"http://{self.address}", timeout=30)

    async def get(self, path: str) -> httpx.Response:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                return await self._client.get(path)
            except httpx.TransportError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)

    async def until_ready(self, *, ready: bool = True) -> dict[str, Any]:
        """What `/readyz` says once it is ready, or is not."""
        deadline = time.monotonic() + DEADLINE_S
        while (answer := await self.get("/readyz")).status_code != (200 if ready else 503):
            assert time.monotonic() < deadline, answer.text
            await asyncio.sleep(0.1)
        said: dict[str, Any] = answer.json()
        return said

    async def samples(self) -> Samples:
        text = (await self.get("/metrics")).text
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def until(self, name: str, at_least: float = 1, **labels: str) -> Samples:
        """All samples once this one (summed over the labels not given) is there."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            samples = await self.samples()
            found = [v for (n, on), v in samples.items() if n == name and labels.items() <= dict(on).items()]
            if sum(found) >= at_least:
                return samples
            assert time.monotonic() < deadline, (name, labels, samples)
            await asyncio.sleep(0.1)


@asynccontextmanager
async def service(settings: Settings, *command: str, **changed: Any) -> AsyncIterator[Monitored]:
    """A service as a process, stopped at the end."""
    [port] = free_ports(1)
    update = {"metrics_port": port, **changed}
    process = await success(settings.model_copy(update=update), *command)
    try:
        yield Monitored(port)
    finally:
        process.send_signal(signal.SIGTERM)
        code, _, err = await finished(process)
        assert code == 0, err


async def test_a_worker_and_a_delivery_say_what_they_do_and_name_nobody(settings: Settings) -> None:
    async with service(settings, "worker") as worker, service(settings, "deliver") as deliver:
        ready = await worker.until_ready()
        assert ready["parts"] == dict.fromkeys(
            ("kafka", "postgres", "schema", "recovery", "partitions", "fetches", "lanes"), "ok"
        )
        ready = await deliver.until_ready()
        assert ready["parts"] == dict.fromkeys(("kafka", "postgres", "schema", "smtp"), "ok")
        assert (await worker.get("/healthz")).json() == {"status": "ok"}
        await publish(
            settings,
            (PROFILES, json.dumps(PROFILE).encode()),
            (ACTIVITY, event(1, "form.created", form_id="f1")),
            (ACTIVITY, event(0, "supplier.logged_in")),
            (ACTIVITY, event(2, "form.creatd", form_id="f1")),
            (ACTIVITY, event(3, "zuleika@private.example.com")),
            (ACTIVITY, event(4, "form.sent", client_id="secret-client")),
            (ACTIVITY, b"Zuleika, no JSON"),
        )
        await worker.until("success_event_to_row_seconds_count", topic="success.milestones")
        samples = await worker.until("success_dead_letters_total", 2)
        sent = await deliver.until("success_event_to_email_seconds_count")

    def value(name: str, among: Samples = samples, **labels: str) -> float:
        return among[name, tuple(sorted(labels.items()))]

    assert value("success_events_total", type="form.created", outcome="read") == 1
    assert value("success_events_total", type="form.creatd", outcome="unknown") == 1
    assert value("success_events_total", type="other", outcome="unknown") == 1
    assert value("success_events_total", type="none", outcome="refused") == 2
    for reason in ("missing_field", "not_json"):
        assert value("success_dead_letters_total", topic=ACTIVITY, reason=reason) == 1
    assert value("success_signals_total", topic="success.milestones") == 1
    assert value("success_event_to_signal_seconds_count", cause="event") >= 2
    assert value("success_partitions") == settings.partitions
    assert sum(v for (name, _), v in samples.items() if name == "success_timers") == 1
    lags = {
        dict(labels)["topic"]: v for (name, labels), v in samples.items() if name == "success_lag_records"
    }
    assert lags[full_name(settings.topic_prefix, ACTIVITY)] == 0
    assert value("process_resident_memory_bytes") > 0
    assert value("success_smtp_replies_total", sent, **{"class": "2xx"}) == 1
    assert value("success_suppliers", await_levels(settings, sent), level="critical") == 1
    for text in (str(samples).lower(), str(sent).lower()):
        for private in PRIVATE:
            assert private not in text


def await_levels(settings: Settings, samples: Samples) -> Samples:
    """Suppliers are counted once a minute: what the database says, if the count came before them."""
    if any(name == "success_suppliers" for name, _ in samples):
        return samples
    with psycopg.connect(settings.database_url) as conn:
        rows = conn.execute("SELECT level, sum(suppliers) FROM population_now GROUP BY level").fetchall()
    return {("success_suppliers", (("level", str(level)),)): float(count) for level, count in rows}


async def test_what_is_away_is_named_within_three_seconds() -> None:
    [port] = free_ports(1)
    environment = {**os.environ, **AWAY, "SUCCESS_METRICS_PORT": str(port)}
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--no-restart", env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    monitored = Monitored(port)
    await monitored.get("/healthz")
    began = time.monotonic()
    answer = await monitored.get("/readyz")
    took = time.monotonic() - began
    process.send_signal(signal.SIGTERM)
    await finished(process)
    assert took < 3
    assert answer.status_code == 503
    assert answer.json()["missing"].keys() == {"kafka", "postgres", "schema", "partitions"}
    assert process.returncode == 0


async def test_a_mail_server_that_is_away_makes_a_delivery_not_ready(settings: Settings) -> None:
    async with service(settings, "deliver", smtp_url="smtp://127.0.0.1:9") as deliver:
        said = await deliver.until_ready(ready=False)
        while said["missing"].keys() != {"smtp"}:
            await asyncio.sleep(0.1)
            said = (await deliver.get("/readyz")).json()
        assert said["parts"]["postgres"] == "ok"


async def test_a_shadow_has_a_port_too(settings: Settings) -> None:
    async with service(settings, "shadow", "--policy", "scoring/policy.toml") as shadow:
        assert (await shadow.until_ready())["parts"].keys() == {"kafka", "postgres", "schema"}


@pytest.mark.parametrize("command", [["worker"], ["deliver"]])
async def test_a_port_that_another_process_has_stops_the_start_and_says_so(
    settings: Settings, command: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await success(settings.model_copy(update={"metrics_port": port}), *command)
        code, _, err = await finished(process)
    assert code == 2
    assert re.search(rf"^error: SUCCESS_METRICS_PORT: can't listen on 127.0.0.1:{port}", err, re.MULTILINE)
