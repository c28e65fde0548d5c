"""`success shadow` as a process on real topics, and its report."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from aiokafka import AIOKafkaProducer

from cli.main import run
from embedded.registry import Addresses
from runtime.settings import Settings
from scoring.decisions.policy import DEFAULT
from tests.agents.cluster.test_made_anew import make_anew
from tests.agents.interventions.factory import EMMA, SARAH, Record, condition
from tests.conftest import own_settings
from topics.catalog import CONDITIONS, full_name

pytestmark = pytest.mark.stack
WITHIN_S = 90.0


@pytest.fixture
def settings(stack: Addresses, tmp_path: Path) -> Iterator[Settings]:
    """Settings with topics and a database of their own."""
    with own_settings(stack, tmp_path / "state") as own:
        yield own


@pytest.fixture
def gentler(tmp_path: Path) -> Path:
    """A policy file without the reminder after seven days."""
    text = DEFAULT.read_text("utf-8").replace('name = "no_login_7_days"\non =', 'name = "renamed"\non =')
    path = tmp_path / "gentler.toml"
    path.write_text(text)
    return path


def test_it_follows_the_live_signals_and_goes_on_where_it_stopped(
    settings: Settings, gentler: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = int(time.time() * 1000)
    with psycopg.connect(settings.database_url) as conn:
        conn.execute("INSERT INTO suppliers (id) VALUES (%s), (%s)", (SARAH, EMMA))
    publish(settings, condition(at=now - 3_600_000, occurrence=9))  # before it begins: not its business
    with shadow(settings, gentler) as process:
        publish(settings, condition(at=now), condition("stuck_onboarding", at=now))
        wait_for(settings, 2)
        stop(process)
    publish(settings, condition(at=now, supplier=EMMA))  # while it is away
    with shadow(settings, gentler) as process:
        wait_for(settings, 3)
        stop(process)

    rows = query(
        settings, "SELECT trigger_condition, supplier_id::text FROM shadow_interventions ORDER BY 1, 2"
    )
    assert rows == [("renamed", SARAH), ("renamed", EMMA), ("stuck_onboarding", SARAH)]
    for name, value in settings.as_env().items():
        monkeypatch.setenv(name, value)
    assert run(["report", "shadow", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["name"] == "gentler.toml"
    assert {row["trigger"] for row in said["triggers"]} <= {"renamed", "stuck_onboarding"}
    assert run(["report", "shadow"]) == 0
    assert "gentler.toml" in capsys.readouterr().out
    for form in ([], ["--json"]):
        assert run(["report", "shadow", "--policy", "no-such.toml", *form]) == 1
        assert "no policy 'no-such.toml' was tried" in capsys.readouterr().err


@pytest.mark.parametrize("running", [True, False])
def test_a_topic_made_anew_is_read_from_its_beginning(
    settings: Settings, gentler: Path, running: bool
) -> None:
    now = int(time.time() * 1000)
    with psycopg.connect(settings.database_url) as conn:
        conn.execute("INSERT INTO suppliers (id) VALUES (%s), (%s)", (SARAH, EMMA))
    process = shadow(settings, gentler)
    publish(settings, condition(at=now))
    wait_for(settings, 1)
    if not running:
        stop(process)
    asyncio.run(make_anew(settings, CONDITIONS))
    publish(settings, condition("stuck_onboarding", at=now))  # at the offset that it has read up to
    if not running:
        process = shadow(settings, gentler)
    wait_for(settings, 2)
    stop(process)


def test_without_a_policy_it_says_what_to_set(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["shadow"]) == 2
    assert "SUCCESS_SHADOW_POLICY" in capsys.readouterr().err
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("version = 2\n")
    assert run(["shadow", "--policy", str(wrong)]) == 2
    assert "wrong.toml" in capsys.readouterr().err


def shadow(settings: Settings, policy: Path) -> subprocess.Popen[str]:
    """The process, once it reads."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from cli.main import main; main()", "shadow"],
        env=settings.as_env() | {"SUCCESS_SHADOW_POLICY": str(policy), "PATH": ""},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("shadowing with gentler.toml")
    return process


def stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    assert process.wait(timeout=60) == 0


def publish(settings: Settings, *records: Record) -> None:
    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka) as producer:
            for record in records:
                topic = full_name(settings.topic_prefix, CONDITIONS)
                await producer.send_and_wait(topic, record.value, record.key)

    asyncio.run(send())


def wait_for(settings: Settings, rows: int) -> None:
    deadline = time.monotonic() + WITHIN_S
    while query(settings, "SELECT count(*) FROM shadow_interventions") != [(rows,)]:
        assert time.monotonic() < deadline, f"{rows} rows did not come"
        time.sleep(0.1)


def query(settings: Settings, text: str) -> list[tuple[object, ...]]:
    with psycopg.connect(settings.database_url) as conn:
        return conn.execute(text.encode()).fetchall()
