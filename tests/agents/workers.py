"""Workers in the test's own event loop, on real Kafka, and a stand-in for Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from agents.engine.record import DeadLetter
from agents.interventions.profiles import Tombstones
from agents.worker import InProcessWorker
from runtime.clock import SystemClock
from runtime.settings import Settings
from tests.agents.health.records import PARTITIONS, FakeRecord, suppliers_of
from tests.reference.logs import lag, publish, read
from topics.catalog import ACTIVITY

DEADLINE_S = 30.0
ANNA, BELLE = suppliers_of(0, 2)
Seen = dict[int, list[int]]
"""Partition → offsets, in order."""
EVERYWHERE = [supplier for partition in range(PARTITIONS) for supplier in suppliers_of(partition, 5)]


@dataclass
class SpyWriter:
    """Stands in for Postgres; remembers what it was given, fails when told to."""

    written: list[tuple[str, bytes | None]] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    tombstones: Tombstones = field(default_factory=dict)
    fails: bool = False
    error: Exception = field(default_factory=lambda: RuntimeError("Postgres is away"))

    async def write(self, topic: str, records: Sequence[Any]) -> None:
        """Remember the keys."""
        if self.fails:
            raise self.error
        self.written += [(topic, record.key) for record in records]


def noting_offsets(
    monkeypatch: pytest.MonkeyPatch, owner: type, method: str, noted: Callable[..., tuple[int, Sequence[Any]]]
) -> Seen:
    """Listen to a method: the offsets it is given. `noted` tells partition and records from its arguments."""
    seen: Seen = {}
    original = getattr(owner, method)

    def spy(*arguments: Any) -> Any:
        partition, records = noted(*arguments)
        seen.setdefault(partition, []).extend(record.offset for record in records)
        return original(*arguments)

    monkeypatch.setattr(owner, method, spy)
    return seen


@asynccontextmanager
async def running(settings: Settings, **options: Any) -> AsyncIterator[InProcessWorker]:
    clock = options.pop("clock", None) or SystemClock()
    worker = InProcessWorker(settings, clock, **options)
    await worker.start()
    try:
        await worker.started()
        yield worker
    finally:
        await worker.stop()


async def send(settings: Settings, worker: InProcessWorker | None, records: Sequence[FakeRecord]) -> None:
    """Publish; with a worker also wait until it has processed them all."""
    before = await ends(settings)
    await publish(settings, [(record.key or b"", record.value or b"") for record in records])
    after = await ends(settings)
    if worker is not None:
        for partition, end in enumerate(after):
            if end > before[partition]:
                await worker.processed(ACTIVITY, partition, end - 1)


async def ends(settings: Settings) -> list[int]:
    return [len(records) for records in await read(settings, ACTIVITY)]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.05)


def now_ms() -> int:
    return SystemClock().now_ms()


async def values(settings: Settings, topic: str) -> list[dict[str, Any]]:
    return [orjson.loads(record.value) for records in await read(settings, topic) for record in records]


async def all_read(settings: Settings, worker: InProcessWorker) -> bool:
    """Whether the worker's state holds everything there is; what it recovered counts as well."""
    lanes = {
        tp.partition: lane for tp, lane in worker.app.engine.lanes.items() if tp.topic.endswith(ACTIVITY)
    }
    return all(
        partition in lanes and lanes[partition].idle and lanes[partition].handler.position() == end
        for partition, end in enumerate(await ends(settings))
    )


async def no_lag(settings: Settings) -> bool:
    return await lag(settings, [ACTIVITY]) == 0
