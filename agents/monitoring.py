"""What monitoring asks of a worker, a delivery and a shadow: whether each part they depend on is there, and gauges.

Each look at a server is one of its own, so that it says what the server does and not how busy our connections are.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
from aiokafka.client import AIOKafkaClient

from agents.engine.connection import client_options
from agents.health.handler import ScoringHandler
from runtime import metrics
from runtime.quiet import without_logs
from store.dashboard.population import end_newness
from store.database import Role, check_usable, connect
from store.service_metrics import look_at_pools, look_at_waiting, read_suppliers
from store.times import to_time

if TYPE_CHECKING:
    from agents.engine.lane import Lane
    from agents.worker import InProcessWorker
    from runtime.clock import Clock
    from runtime.readiness import Check
    from runtime.settings import Settings

KAFKA_MS = 2_000
MAIL_EVERY_S = 30.0
"""How often the mail server is greeted at most: probes come more often, and relays count connections."""
MAIL_S = 2.0
SUPPLIERS_EVERY_S = 60.0
_GREETING = b"220"


class Kafka:
    """Asks Kafka for its brokers, on a connection that is kept."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: AIOKafkaClient | None = None

    async def __call__(self) -> None:
        """Raise aiokafka's error if it is away."""
        if self._client is None:
            client = AIOKafkaClient(**client_options(self._settings), request_timeout_ms=KAFKA_MS)
            try:
                with without_logs("aiokafka"):  # what it logs when nobody is there, its error says
                    await client.bootstrap()
            except BaseException:
                await client.close()
                raise
            self._client = client
        try:
            await self._client.fetch_all_metadata()
        except Exception:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Hang up."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def postgres(settings: Settings, role: Role) -> dict[str, Check]:
    """Whether Postgres answers, and whether it has the schema and the role that the code expects."""

    async def answers() -> None:
        async with await connect(settings.database_url) as conn:
            await conn.execute("SELECT 1")

    async def fits() -> None:
        async with await connect(settings.database_url) as conn:
            await check_usable(conn, role)

    return {"postgres": answers, "schema": fits}


class MailServer:
    """Greets the mail server, now and then."""

    def __init__(self, smtp_url: str) -> None:
        self._parts = urlsplit(smtp_url)
        self._looked_at = float("-inf")
        self._problem: Exception | None = None

    async def __call__(self) -> None:
        """Raise what is wrong with it, as of at most 30 s ago."""
        if time.monotonic() - self._looked_at >= MAIL_EVERY_S:
            try:
                await asyncio.wait_for(self._greet(), MAIL_S)
            except (OSError, TimeoutError, EOFError) as error:
                self._problem = error if str(error) else TimeoutError(f"no greeting within {MAIL_S:g} s")
            else:
                self._problem = None
            self._looked_at = time.monotonic()
        if self._problem is not None:
            raise self._problem

    async def _greet(self) -> None:
        host, secure = self._parts.hostname or "localhost", self._parts.scheme == "smtps"
        context = None
        if secure:
            context = ssl.create_default_context()
            if host in {"localhost", "127.0.0.1", "::1"}:  # as the mailer does
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection(
            host, self._parts.port or (465 if secure else 25), ssl=context
        )
        try:
            greeting = await reader.readline()
            if not greeting.startswith(_GREETING):
                raise ConnectionError(
                    f"the mail server greets with {greeting[:3].decode(errors='replace') or 'nothing'}"
                )
            writer.write(b"QUIT\r\n")
            await reader.readline()
        finally:
            writer.close()
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 1)


# --- the worker


def worker_parts(worker: InProcessWorker) -> dict[str, Check]:
    """The worker's own: whether it reads its partitions, has its state, and waits for nothing."""
    engine = worker.app.engine

    async def recovered() -> None:
        if engine.recovering is not None:
            raise RuntimeError(f"{sum(engine.recovering.values())} records of the state left to read")

    async def reads() -> None:
        if worker.not_ready is not None:
            raise RuntimeError(worker.not_ready)

    async def waits() -> None:
        waiting = {lane.wait.waiting_for.what for lane in engine.lanes.values() if lane.wait.waiting_for}
        if waiting:
            raise RuntimeError(f"lanes wait for {', '.join(sorted(waiting))}")

    async def readable() -> None:
        if stopped := engine.unreadable():
            raise RuntimeError(
                "; ".join(
                    f"{tp.topic} partition {tp.partition} stands still: {why}" for tp, why in stopped.items()
                )
            )

    return {"recovery": recovered, "partitions": reads, "lanes": waits, "fetches": readable}


def look_at_worker(worker: InProcessWorker) -> None:
    """Set the worker's gauges."""
    engine = worker.app.engine
    look_at_pools()
    for gauge in (
        metrics.LAG,
        metrics.DELAY,
        metrics.PROCESSED,
        metrics.TIMERS,
        metrics.TIMERS_DUE,
        metrics.RECOVERY,
        metrics.UNREADABLE,
    ):
        gauge.clear()
    for tp in engine.unreadable():
        metrics.UNREADABLE.labels(tp.topic, tp.partition).set(1)
    for partition, left in (engine.recovering or {}).items():
        metrics.RECOVERY.labels(partition).set(left)
    metrics.SKEW.set(worker.clock_skew_ms / 1000)
    scored = 0
    for tp, lane in list(engine.lanes.items()):
        end = engine.consumer.end_of(tp)
        if end is not None and lane.next_offset is not None:
            metrics.LAG.labels(tp.topic, tp.partition).set(max(0, end - lane.next_offset))
        if lane.progressed_at:
            metrics.PROCESSED.labels(tp.topic, tp.partition).set(lane.progressed_at)
        scored += _look_at_scoring(tp.partition, lane, engine.now_ms())
    metrics.PARTITIONS.set(scored)


def _look_at_scoring(partition: int, lane: Lane, now_ms: int) -> bool:
    if not isinstance(lane.handler, ScoringHandler):
        return False
    fold = lane.handler.fold
    metrics.CONFIG_VERSION.set(fold.rules.version)
    if fold.stream_time:
        metrics.DELAY.labels(partition).set(max(0, now_ms - fold.stream_time) / 1000)
    metrics.TIMERS.labels(partition).set(fold.timers)
    metrics.TIMERS_DUE.labels(partition).set(fold.timers_due(now_ms))
    return True


# --- Postgres


class Waiting:
    """Counts what waits in Postgres, and now and then the suppliers."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._url = settings.database_url
        self._clock = clock
        self._counted_at = float("-inf")

    async def __call__(self) -> None:
        """Set the gauges."""
        look_at_pools()
        try:
            async with await connect(self._url) as conn:
                await check_usable(conn, Role.WRITER)
                await look_at_waiting(conn, self._clock.now_ms())
                if time.monotonic() - self._counted_at >= SUPPLIERS_EVERY_S:
                    await end_newness(conn, to_time(self._clock.now_ms()))
                    for level, count in await read_suppliers(conn):
                        metrics.SUPPLIERS.labels(level).set(count)
                    self._counted_at = time.monotonic()
        except psycopg.Error:
            metrics.DATABASE_UP.set(0)
