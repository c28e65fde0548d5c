"""The log that chaos tests play, and how it has to end: as one sequential fold of it would have."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from agents.cluster.provisioning import STATE
from agents.health.stored_supplier import is_supplier, owed
from bench.logs.events import activity
from runtime.settings import Settings
from scoring.health.clients import FEW_CLIENTS
from scoring.time import DAY
from tests.chaos.stored import stored, wanted_in_postgres
from tests.chaos.workers import ServiceProcess, WorkerProcess
from tests.reference.logs import Event, differences, lag, merged, published, read, sequential
from tests.reference.poison import poisoned
from topics.catalog import ACTIVITY, CONDITIONS, HEALTH, MILESTONES, RISK_CHANGES

CATCH_UP_S = 300.0
MOST_SETTLING = 8
CONSUMED = (ACTIVITY, HEALTH, RISK_CHANGES, MILESTONES, CONDITIONS)
logger = logging.getLogger(__name__)


def events_of(number: int, suppliers: int, seed: int) -> Iterator[Event]:
    """Sixty days of activity that ended an hour ago, some with many clients, with something malformed now and then."""
    start = time.time_ns() // 1_000_000 - 60 * DAY - 3_600_000
    return poisoned(with_venues(activity(number, suppliers, seed, start, 60 * DAY)), every=500, seed=seed)


def with_venues(events: Iterable[Event]) -> Iterator[Event]:
    """Every tenth supplier imports so many clients that they are kept in pages."""
    seen: set[bytes] = set()
    for key, value in events:
        yield key, value
        if key not in seen:
            seen.add(key)
            if len(seen) % 10 == 0:
                names = [f"guest-{number}" for number in range(2 * FEW_CLIENTS)]
                first = orjson.loads(value)
                imported = {
                    "id": f"import-{len(seen)}",
                    "type": "client.imported",
                    "data": {"client_ids": names},
                }
                yield key, orjson.dumps(first | imported)


async def until_done(settings: Settings, workers: Iterable[ServiceProcess]) -> None:
    """Until everything published is processed and committed."""
    deadline = time.monotonic() + CATCH_UP_S
    while await lag(settings, CONSUMED):
        assert time.monotonic() < deadline, "\n".join(worker.log() for worker in workers)
        await asyncio.sleep(0.3)


async def settled(settings: Settings, log: Path) -> None:
    """Have one more worker write the rows of the snapshots that the last ones sent when they stopped.

    One that died left snapshots owed. They are told by the next one: when it stops, if it had begun with their
    partition by then, else by one more.
    """
    for _ in range(MOST_SETTLING):
        was_owed = await owes(settings)
        with WorkerProcess(settings, log) as worker:
            await worker.ready()
            await until_done(settings, [worker])
            assert await worker.stop() == 0, worker.log()
        if not was_owed:
            return
    raise AssertionError(f"after {MOST_SETTLING} workers snapshots are owed still")


async def owes(settings: Settings) -> bool:
    """Whether a snapshot of any supplier waits to be sent."""
    states = [merged(partition) for partition in await read(settings, STATE)]
    return any(is_supplier(key) and owed(raw) is not None for each in states for key, raw in each.items())


async def assert_as_sequential(settings: Settings) -> None:
    """No event skipped or counted twice, no signal missing, changed or extra; in Postgres each thing once."""
    expected, actual = await sequential(settings), await published(settings)
    assert not differences(expected, actual), "\n".join(differences(expected, actual))
    assert expected.signals, "the log brought about nothing"
    assert expected.dead_letters, "nothing was malformed"
    wanted, got = wanted_in_postgres(expected), stored(settings.database_url)
    assert wanted.interventions, "no signal called for an intervention"
    assert got == wanted
    logger.info(
        "%d suppliers, %d signals (%d came twice), %d dead letters, %d interventions",
        len(expected.states),
        len(expected.signals),
        actual.repeats,
        len(expected.dead_letters),
        len(wanted.interventions),
    )
