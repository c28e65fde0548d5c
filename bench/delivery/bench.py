"""How many emails a second delivery hands to a mail server: `python -m bench.delivery.bench`.

Starts an ephemeral stack, writes a due row for each of as many suppliers, and lets 1, 2 and 4 processes that deliver as
`success deliver --once` does at them, on the real Postgres and the real SMTP sink.
"""

from __future__ import annotations

import asyncio
import cProfile
import os
import pstats
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

import click
import psycopg
from psycopg import sql

from agents.delivery.round import Delivery
from embedded.stack import Stack
from runtime.clock import ManualClock
from runtime.keys import Keys
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from scoring.time import DAY, HOUR
from store import health, suppliers
from store.database import Role, open_pool
from store.messages import interventions
from store.migrate import migrate
from topics.time import format_time, parse_time

NINE = parse_time("2026-01-19T09:00:00Z")
TRIGGERS = ("low_client_adoption", "no_login_7_days", "became_at_risk")


@click.command()
@click.option("--emails", default=1000, show_default=True, help="Due emails, one a supplier.")
@click.option("--processes", default="1,2,4", show_default=True, help="Delivery processes side by side.")
@click.option("--dkim-key", type=click.Path(exists=True, path_type=Path), help="Sign with this key.")
@click.option("--profile", is_flag=True, help="Deliver in this process and print where its time goes.")
def main(emails: int, processes: str, dkim_key: Path | None, profile: bool) -> None:
    """Print emails a second, and the CPU time that each costs the delivering processes."""
    with ExitStack() as cleanup:
        stack = Stack(ephemeral=True)
        cleanup.callback(stack.stop)
        addresses = stack.start()
        for number in [1] if profile else [int(each) for each in processes.split(",")]:
            settings = Settings(
                kafka=addresses.kafka,
                database_url=database(addresses.database_url),
                smtp_url=addresses.smtp,
                dkim_key=dkim_key,
                secret_key="bench",  # noqa: S106 - of a throw-away stack
            )
            asyncio.run(fill(settings, emails))
            if profile:
                with cProfile.Profile() as found:
                    asyncio.run(deliver(settings))
                pstats.Stats(found).sort_stats("tottime").print_stats(25)
            else:
                took, cpu = measured(settings, number)
                signed = ", DKIM" if dkim_key else ""
                click.echo(
                    f"{emails / took:>7,.0f} emails/s  {cpu / emails * 1000:5.1f} ms of CPU an email"
                    f"  {number} process(es){signed}"
                )
            with psycopg.connect(settings.database_url) as conn:
                left = conn.execute(
                    "SELECT count(*) FROM success_interventions WHERE status <> 'sent'"
                ).fetchone()
            if left != (0,):
                raise click.ClickException(f"{left} rows were not sent")


def database(server_url: str) -> str:
    """A migrated database of its own; returns its URL."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = f"{server_url.rpartition('/')[0]}/{name}"
    migrate(url)
    return url


async def fill(settings: Settings, emails: int) -> None:
    """Write suppliers, their health and a due row each."""
    policy = Policy.load()
    people = [str(uuid.uuid4()) for _ in range(emails)]
    pool = await open_pool(settings.database_url, Role.WRITER)
    async with pool.connection() as conn:
        await suppliers.lock(conn, people, Keys("bench"))
        await suppliers.save_profiles(conn, [_profile(person) for person in people])
        await health.save_snapshots(conn, {person: _snapshot() for person in people})
        rows = [
            _row(person, TRIGGERS[number % len(TRIGGERS)], policy) for number, person in enumerate(people)
        ]
        await interventions.add(conn, rows)
    await pool.close()


def measured(settings: Settings, processes: int) -> tuple[float, float]:
    """Seconds that so many processes take from the moment all of them are up, and their CPU seconds together."""
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.delivery.process"],
            env=os.environ | settings.as_env(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(processes)
    ]
    for child in children:
        assert child.stdout is not None  # noqa: S101 - PIPE above
        child.stdout.readline()
    began = time.perf_counter()
    for child in children:
        assert child.stdin is not None  # noqa: S101 - PIPE above
        child.stdin.close()
    cpu = [child.stdout.read() for child in children if child.stdout is not None]
    took = time.perf_counter() - began
    codes = [child.wait() for child in children]
    if any(codes):
        raise click.ClickException(f"a delivery process ended with {codes}")
    return took, sum(float(line) for line in cpu)


async def deliver(settings: Settings) -> None:
    """Deliver all that is due."""
    pool = await open_pool(settings.database_url, Role.WRITER)
    delivery = Delivery(settings, pool, ManualClock(NINE), Policy.load())
    await delivery.deliver_due()
    await delivery.aclose()
    await pool.close()


def _profile(person: str) -> dict[str, object]:
    return {
        "id": person,
        "email": f"{person}@example.com",
        "first_name": "Sarah",
        "business_name": "Golden Hour Weddings",
        "vendor_type": "photographer",
        "timezone": "Europe/London",
        "locale": "en-GB",
        "plan": "free",
        "signed_up_at": format_time(NINE - 20 * DAY),
        "offset": 0,
        "stamp": format_time(NINE),
    }


def _snapshot() -> dict[str, object]:
    return {
        "seq": 10,
        "calculated_at": format_time(NINE),
        "score": 48,
        "sum": 47.5,
        "level": "at_risk",
        "breakdown": {
            "loginFrequency": 20,
            "featureAdoption": 12.5,
            "clientActivity": 10,
            "formCompletion": 5,
        },
        "metrics": {
            "loginFrequency": 8,
            "featureAdoption": 0.5,
            "clientActivity": 0.4,
            "formCompletion": 0.5,
            "journeyPerformance": 0.0,
        },
        "features": ["clients_imported", "forms_created"],
        "clients": {"known": 5, "active": 2},
        "forms": {"created": 1, "sent": 2, "completed": 1},
        "journeys": {"active": 0, "sent": 0, "opened": 0},
        "last_login": format_time(NINE - 8 * DAY),
        "signed_up_at": format_time(NINE - 20 * DAY),
        "plan": "free",
        "cancelled": False,
        "last_goals": {},
        "next_change_at": None,
        "churn_probability": 0.4,
    }


def _row(person: str, name: str, policy: Policy) -> dict[str, object]:
    trigger = policy.trigger(name)
    assert trigger is not None  # noqa: S101 - of the default policy
    signal_id = uuid.uuid4()
    at = format_time(NINE - HOUR)
    return {
        "id": str(uuid.uuid5(signal_id, name)),
        "supplier_id": person,
        "trigger": name,
        "channel": trigger.channel,
        "template": trigger.template,
        "kind": trigger.kind,
        "priority": trigger.priority,
        "status": "scheduled",
        "reason": None,
        "due_at": at,
        "signal_id": str(signal_id),
        "signal_at": at,
        "seq": 10,
        "metadata": {"signal": {"type": "success.condition.met", "seq": 10, "occurrence": 1}},
        "created_at": at,
    }


if __name__ == "__main__":
    main()
