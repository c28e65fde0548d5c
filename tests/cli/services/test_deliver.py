"""`success deliver` and `success preview` as a person starts them, on the real stack."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer

from embedded.registry import Addresses
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.decisions.policy import DEFAULT, Policy
from store.database import Role, open_pool
from tests.agents.delivery.world import World
from tests.cli.here import success_beside

pytestmark = pytest.mark.stack


@pytest.fixture
async def world(settings: Settings) -> AsyncIterator[World]:
    """Suppliers and rows of this very moment."""
    pool = await open_pool(settings.database_url, Role.WRITER)
    yield World(settings, pool, ManualClock(time.time_ns() // 1_000_000), Policy.load())
    await pool.close()


async def success(settings: Settings, *arguments: str) -> asyncio.subprocess.Process:
    """Start a `success` command with these settings."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from cli.main import main; main()",
        *arguments,
        env=os.environ | settings.as_env(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def finished(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), err.decode()


async def until_sent(world: World, row: str) -> None:
    deadline = time.monotonic() + 120
    while (await world.status(row))[0] != "sent":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def until_at_work(world: World, processes: int) -> None:
    """Wait until so many deliveries hold the lock that says they live."""
    deadline = time.monotonic() + 120
    alive = """
        SELECT count(*) AS number FROM pg_locks WHERE locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    while (await world.query(alive))[0]["number"] < processes:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def mailed(addresses: Addresses, row: str) -> list[Path]:
    """The files of the mail sink that hold a row's message."""
    return [
        file
        for file in addresses.mail_dir.glob("*.eml")
        if message_from_bytes(file.read_bytes(), policy=policy.default)["X-Success-Intervention"] == row
    ]


async def told(settings: Settings, count: int) -> list[dict[str, Any]]:
    """The first `count` events on `success.interventions`."""
    consumer = AIOKafkaConsumer(
        f"{settings.topic_prefix}success.interventions",
        bootstrap_servers=settings.kafka,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        return [
            json.loads((await asyncio.wait_for(consumer.getone(), 30)).value or b"{}") for _ in range(count)
        ]
    finally:
        await consumer.stop()


async def test_once_delivers_what_is_due_and_tells_kafka(world: World, stack: Addresses) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "first_form_created")

    code, out, err = await finished(await success(world.settings, "deliver", "--once", "--json"))

    assert code == 0, err
    assert not {"WARNING", "ERROR", "warning", "error"} & set(
        err.replace("[", " ").replace("]", " ").split()
    ), err
    assert json.loads(out) == {
        "sent": 1,
        "suppressed": 0,
        "waiting": 0,
        "retried": 0,
        "failed": 0,
        "unknown": 0,
    }
    assert len(mailed(stack, row)) == 1
    events = await told(world.settings, 2)
    assert [event["type"] for event in events] == [
        "success.intervention.sending",
        "success.intervention.sent",
    ]
    assert {event["subject"] for event in events} == {supplier}


async def test_three_that_run_side_by_side_wake_up_send_once_and_stop_gracefully(
    world: World, stack: Addresses
) -> None:
    processes = [await success(world.settings, "deliver") for _ in range(3)]
    await until_at_work(world, 3)
    rows = []
    for _ in range(12):
        supplier = await world.supplier()
        world.clock.advance_to(time.time_ns() // 1_000_000)
        rows.append(await world.row(supplier, "first_form_created"))
        await world.query("SELECT pg_notify('success_delivery', '')")
    for row in rows:
        await until_sent(world, row)

    for process in processes:
        process.send_signal(signal.SIGTERM)
    ends = [await finished(process) for process in processes]

    assert [code for code, _, _ in ends] == [0, 0, 0], ends
    assert [len(mailed(stack, row)) for row in rows] == [1] * 12
    events = await told(world.settings, 24)
    assert sum(event["type"] == "success.intervention.sent" for event in events) == 12


async def test_a_lost_database_is_waited_for(world: World, settings: Settings) -> None:
    process = await success(settings, "deliver")
    before = await world.row(await world.supplier(), "first_form_created")
    await world.query("SELECT pg_notify('success_delivery', '')")
    await until_sent(world, before)

    await world.pool.close()
    with psycopg.connect(settings.database_url, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    world.pool = await open_pool(settings.database_url, Role.WRITER)
    world.clock.advance_to(time.time_ns() // 1_000_000)
    after = await world.row(await world.supplier(), "first_form_created")
    await world.query("SELECT pg_notify('success_delivery', '')")  # as the writer of rows does
    await until_sent(world, after)

    process.send_signal(signal.SIGTERM)
    code, _, err = await finished(process)
    assert code == 0, err
    assert "Traceback" not in err
    await world.pool.close()


async def test_a_wrong_policy_stops_the_start_and_says_where(settings: Settings, tmp_path: Path) -> None:
    wrong = tmp_path / "mine.toml"
    wrong.write_text(DEFAULT.read_text().replace("total = 3", "total = -3"))

    process = await success(settings.model_copy(update={"policy": wrong}), "deliver", "--once")
    code, _, err = await finished(process)

    assert code == 2
    assert "mine.toml: [caps], field 'total'" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("template", ["grow_client_list", "call_rescheduled"])
async def test_preview_sends_a_sample_to_an_address(
    settings: Settings, stack: Addresses, template: str
) -> None:
    before = set(stack.mail_dir.glob("*.eml"))

    process = await success(settings, "preview", template, "--send-to", "designer@example.com")
    code, out, err = await finished(process)

    assert code == 0, err
    assert not {"WARNING", "ERROR", "warning", "error"} & set(
        err.replace("[", " ").replace("]", " ").split()
    ), err
    assert out == f"sent {template} to designer@example.com\n"
    [file] = set(stack.mail_dir.glob("*.eml")) - before
    message = message_from_bytes(file.read_bytes(), policy=policy.default)
    assert (message["X-Success-Template"], message["X-Rcpt-To"]) == (template, "<designer@example.com>")


async def test_preview_writes_html_or_text(settings: Settings, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    code, _, _ = await success_beside(settings, "preview", "quick_win", "--out", str(page))
    assert code == 0
    assert "<h1" in page.read_text()
    _, out, _ = await success_beside(settings, "preview", "call_offer")
    assert out.startswith("Subject: Offer a quick call\n")
    code, _, err = await success_beside(settings, "preview", "nonsense")
    assert code == 2
    assert "no template is called 'nonsense'; there are call_cancelled, " in err
