"""A worker whose Postgres comes late or hangs: scoring goes on, rebalances end, and it never ends by itself."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from runtime.settings import Settings
from tests.agents.health.records import event_record
from tests.agents.workers import EVERYWHERE, now_ms
from tests.chaos.servers import Servers
from tests.chaos.workers import WorkerProcess
from tests.conftest import PARTITIONS, SECRETS, migrate
from tests.reference.logs import publish, read
from topics.catalog import HEALTH

pytestmark = pytest.mark.stack
logger = logging.getLogger(__name__)

WITHIN_S = 120.0
REBALANCE_S = 15.0


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    made = Servers(tmp_path / "servers")
    try:
        made.start()
        yield made
    finally:
        made.stop()


def settings_of(servers: Servers, tmp_path: Path) -> Settings:
    return Settings(
        kafka=servers.bootstrap,
        database_url=servers.database_url,
        smtp_url=f"smtp://127.0.0.1:{servers.sink.port}",
        partitions=PARTITIONS,
        state_dir=tmp_path / "state",
        development=True,
        **SECRETS,
    )


async def scored(settings: Settings) -> set[str]:
    return {record.key.decode() for records in await read(settings, HEALTH) for record in records}


def stored(settings: Settings) -> set[str]:
    with psycopg.connect(settings.database_url) as conn:
        return {name for (name,) in conn.execute("SELECT supplier_id::text FROM customer_health").fetchall()}


def log_of(kind: str) -> list[tuple[bytes, bytes]]:
    """An event of each of those who live on any partition."""
    records = [event_record(supplier, kind, now_ms()) for supplier in EVERYWHERE]
    return [(record.key or b"", record.value or b"") for record in records]


async def test_a_worker_whose_postgres_comes_only_after_its_start_scores_and_then_writes(
    servers: Servers, tmp_path: Path
) -> None:
    settings = settings_of(servers, tmp_path)
    await asyncio.to_thread(migrate, settings)
    await asyncio.to_thread(servers.postgres.kill)
    with WorkerProcess(settings, tmp_path / "worker.log") as worker:
        child = await worker.child()
        await publish(settings, log_of("supplier.logged_in"))
        async with asyncio.timeout(WITHIN_S):
            while await scored(settings) != set(EVERYWHERE):  # noqa: ASYNC110 - a process does it
                await asyncio.sleep(0.2)
        await asyncio.to_thread(servers.postgres.start)
        async with asyncio.timeout(WITHIN_S):
            while await asyncio.to_thread(stored, settings) != set(EVERYWHERE):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.2)
        assert (await worker.child()).pid == child.pid
        assert "waits for Postgres" in worker.log()
        assert await worker.stop() == 0


@pytest.mark.parametrize("away", ["freeze", pytest.param("kill", marks=pytest.mark.long)])
async def test_postgres_away_in_the_middle_of_transactions_does_not_keep_a_rebalance_from_ending(
    servers: Servers, tmp_path: Path, away: str
) -> None:
    """What is under way is given up after some seconds, before the group would go on without the one who waits."""
    settings = settings_of(servers, tmp_path)
    await asyncio.to_thread(migrate, settings)
    with ExitStack() as workers:
        one = workers.enter_context(WorkerProcess(settings, tmp_path / "one.log"))
        await one.ready()
        child = await one.child()
        await publish(settings, log_of("supplier.logged_in") * 20)
        await asyncio.to_thread(getattr(servers.postgres, away))
        began = time.monotonic()
        two = workers.enter_context(WorkerProcess(settings, tmp_path / "two.log"))
        await publish(settings, log_of("form.created"))
        await two.ready()  # while it is frozen
        took = time.monotonic() - began
        logger.info("two workers share the partitions %.1f s after Postgres was away", took)
        await asyncio.sleep(REBALANCE_S)  # who was put out of the group comes back and begins it all again
        assert [worker.log().count("UnknownMemberId") for worker in (one, two)] == [0, 0], (
            one.log() + two.log()
        )
        if away == "freeze":
            servers.postgres.thaw()
        else:
            await asyncio.to_thread(servers.postgres.start)
        async with asyncio.timeout(WITHIN_S):
            while await asyncio.to_thread(stored, settings) != set(EVERYWHERE):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.2)
        assert (await one.child()).pid == child.pid, one.log()
        assert [await one.stop(), await two.stop()] == [0, 0]
