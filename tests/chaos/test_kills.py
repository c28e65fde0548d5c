"""Whatever happens to workers in the middle of events, the outcome is that of one sequential fold.

CI plays the short form; `make chaos` (SUCCESS_LONG_TESTS=1) plays 100,000 events and many more kills.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from random import Random

import orjson
import pytest

from agents.failure import EXIT_FAILED
from bench.activity import activity
from runtime.settings import Settings
from scoring.clients import FEW_CLIENTS
from scoring.time import DAY
from tests.chaos.log import Event, differences, lag, publish, published, sequential
from tests.chaos.poison import poisoned
from tests.chaos.stored import stored, wanted_in_postgres
from tests.chaos.workers import WorkerProcess
from topics.catalog import ACTIVITY, CONDITIONS, HEALTH, MILESTONES, RISK_CHANGES

LONG = bool(os.environ.get("SUCCESS_LONG_TESTS"))
EVENTS = 100_000 if LONG else 6_000
SUPPLIERS = 1_000 if LONG else 150
KILLS = 8 if LONG else 2
KILLED_WITHIN_S = 6.0 if LONG else 1.5
"""In the long form nothing of the backlog is durable for some seconds."""
RESTARTS = 6 if LONG else 1
FREEZES = 3 if LONG else 1
PER_SECOND = 1_200 if LONG else 300
CATCH_UP_S = 300.0 if LONG else 90.0
CONSUMED = (ACTIVITY, HEALTH, RISK_CHANGES, MILESTONES, CONDITIONS)

pytestmark = [pytest.mark.stack, pytest.mark.chaos, pytest.mark.timeout(1800 if LONG else 300)]
logger = logging.getLogger(__name__)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With snapshots so often that workers die between them, and while they write one."""
    return settings.model_copy(update={"snapshot_seconds": 0.2})


def events(seed: int) -> Iterator[Event]:
    """Sixty days of activity that ended an hour ago, some with many clients, with something malformed now and then."""
    start = time.time_ns() // 1_000_000 - 60 * DAY - 3_600_000
    return poisoned(with_venues(activity(EVENTS, SUPPLIERS, seed, start, 60 * DAY)), every=500, seed=seed)


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


async def backlog(settings: Settings, log: Iterator[Event]) -> asyncio.Task[int]:
    """Publish a third at once and have the rest follow at a steady rate."""
    await publish(settings, islice(log, EVENTS // 3))
    return asyncio.create_task(publish(settings, log, PER_SECOND))


async def until_done(settings: Settings, workers: Iterable[WorkerProcess]) -> None:
    """Until everything published is processed and committed."""
    deadline = time.monotonic() + CATCH_UP_S
    while await lag(settings, CONSUMED):
        assert time.monotonic() < deadline, "\n".join(worker.log() for worker in workers)
        await asyncio.sleep(0.3)


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


async def test_a_worker_that_is_killed_again_and_again_loses_and_repeats_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    rng = Random(1)  # noqa: S311 - a test
    publishing = await backlog(settings, events(seed=1))
    with WorkerProcess(settings, tmp_path / "worker.log") as worker:
        for kill in range(KILLS):
            await worker.child()
            if kill % 4 != 3:  # else it dies while it starts and recovers
                await worker.ready()
            await asyncio.sleep(rng.uniform(0.0, KILLED_WITHIN_S))
            await worker.kill_child()
        await publishing
        await until_done(settings, [worker])
        assert await worker.stop() == 0, worker.log()
        assert "restored from snapshots" in worker.log()
    await assert_as_sequential(settings)


async def test_when_one_of_two_workers_dies_the_other_takes_over_exactly(
    settings: Settings, tmp_path: Path
) -> None:
    publishing = await backlog(settings, events(seed=2))
    with (
        WorkerProcess(settings, tmp_path / "one.log") as one,
        WorkerProcess(settings, tmp_path / "two.log") as two,
    ):
        await asyncio.gather(one.ready(), two.ready())
        await asyncio.sleep(1.0)
        one.kill_for_good()
        await publishing
        await until_done(settings, [one, two])
        assert await two.stop() == 0, two.log()
    await assert_as_sequential(settings)


async def test_graceful_restarts_of_workers_lose_and_repeat_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    publishing = await backlog(settings, events(seed=3))
    with WorkerProcess(settings, tmp_path / "lasting.log") as lasting:
        await lasting.ready()
        for number in range(RESTARTS):
            with WorkerProcess(settings, tmp_path / f"visitor{number}.log") as visitor:
                await visitor.ready()
                await asyncio.sleep(0.5)
                assert await visitor.stop() == 0, visitor.log()
        await publishing
        await until_done(settings, [lasting])
        assert await lasting.stop() == 0, lasting.log()
    await assert_as_sequential(settings)


async def test_a_worker_frozen_while_another_took_over_ends_itself_and_harms_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    """Trap 5's zombie: what it still does when it thaws must not be taken for the owner's."""
    log = events(seed=4)
    with (
        WorkerProcess(settings, tmp_path / "one.log") as one,
        WorkerProcess(settings, tmp_path / "two.log") as two,
    ):
        await asyncio.gather(one.ready(), two.ready())
        for freeze in range(1, FREEZES + 1):
            publishing = asyncio.create_task(publish(settings, islice(log, EVENTS // FREEZES), PER_SECOND))
            await asyncio.sleep(1.0)
            frozen = await one.child()
            frozen.suspend()
            await publishing
            await until_done(settings, [two])  # the partitions of the frozen one included
            frozen.resume()
            await one.gone(frozen)
            await one.ready()  # the next child, of which the supervisor has spoken by then
            assert one.log().count("the process was frozen for") == freeze, one.log()
            assert one.log().count(f"ended with exit code {EXIT_FAILED}") == freeze, one.log()
        await publish(settings, log)
        await until_done(settings, [one, two])
        assert [await one.stop(), await two.stop()] == [0, 0], one.log() + two.log()
    await assert_as_sequential(settings)
