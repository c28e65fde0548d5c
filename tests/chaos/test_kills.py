"""Whatever happens to workers in the middle of events, the outcome is that of one sequential fold."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from random import Random

import psycopg
import pytest

from bench.activity import activity
from runtime.settings import Settings
from scoring.time import DAY
from tests.chaos.log import Event, Outcome, differences, lag, publish, published, sequential
from tests.chaos.poison import poisoned
from tests.chaos.workers import WorkerProcess
from topics.catalog import ACTIVITY, CONDITIONS, HEALTH, MILESTONES, RISK_CHANGES

pytestmark = [pytest.mark.stack, pytest.mark.chaos]

LONG = os.environ.get("CHAOS") == "long" or bool(os.environ.get("SUCCESS_LONG_TESTS"))
EVENTS = 100_000 if LONG else 8_000
SUPPLIERS = 1_000 if LONG else 200
KILLS = 7 if LONG else 2
PER_SECOND = 1_500 if LONG else 800
CATCH_UP_S = 120.0
CONSUMED = (ACTIVITY, HEALTH, RISK_CHANGES, MILESTONES, CONDITIONS)


def events(seed: int) -> Iterator[Event]:
    """Sixty days of activity that ended an hour ago, with something malformed now and then."""
    start = time.time_ns() // 1_000_000 - 60 * DAY - 3_600_000
    return poisoned(activity(EVENTS, SUPPLIERS, seed, start, 60 * DAY), every=500, seed=seed)


async def wait_until_done(settings: Settings, workers: Iterable[WorkerProcess]) -> None:
    """Until everything published is processed and committed."""
    deadline = time.monotonic() + CATCH_UP_S
    while await lag(settings, CONSUMED):
        assert time.monotonic() < deadline, "\n".join(worker.log() for worker in workers)
        await asyncio.sleep(0.3)


async def assert_as_sequential(settings: Settings) -> Outcome:
    expected, actual = await sequential(settings), await published(settings)
    assert not differences(expected, actual), "\n".join(differences(expected, actual))
    assert expected.signals, "the log brought about nothing"
    assert expected.dead_letters, "nothing was malformed"
    return expected


def assert_stored(settings: Settings, expected: Outcome) -> None:
    """Postgres has every supplier's newest health, and every milestone once."""
    with psycopg.connect(settings.database_url) as conn:
        health = dict(conn.execute("select supplier_id::text, seq from customer_health").fetchall())
        milestones = conn.execute("select count(*) from success_milestones").fetchone()
    assert health == {supplier: data["seq"] for supplier, data in expected.snapshots.items()}
    wanted = sum(signal["type"] == "success.milestone.achieved" for signal in expected.signals.values())
    assert milestones == (wanted,)


async def test_a_worker_that_is_killed_again_and_again_loses_and_repeats_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    rng, log = Random(1), events(seed=1)  # noqa: S311 - a test
    await publish(settings, islice(log, EVENTS // 3))
    with WorkerProcess(settings, tmp_path / "worker.log") as worker:
        publishing = asyncio.create_task(publish(settings, log, PER_SECOND))
        for kill in range(KILLS):
            await worker.ready(kill + 1)
            await asyncio.sleep(rng.uniform(0.0, 1.5))
            await worker.kill_child()
        await publishing
        await wait_until_done(settings, [worker])
        assert await worker.stop() == 0, worker.log()
    assert_stored(settings, await assert_as_sequential(settings))


async def test_when_one_of_two_workers_dies_the_other_takes_over_exactly(
    settings: Settings, tmp_path: Path
) -> None:
    log = events(seed=2)
    await publish(settings, islice(log, EVENTS // 3))
    with (
        WorkerProcess(settings, tmp_path / "one.log") as one,
        WorkerProcess(settings, tmp_path / "two.log") as two,
    ):
        publishing = asyncio.create_task(publish(settings, log, PER_SECOND))
        await one.ready()
        await two.ready()
        await asyncio.sleep(1.0)
        one.kill_for_good()
        await publishing
        await wait_until_done(settings, [one, two])
        assert await two.stop() == 0, two.log()
    assert_stored(settings, await assert_as_sequential(settings))


async def test_graceful_restarts_of_two_workers_lose_and_repeat_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    log = events(seed=3)
    await publish(settings, islice(log, EVENTS // 3))
    publishing = asyncio.create_task(publish(settings, log, PER_SECOND))
    with WorkerProcess(settings, tmp_path / "lasting.log") as lasting:
        await lasting.ready()
        for number in range(KILLS):
            with WorkerProcess(settings, tmp_path / f"visitor{number}.log") as visitor:
                await visitor.ready()
                await asyncio.sleep(0.5)
                assert await visitor.stop() == 0, visitor.log()
        await publishing
        await wait_until_done(settings, [lasting])
        assert await lasting.stop() == 0, lasting.log()
    await assert_as_sequential(settings)
