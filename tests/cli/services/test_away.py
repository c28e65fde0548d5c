"""Kafka frozen, Postgres read-only, Postgres hung: deliver and api go on by themselves, and never end.

The servers are the test's own; each is frozen longer than the limits that once ended the services (10 s idle in a
transaction).
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from embedded.process import free_port
from embedded.registry import read_record
from embedded.stack import Stack
from runtime.settings import Settings
from tests.cli.services.test_deliver import success
from tests.conftest import SECRETS, migrate

pytestmark = pytest.mark.stack

LONGER_THAN_THE_LIMITS_S = 13.0
ANSWERS_WITHIN_S = 3.0
"""`/readyz`, whatever is away."""
EVENT = "INSERT INTO outbox (topic, key, value) VALUES ('success.interventions', 'somebody', %s)"


class Services:
    """`success deliver` and `success api` on servers of their own."""

    def __init__(self, stack: Stack, settings: Settings, port: int) -> None:
        self.settings = settings
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self.running: list[asyncio.subprocess.Process] = []
        record = read_record(stack.data_dir)
        assert record is not None
        self.pids = {name: process.pid for name, process in record.processes.items()}

    @contextmanager
    def frozen(self, server: str) -> Iterator[None]:
        """A server that neither answers nor hangs up, with all of its processes."""
        top = psutil.Process(self.pids[server])
        those = [top, *top.children(recursive=True)]
        for each in those:
            each.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for each in those:
                if each.is_running():
                    each.send_signal(signal.SIGCONT)

    def execute(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.settings.database_url, autocommit=True) as conn:
            found = conn.execute(query.encode(), parameters)
            return found.fetchall() if found.description else []

    def unpublished(self) -> int:
        [(count,)] = self.execute("SELECT count(*) FROM outbox WHERE published_at IS NULL")
        assert isinstance(count, int)
        return count

    def readyz(self) -> tuple[int, dict[str, object], float]:
        """Status and body of `/readyz`, and the seconds it took."""
        began = time.monotonic()
        answer = self.client.get("/readyz")
        return answer.status_code, answer.json(), time.monotonic() - began

    def family(self) -> set[int]:
        """The processes of both services: a new one has been started again."""
        return {
            each.pid
            for process in self.running
            for each in (
                psutil.Process(process.pid),
                *psutil.Process(process.pid).children(recursive=True),
            )
        }


async def until(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


def is_ready(services: Services) -> bool:
    try:
        return services.readyz()[1] == {"status": "ready"}
    except httpx.TransportError:
        return False


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    """Both at work on a stack of the test's own."""
    stack = Stack(ephemeral=True)
    made: Services | None = None
    try:
        addresses = await asyncio.to_thread(stack.start)
        settings = Settings(
            kafka=addresses.kafka,
            database_url=addresses.database_url,
            smtp_url=addresses.smtp,
            state_dir=tmp_path / "state",
            partitions=1,
            **SECRETS,
        )
        migrate(settings)
        port = free_port()
        made = Services(stack, settings, port)
        made.running = [
            await success(settings, "deliver"),
            await success(settings, "api", "--port", str(port)),
        ]
        await until(lambda: is_ready(made))
        made.execute(EVENT, b"{}")
        await until(lambda: made.unpublished() == 0)
        yield made
    finally:
        if made:
            made.client.close()
        running = made.running if made else []
        for process in running:
            if process.returncode is None:
                process.terminate()
        for process in running:
            await asyncio.wait_for(process.communicate(), 60)
        stack.stop()


async def test_whatever_is_away_everything_goes_on_by_itself_and_readyz_answers(services: Services) -> None:
    family = services.family()

    with services.frozen("kafka"):
        services.execute(EVENT, b"{}")
        await asyncio.sleep(LONGER_THAN_THE_LIMITS_S)
        status, said, took = await asyncio.to_thread(services.readyz)
        assert (status, list(said["missing"])) == (200, ["kafka"])  # type: ignore[call-overload]
        assert took < ANSWERS_WITHIN_S
    await until(lambda: services.unpublished() == 0)

    services.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    services.execute("SELECT pg_reload_conf()")
    await asyncio.sleep(LONGER_THAN_THE_LIMITS_S)
    with psycopg.connect(services.settings.database_url, autocommit=True) as conn:
        conn.execute("SET default_transaction_read_only = off")
        conn.execute(EVENT.encode(), [b"{}"])
        conn.execute("ALTER SYSTEM RESET default_transaction_read_only")
        conn.execute("SELECT pg_reload_conf()")
    await until(lambda: services.unpublished() == 0)

    with services.frozen("postgres"):
        for _ in range(3):
            status, said, took = await asyncio.to_thread(services.readyz)
            assert status == 503
            assert "postgres" in said["missing"]  # type: ignore[operator]
            assert took < ANSWERS_WITHIN_S
        await asyncio.sleep(LONGER_THAN_THE_LIMITS_S)
    await until(lambda: is_ready(services))
    services.execute(EVENT, b"{}")
    await until(lambda: services.unpublished() == 0)

    assert [process.returncode for process in services.running] == [None, None]
    assert services.family() == family  # nothing ended, nothing was started again


async def test_services_start_before_their_servers_and_say_what_they_wait_for(tmp_path: Path) -> None:
    """Nothing answers at these addresses, and the secrets are the embedded stack's own."""
    stack = Stack(tmp_path / "stack")
    running: list[asyncio.subprocess.Process] = []
    try:
        addresses = await asyncio.to_thread(stack.start)
        settings = Settings(
            kafka=addresses.kafka,
            database_url=addresses.database_url,
            smtp_url=addresses.smtp,
            state_dir=tmp_path / "state",
            partitions=1,
            **SECRETS,
        )
        migrate(settings)
        record = read_record(stack.data_dir)
        assert record is not None
        os.kill(record.processes["kafka"].pid, signal.SIGKILL)
        port = free_port()
        api = await success(settings, "api", "--port", str(port))
        deliver = await success(settings, "deliver")
        running = [api, deliver, impatient := await success(settings, "deliver", "--no-wait")]
        _, err = await asyncio.wait_for(impatient.communicate(), 180)
        said = err.decode()
        errors = [
            line for line in said.splitlines() if " WARNING " not in line
        ]  # no HTTPS here, and it says so
        assert (impatient.returncode, len(errors)) == (1, 1), said
        assert errors[0].startswith("error: Kafka can't be reached"), said

        def answers() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == 200
            except httpx.TransportError:
                return False

        await until(answers)  # links in emails, coach and dashboard need no Kafka
        for process in (api, deliver):
            process.terminate()
        for process in (api, deliver):
            _, err = await asyncio.wait_for(process.communicate(), 60)
            assert process.returncode == 0
            assert "the outbox waits for Kafka" in err.decode()
            assert len(err.decode().splitlines()) < 20
    finally:
        for process in running:
            if process.returncode is None:
                process.kill()
                await process.wait()
        stack.stop()
