"""An alert by a real fault, on a real Prometheus, ended by what its page says. Its minutes last a second each."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from runtime.settings import Settings
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import World
from tests.browser.serving import free_ports
from tests.cli.services.test_deliver import finished, success, world
from tests.cli.services.test_monitoring import service
from tests.deploy.tools import tool

__all__ = ["world"]
pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules.yml"
SHORTER = {"m": "s", "h": "m"}
MESSAGES = 25
PATIENCE_S = 120
TRIGGER = "first_form_created"


def in_seconds(text: str) -> str:
    """The rules with a second for each minute, and so on."""
    text = text.replace("1d", "24h")
    return re.sub(r"(?<=[\[ ])(\d+)([mh])(?=[\]\s)])", lambda found: found[1] + SHORTER[found[2]], text)


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[httpx.Client]:
    """A Prometheus that scrapes one delivery, with our rules; a client of it."""
    [port] = free_ports(1)
    rules, config = folder / "rules.yml", folder / "prometheus.yml"
    rules.write_text(in_seconds(RULES.read_text("utf-8")))
    job = {
        "job_name": "success",
        "static_configs": [{"targets": [target], "labels": {"service": "deliver"}}],
    }
    every = {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "250ms"}
    config.write_text(yaml.safe_dump({"global": every, "rule_files": [str(rules)], "scrape_configs": [job]}))
    process = subprocess.Popen(
        [
            tool("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            yield client
    finally:
        process.terminate()
        process.wait(30)


def firing(client: httpx.Client) -> set[str]:
    """The alerts that fire."""
    alerts = asked(client, "alerts")["alerts"]
    return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}


def refusals(client: httpx.Client) -> dict[str, float]:
    """What Prometheus has scraped of the mail server's replies, by class."""
    found = asked(client, "query", query="success_smtp_replies_total")["result"]
    return {each["metric"]["class"]: float(each["value"][1]) for each in found}


def asked(client: httpx.Client, what: str, **parameters: str) -> Any:
    """What Prometheus answers."""
    return client.get(f"/api/v1/{what}", params=parameters).raise_for_status().json()["data"]


async def until(is_so: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            found = is_so()
            if found if isinstance(found, bool) else await found:
                return
        except httpx.HTTPError:
            pass  # it begins, and says so (503) once it listens
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def run(settings: Settings, *command: str) -> Any:
    code, out, err = await finished(await success(settings, *command))
    assert code == 0, err
    return json.loads(out)


async def test_a_mail_server_that_refuses_is_an_alert_until_its_page_was_followed(
    world: World, settings: Settings, mail_server: MailServer, tmp_path: Path
) -> None:
    mail_server.data = lambda _message: "550 5.7.1 relaying denied"
    async with service(settings, "deliver", smtp_url=mail_server.url) as deliver:
        await deliver.until_ready()
        target = deliver.address
        with prometheus(tmp_path, target) as client:
            await until(lambda: refusals(client) == {"2xx": 0, "4xx": 0, "5xx": 0, "none": 0})
            assert "MailRefused" not in firing(client)

            # the fault
            for number in range(MESSAGES):
                supplier = await world.supplier(email=f"s{number}@example.com")
                await world.row(supplier, TRIGGER)
            await until(lambda: "MailRefused" in firing(client))

            # the page: what does the server say? mend it, then try those again
            await until(lambda: refusals(client).get("5xx") == MESSAGES)
            listed = await run(settings, "interventions", "list", "--status", "failed", "--json")
            assert listed["total"] == MESSAGES
            assert "5.7.1 relaying denied" in listed["interventions"][0]["last_error"]
            mail_server.data = lambda _message: "250 OK"
            retry = ("interventions", "retry", "--status", "failed", "--reason", "5.7.1", "--by", "kim")
            assert (await run(settings, *retry, "--yes", "--json"))["retried"] == MESSAGES
            await until(lambda: len(mail_server.accepted) == MESSAGES)
            await until(lambda: "MailRefused" not in firing(client))

    assert len({message["To"] for message in mail_server.accepted}) == MESSAGES


def test_a_minute_of_the_rules_is_a_second_here_and_nothing_else_is_changed() -> None:
    text = RULES.read_text("utf-8")
    changed = in_seconds(text)
    assert not re.search(r"\[\d+[hd]\]|\bfor: \d+m\b|offset \d+[hd]", changed.replace("[24m]", ""))
    assert re.sub(r"\d+[smhd]", "", changed) == re.sub(r"\d+[smhd]", "", text)
