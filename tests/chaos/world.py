"""A whole deployment of a test's own: servers, two workers, delivery, the API, and suppliers who live in it."""

from __future__ import annotations

import asyncio
import random
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from uuid import UUID

import httpx
import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from embedded.process import free_port
from runtime.settings import Settings
from tests.agents.health.records import event_record
from tests.chaos.mail_tap import MailTap
from tests.chaos.servers import Servers
from tests.chaos.workers import ServiceProcess, WorkerProcess
from tests.conftest import PARTITIONS, SECRETS, migrate
from tests.reference.logs import PATIENCE_MS
from topics.catalog import ACTIVITY, PROFILES, full_name
from topics.partitioner import partition_of

SKEWED = Path(__file__).parent / "skewed"
NOON = 12
RECOVERED_WITHIN_S = 300.0
REPEATED = 0.1
"""Of all live events so many are published twice."""
SHUFFLED = 8
"""So many neighbours come in any order."""
Sent = tuple[str, bytes, bytes]
"""(catalogue name of the topic, key, value)"""


class WrongClock:
    """The wall clock of one process, which can be wrong (`skewed/sitecustomize.py`)."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.write_bytes(struct.pack("d", 0.0))
        self.environment = {"CHAOS_CLOCK": str(file), "PYTHONPATH": str(SKEWED)}

    def set(self, seconds: float) -> None:
        """By so many seconds, from now on."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("d", seconds))


@dataclass
class Recovery:
    """What a fault cost."""

    fault: str
    lasted_s: float
    recovered_s: float
    """From its end until a supplier's form had brought its email, and the API was ready."""


@dataclass
class World:
    """All that faults strike."""

    settings: Settings
    servers: Servers
    tap: MailTap
    folder: Path
    rng: random.Random
    workers: list[ServiceProcess] = field(default_factory=list)
    deliver: ServiceProcess | None = None
    api: ServiceProcess | None = None
    clocks: list[WrongClock] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)
    slowest_readyz_s: float = 0.0
    live: dict[str, str] = field(default_factory=dict)
    """Suppliers who signed up while faults struck, and their addresses."""
    _numbers: Iterator[int] = field(default_factory=count)

    def log_of(self, name: str) -> Path:
        """A new log for a process."""
        return self.folder / f"{name}-{next(self._numbers)}.log"

    def start_services(self) -> None:
        """Two workers, the first with a clock that can be wrong, delivery and the API."""
        for number in range(2):
            clock = WrongClock(self.folder / f"clock-{number}")
            self.clocks.append(clock)
            self.workers.append(
                WorkerProcess(self.settings, self.log_of("worker"), environment=clock.environment)
            )
        self.deliver = ServiceProcess(self.settings, self.log_of("deliver"), "deliver")
        self.start_api()

    def start_api(self) -> None:
        """The API has no supervisor of its own: the platform starts it again, which is us."""
        self.api = ServiceProcess(self.settings, self.log_of("api"), "api")

    def processes(self) -> list[ServiceProcess]:
        """All services."""
        return [*self.workers, *(each for each in (self.deliver, self.api) if each is not None)]

    async def stop_services(self) -> list[int]:
        """SIGTERM to all; their exit codes."""
        return list(await asyncio.gather(*(each.stop() for each in self.processes())))

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(
            f"--- {file.name}\n{file.read_text(errors='replace')[-3000:]}"
            for file in sorted(self.folder.glob("*.log"))
        )

    async def recovered(self) -> float:
        """The seconds until all services do their work for somebody new."""
        began = time.monotonic()
        await asyncio.to_thread(self.servers.start_again_who_ended)
        producer = await self.producer()
        try:
            address = await self.sign_up(producer)
        finally:
            await producer.stop()
        while address not in self.addresses_written_to():
            assert time.monotonic() - began < RECOVERED_WITHIN_S, self.logs()
            await asyncio.to_thread(self.servers.start_again_who_ended)
            await asyncio.sleep(0.1)
        while (await self.readyz()) is not True:
            assert time.monotonic() - began < RECOVERED_WITHIN_S, self.logs()
            await asyncio.sleep(0.1)
        return time.monotonic() - began

    async def readyz(self) -> bool:
        """Whether the API says that nothing is missing."""
        try:
            async with httpx.AsyncClient(timeout=10) as client:
                answer = await client.get(f"http://127.0.0.1:{self.settings.api_port}/readyz")
        except httpx.TransportError:
            return False
        return bool(answer.json() == {"status": "ready"})

    async def producer(self) -> AIOKafkaProducer:
        """One that is connected, however long that takes."""
        began = time.monotonic()
        while True:
            made = AIOKafkaProducer(
                bootstrap_servers=self.settings.kafka, enable_idempotence=True, request_timeout_ms=PATIENCE_MS
            )
            try:
                await made.start()
            except KafkaError:
                await made.stop()
                assert time.monotonic() - began < RECOVERED_WITHIN_S, self.logs()
            else:
                return made

    async def sign_up(self, producer: AIOKafkaProducer) -> str:
        """A new supplier signs up and makes a form: a welcome in the coach, and one email to this address, are due."""
        supplier = str(UUID(int=self.rng.getrandbits(128), version=4))
        address = f"{supplier}@example.com"
        self.live[supplier] = address
        for name, key, value in [profile(supplier, address), *first_steps(supplier)]:
            await self.send(producer, name, key, value)
        return address

    async def send(self, producer: AIOKafkaProducer, name: str, key: bytes, value: bytes) -> None:
        """Publish where it belongs; returns once Kafka has it."""
        await producer.send_and_wait(
            full_name(self.settings.topic_prefix, name),
            value,
            key=key,
            partition=partition_of(key, self.settings.partitions),
        )

    def addresses_written_to(self) -> set[str]:
        """To whom emails have come."""
        return {letter[1] for letter in self.letters()}

    def letters(self) -> list[tuple[str, str]]:
        """(row, address) of each email in the mail folder."""
        return [read_letter(file) for file in sorted(self.servers.mail_dir.glob("*.eml"))]

    async def live_traffic(self, stop: asyncio.Event, a_second: float) -> None:
        """Suppliers sign up and work until told to stop; some events come twice, neighbours in any order."""
        producer = await self.producer()
        waiting: list[tuple[bytes, bytes]] = []
        while not stop.is_set():
            supplier = str(UUID(int=self.rng.getrandbits(128), version=4))
            self.live[supplier] = f"{supplier}@example.com"
            await self.send(producer, *profile(supplier, self.live[supplier]))
            steps = [(key, value) for _, key, value in [*first_steps(supplier), *later_steps(supplier)]]
            waiting += steps
            waiting += [step for step in steps if self.rng.random() < REPEATED]
            if len(waiting) >= SHUFFLED:
                self.rng.shuffle(waiting)
                for key, value in waiting:
                    await self.send(producer, ACTIVITY, key, value)
                waiting = []
            await asyncio.sleep(1 / a_second)
        for key, value in waiting:
            await self.send(producer, ACTIVITY, key, value)
        await producer.stop()

    async def watch_readyz(self, stop: asyncio.Event) -> None:
        """How long the API takes to say what is missing."""
        async with httpx.AsyncClient(timeout=30) as client:
            while not stop.is_set():
                began = time.monotonic()
                try:
                    await client.get(f"http://127.0.0.1:{self.settings.api_port}/readyz")
                except httpx.TransportError:
                    pass  # it was killed
                else:
                    self.slowest_readyz_s = max(self.slowest_readyz_s, time.monotonic() - began)
                await asyncio.sleep(0.5)


def read_letter(file: Path) -> tuple[str, str]:
    """(row, address) of an email in the folder: its row is in its Message-ID."""
    head = file.read_bytes().partition(b"\r\n\r\n")[0].decode(errors="replace")
    named = dict(line.partition(": ")[::2] for line in head.split("\r\n"))
    return named["Message-ID"].strip("<>").partition("@")[0], named["X-Rcpt-To"].strip("<>")


def where_it_is_noon() -> str:
    """A time zone in which emails may leave now."""
    ahead = (NOON - datetime.now(UTC).hour + 12) % 24 - 12
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


def profile(supplier: str, address: str) -> Sent:
    """Who a supplier is."""
    value = {"id": supplier, "email": address, "first_name": "Anna", "timezone": where_it_is_noon()}
    return PROFILES, supplier.encode(), orjson.dumps(value)


def now_ms() -> int:
    """The machine's clock."""
    return time.time_ns() // 1_000_000


def first_steps(supplier: str) -> list[Sent]:
    """What brings a welcome and an email."""
    records = [
        event_record(supplier, "supplier.signed_up", now_ms(), plan="starter"),
        event_record(supplier, "form.created", now_ms(), form_id="first"),
    ]
    return [(ACTIVITY, record.key or b"", record.value or b"") for record in records]


def later_steps(supplier: str) -> list[Sent]:
    """More to celebrate than may be sent."""
    records = [
        event_record(supplier, "supplier.logged_in", now_ms()),
        event_record(
            supplier, "client.imported", now_ms(), client_ids=[f"client-{number}" for number in range(10)]
        ),
        event_record(supplier, "journey.activated", now_ms(), journey_id="first"),
    ]
    return [(ACTIVITY, record.key or b"", record.value or b"") for record in records]


@asynccontextmanager
async def deployment(
    folder: Path, seed: int, *, brokers: int = 1, postgres_disk: int | None = None
) -> AsyncIterator[World]:
    """A deployment at work; all of it ends with the block."""
    servers = Servers(folder / "servers", brokers, postgres_disk)
    world: World | None = None
    try:
        await asyncio.to_thread(servers.start)
        async with MailTap(servers.sink.port) as tap:
            settings = Settings(
                kafka=servers.bootstrap,
                database_url=servers.database_url,
                smtp_url=tap.url,
                partitions=PARTITIONS,
                state_dir=folder / "state",
                development=True,
                api_port=free_port(),
                **SECRETS,
            )
            await asyncio.to_thread(migrate, settings)
            world = World(settings, servers, tap, folder, random.Random(seed))  # noqa: S311 - a test
            try:
                world.start_services()
                yield world
            finally:
                for each in world.processes():
                    each.__exit__()
    finally:
        servers.stop()
