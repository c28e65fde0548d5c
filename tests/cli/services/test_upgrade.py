"""From the version before to this one while everything runs: its services beside the new schema, then one by one.

The version before is a commit of ours. With `SUCCESS_LONG_TESTS=1` the tables hold a million rows.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from aiokafka import AIOKafkaProducer
from psycopg.conninfo import conninfo_to_dict

from embedded.process import free_port
from runtime.settings import Settings
from tests.conftest import SECRETS, in_own_loop
from tests.factories import cloudevent
from tests.forms import LONG
from tests.reference.topics import delete_topics
from tests.store.databases import database
from topics.partitioner import partition_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[3]
BEFORE = "f577b74"
ROWS = 1_000_000 if LONG else 30_000
LONGEST_WAIT_S = 3.0
"""Of whoever reads and writes meanwhile: the migration's own limit is 2 s, and the machine has much else to do."""
FILL = """
INSERT INTO suppliers (id, email)
SELECT gen_random_uuid(), n || '@example.com' FROM generate_series(1, ROWS / 50) n;
INSERT INTO audit_log (actor, actor_role, action) SELECT 'somebody', 'cli', 'act' FROM generate_series(1, ROWS);
INSERT INTO health_history (id, supplier_id, seq, at, score, risk_level, causes)
SELECT gen_random_uuid(), id, n, now() - interval '1 hour' * (51 - n), 50 + n % 20, 'at_risk', '[]'
FROM suppliers, generate_series(1, 50) n;
"""


class Installation:
    """Services of both versions on one database and one Kafka, and the product that goes on publishing."""

    def __init__(self, settings: Settings, before: Path, folder: Path) -> None:
        self.settings = settings
        self.before = before
        self.folder = folder
        self.old_port, self.port = free_port(), free_port()
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.published: dict[str, int] = {}

    def command(self, *arguments: str, old: bool) -> tuple[list[str], dict[str, str], Path]:
        """How a command of one of the versions is started: command line, environment and folder."""
        home = self.before if old else ROOT
        line = [sys.executable, "-c", "from cli.main import main; main()", *arguments]
        environment = self.settings.as_env() | {"PYTHONPATH": str(home), "PATH": os.environ["PATH"]}
        return line, environment | {"SUCCESS_API_PORT": str(self.old_port if old else self.port)}, home

    def run(self, *arguments: str, old: bool = False) -> str:
        line, environment, home = self.command(*arguments, old=old)
        done = subprocess.run(line, env=environment, cwd=home, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, service: str, *, old: bool = False) -> None:
        line, environment, home = self.command(service, old=old)
        name = f"{service} {'before' if old else 'now'}"
        with self.log(name).open("wb") as log:
            self.running[name] = subprocess.Popen(line, env=environment, cwd=home, stdout=log, stderr=log)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def stop(self, name: str) -> None:
        process = self.running.pop(name)
        process.terminate()
        assert process.wait(60) == 0, self.log(name).read_text()

    def all_are_well(self) -> None:
        for name, process in self.running.items():
            assert process.poll() is None, self.log(name).read_text()[-3000:]
            assert "Traceback" not in self.log(name).read_text(), self.log(name).read_text()[-3000:]

    def ask(self, query: str) -> list[tuple]:
        with psycopg.connect(self.settings.database_url) as conn:
            return conn.execute(query.encode()).fetchall()

    def publish(self, suppliers: int) -> None:
        """Each of some new suppliers signs up and imports three clients."""
        in_own_loop(self._publish([str(uuid4()) for _ in range(suppliers)]))

    async def _publish(self, suppliers: list[str]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.kafka)
        await producer.start()
        topic, count = f"{self.settings.topic_prefix}supplier.activity", self.settings.partitions
        for supplier in suppliers:
            now, key = round(time.time() * 1000), supplier.encode()
            events = [cloudevent("supplier.signed_up", supplier, now)]
            events += [
                cloudevent("client.imported", supplier, now, data={"client_id": str(n)}) for n in range(3)
            ]
            for event in events:
                value = json.dumps(event).encode()
                await producer.send_and_wait(topic, value, key=key, partition=partition_of(key, count))
            self.published[supplier] = 3
        await producer.stop()

    def clients(self) -> dict[str, int]:
        """Known clients of each of those who published, as stored."""
        rows = self.ask("SELECT supplier_id::text, (facts #>> '{clients,known}')::int FROM customer_health")
        return {supplier: clients for supplier, clients in rows if supplier in self.published}

    def is_ready(self) -> bool:
        """Whether the API of this version says so."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def welcomed(self) -> int:
        """How many were sent the first message."""
        [(sent,)] = self.ask(
            "SELECT count(*) FROM success_interventions WHERE trigger_condition = 'signed_up' AND status = 'sent'"
        )
        return int(sent)

    def arrives(self) -> None:
        """All that was published is counted, once, and nothing is refused."""
        until(lambda: self.clients() == self.published)
        self.all_are_well()


def until(holds: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@contextmanager
def others_at_work(database_url: str) -> Iterator[list[float]]:
    """People who read and write all the time; gives how long each had to wait, in seconds."""
    waits: list[float] = []
    ended = threading.Event()

    def work(statement: str) -> None:
        with psycopg.connect(database_url, autocommit=True) as conn:
            while not ended.is_set():
                began = time.monotonic()
                conn.execute(statement.encode())
                waits.append(time.monotonic() - began)
                time.sleep(0.005)

    statements = (
        "UPDATE suppliers SET first_name = 'x' WHERE id = (SELECT id FROM suppliers LIMIT 1)",
        "INSERT INTO audit_log (actor, actor_role, action) VALUES ('a', 'cli', 'x')",
        "SELECT count(*) FROM success_interventions WHERE status = 'sending'",
        "SELECT * FROM health_history LIMIT 10",
    )
    with ThreadPoolExecutor(len(statements)) as threads:
        working = [threads.submit(work, each) for each in statements]
        try:
            yield waits
        finally:
            ended.set()
        for each in working:
            each.result()


@pytest.fixture
def installation(stack, tmp_path: Path) -> Iterator[Installation]:
    archive = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, capture_output=True, check=True).stdout
    before = tmp_path / "before"
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(before, filter="data")
    with database(stack.database_url) as own:
        url = stack.database_url.rpartition("/")[0] + f"/{conninfo_to_dict(own)['dbname']}"
        settings = Settings(
            kafka=stack.kafka,
            database_url=url,
            smtp_url=stack.smtp,
            topic_prefix=f"t{uuid4().hex[:8]}.",
            partitions=2,
            state_dir=tmp_path / "state",
            **SECRETS,
        )
        installed = Installation(settings, before, tmp_path)
        try:
            yield installed
        finally:
            for process in installed.running.values():
                process.terminate()
            for process in installed.running.values():
                process.wait(60)
            in_own_loop(delete_topics(settings))


def test_the_services_of_the_version_before_go_on_beside_the_new_schema_and_are_replaced_one_by_one(
    installation: Installation,
) -> None:
    installation.run("migrate", old=True)
    with psycopg.connect(installation.settings.database_url) as conn:
        conn.execute(FILL.replace("ROWS", str(ROWS)).encode())
    for service in ("worker", "deliver", "api"):
        installation.start(service, old=True)
    installation.publish(5)
    installation.arrives()

    with others_at_work(installation.settings.database_url) as waits:
        said = installation.run("migrate")
    assert "left for `success migrate --after`" in said
    assert max(waits) < LONGEST_WAIT_S

    installation.publish(5)
    installation.arrives()
    for service in ("worker", "deliver", "api"):
        installation.start(service)
        installation.publish(2)
        installation.stop(f"{service} before")
        installation.publish(2)
        installation.arrives()
    assert "0028_suppressed_of_one_hash.after" in installation.run("migrate", "--after")

    installation.publish(5)
    installation.arrives()
    until(installation.is_ready)
    until(lambda: installation.welcomed() == len(installation.published))
    installation.all_are_well()
