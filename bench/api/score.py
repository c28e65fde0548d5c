"""How fast `GET /api/health/score/{id}` is under load: `python -m bench.api.score`.

Starts an ephemeral stack, fills Postgres with suppliers and their histories, serves the API with `success api`, and
lets another process (`bench/api/load.py`) send requests at a fixed rate, each with the token of its supplier.
The rate does not wait for answers, and a request's time counts from the moment it was due: who is slow can't hide it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import psutil
import psycopg

from agents.cluster.provisioning import create_topics
from api.auth import sign
from embedded.process import free_port
from embedded.stack import Stack
from runtime.keys import Keys
from runtime.settings import Settings
from scoring.time import DAY, HOUR
from store import health, suppliers
from store.database import Role, open_pool
from store.migrate import migrate
from topics.time import format_time

CHUNK = 5_000
PATIENCE_S = 60
HISTORY = """
INSERT INTO health_history (id, supplier_id, seq, at, score, risk_level)
SELECT gen_random_uuid(), s.id, n, now() - make_interval(days => %(changes)s - n::int), 40 + (n %% 30), 'at_risk'
FROM suppliers s, generate_series(1, %(changes)s) n
"""


@click.command()
@click.option("--suppliers", "count", default=20_000, show_default=True)
@click.option("--changes", default=40, show_default=True, help="Rows of history a supplier.")
@click.option("--rate", default=200, show_default=True, help="Requests a second.")
@click.option("--seconds", default=30, show_default=True)
@click.option("--connections", default=32, show_default=True, help="Kept open by the load generator.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(count: int, changes: int, rate: int, seconds: int, connections: int, as_json: bool) -> None:
    """Print the latencies of the score answer in ms, and the CPU time that one costs the API."""
    with ExitStack() as cleanup:
        stack = Stack(ephemeral=True)
        cleanup.callback(stack.stop)
        addresses = stack.start()
        settings = Settings(
            kafka=addresses.kafka,
            database_url=addresses.database_url,
            smtp_url=addresses.smtp,
            api_port=free_port(),
        )
        migrate(settings.database_url)
        asyncio.run(create_topics(settings))
        people = asyncio.run(fill(settings, count, changes))
        process = cleanup.enter_context(api(settings))
        found = measured(settings, process, people, rate, seconds, connections)
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(
        f"{found['answered']:,} answers at {rate}/s, {found['errors']} errors; ms: "
        f"p50 {found['p50']:.2f}  p90 {found['p90']:.2f}  p99 {found['p99']:.2f}  max {found['max']:.2f}; "
        f"{found['cpu_ms']:.2f} ms of the API's CPU each; {count:,} suppliers, {count * changes:,} changes"
    )


async def fill(settings: Settings, count: int, changes: int) -> list[str]:
    """Write suppliers with their health and history."""
    now = time.time_ns() // 1_000_000
    people = [str(uuid.uuid4()) for _ in range(count)]
    pool = await open_pool(settings.database_url, Role.WRITER)
    for start in range(0, count, CHUNK):
        some = people[start : start + CHUNK]
        async with pool.connection() as conn:
            await suppliers.lock(conn, some, Keys("bench"))
            await health.save_snapshots(conn, dict.fromkeys(some, _snapshot(now)))
    await pool.close()
    with psycopg.connect(settings.database_url, autocommit=True) as conn:
        conn.execute(HISTORY, {"changes": changes})
        conn.execute("VACUUM ANALYZE")
    return people


@contextmanager
def api(settings: Settings) -> Iterator[psutil.Process]:
    """Serve the API as `success api` does, until the end."""
    command = [str(Path(sys.executable).with_name("success")), "api"]
    child = subprocess.Popen(  # noqa: S603 - our own command
        command, env=os.environ | settings.as_env(), stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not _answers(settings.api_port):
            if child.poll() is not None or time.monotonic() > deadline:
                raise click.ClickException("the API did not start")
            time.sleep(0.1)
        yield psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(PATIENCE_S)


def measured(
    settings: Settings, process: psutil.Process, people: list[str], rate: int, seconds: int, connections: int
) -> dict[str, Any]:
    """Run the load generator: first some seconds that don't count, then those that do."""
    now_s = int(time.time())
    asked = people[:: max(1, len(people) // 2_000)]
    targets = [(who, sign(settings, "supplier", who, 3600, now_s)) for who in asked]
    _load(settings.api_port, targets, rate, 3, connections)
    before = process.cpu_times()
    found = _load(settings.api_port, targets, rate, seconds, connections)
    after = process.cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    return found | {"cpu_ms": cpu_s * 1000 / max(1, found["answered"]), "rate": rate}


def _load(
    port: int, targets: list[tuple[str, str]], rate: int, seconds: int, connections: int
) -> dict[str, Any]:
    order = {"port": port, "targets": targets, "rate": rate, "seconds": seconds, "connections": connections}
    done = subprocess.run(
        [sys.executable, "-m", "bench.api.load"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004
    except OSError:
        return False


def _snapshot(now: int) -> dict[str, Any]:
    return {
        "seq": 10,
        "calculated_at": format_time(now - HOUR),
        "score": 48,
        "sum": 47.5,
        "level": "at_risk",
        "breakdown": {
            "loginFrequency": 20.0,
            "featureAdoption": 12.5,
            "clientActivity": 10.0,
            "formCompletion": 5.0,
            "journeyPerformance": 0.0,
        },
        "metrics": {
            "loginFrequency": 5,
            "featureAdoption": 0.5,
            "clientActivity": 0.4,
            "formCompletion": 0.5,
            "journeyPerformance": 0.0,
        },
        "features": ["clients_imported", "forms_created"],
        "clients": {"known": 5, "active": 2},
        "forms": {"created": 1, "sent": 2, "completed": 1},
        "journeys": {"active": 0, "sent": 0, "opened": 0},
        "last_login": format_time(now - 5 * DAY),
        "next_change_at": None,
        "churn_probability": 0.4,
    }


if __name__ == "__main__":
    main()
