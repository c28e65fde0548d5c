"""A full run at debug level, as JSON: every line is an event of the same shape, and none names anybody."""

from __future__ import annotations

import json
import re
import signal

import pytest

from runtime.settings import Settings
from tests.browser.serving import free_ports
from tests.cli.services.test_deliver import finished, success
from tests.cli.services.test_monitoring import PRIVATE, PROFILE, SUPPLIER, Monitored, event, publish
from tests.deploy.test_metrics import METRIC, expressions
from topics.catalog import ACTIVITY, PROFILES

pytestmark = pytest.mark.stack

SHAPE = {"at", "level", "service", "logger", "event"}
PAYLOADS = tuple(word for word in PRIVATE if word != SUPPLIER)


async def names(monitored: Monitored) -> set[str]:
    """The metrics of a scrape, as Prometheus has their names."""
    text = (await monitored.get("/metrics")).text
    return set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))


async def test_every_service_logs_events_of_one_shape_and_names_nobody(settings: Settings) -> None:
    debug = settings.model_copy(update={"log_level": "debug", "log_format": "json"})
    ports = dict(zip(("worker", "deliver", "api"), free_ports(3), strict=True))
    running = {
        name: await success(
            debug.model_copy(update={"metrics_port": port, "api_port": free_ports(1)[0]}), name
        )
        for name, port in ports.items()
    }
    try:
        monitored = {name: Monitored(port) for name, port in ports.items()}
        for each in monitored.values():
            await each.until_ready()
        await publish(
            settings,
            (PROFILES, json.dumps(PROFILE).encode()),
            (PROFILES, json.dumps(PROFILE | {"email": f"{PROFILE['email']} <x"}).encode()),
            (PROFILES, json.dumps(PROFILE).encode()),
            (ACTIVITY, event(1, "form.created", form_id="secret-client")),
            (ACTIVITY, event(2, "form.sent", client_id="secret-client")),
            (ACTIVITY, b"Zuleika, no JSON"),
        )
        await monitored["worker"].until("success_dead_letters_total", 3)
        await monitored["deliver"].until("success_event_to_email_seconds_count")
        scraped = {name for each in monitored.values() for name in await names(each)}
    finally:
        said = {}
        for name, process in running.items():
            process.send_signal(signal.SIGTERM)
            code, _, said[name] = await finished(process)
            assert code == 0, said[name]
    asked = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert {re.sub("_bucket$", "", name) for name in asked} <= scraped
    lines = [json.loads(line) for text in said.values() for line in text.splitlines()]
    assert {line["service"] for line in lines} == set(said)
    assert all(line.keys() >= SHAPE for line in lines)
    assert [line for line in lines if line.get("supplier") == SUPPLIER and line.get("intervention")]
    for private in PAYLOADS:
        assert private not in "\n".join(said.values()).lower()
