"""Whatever happens to workers in the middle of events, the outcome is that of one sequential fold.

`make chaos` plays 100,000 events; of these CI plays the frozen worker only, for what is short stands in
test_campaign.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from agents.engine.failure import EXIT_FAILED
from runtime.settings import Settings
from tests.chaos.ending import assert_as_sequential, events_of, settled, until_done
from tests.chaos.workers import WorkerProcess
from tests.forms import LONG
from tests.reference.logs import Event, publish

EVENTS, SUPPLIERS = (100_000, 1_000) if LONG else (1_200, 80)
KILLS = 8
KILLED_WITHIN_S = 6.0
"""Nothing of the backlog is durable for some seconds."""
RESTARTS = 6
FREEZES = 3 if LONG else 1
PER_SECOND = 1_200 if LONG else 300

pytestmark = [pytest.mark.stack, pytest.mark.chaos, pytest.mark.timeout(1800 if LONG else 300)]


def events(seed: int) -> Iterator[Event]:
    """The log of a test."""
    return events_of(EVENTS, SUPPLIERS, seed)


async def backlog(settings: Settings, log: Iterator[Event]) -> asyncio.Task[int]:
    """Publish a third at once and have the rest follow at a steady rate."""
    await publish(settings, islice(log, EVENTS // 3))
    return asyncio.create_task(publish(settings, log, PER_SECOND))


@pytest.mark.long
async def test_a_worker_that_is_killed_again_and_again_loses_and_repeats_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    rng = Random(1)  # noqa: S311 - a test
    publishing = await backlog(settings, events(1))
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
    await settled(settings, tmp_path / "last.log")
    await assert_as_sequential(settings)


@pytest.mark.long
async def test_when_one_of_two_workers_dies_the_other_takes_over_exactly(
    settings: Settings, tmp_path: Path
) -> None:
    publishing = await backlog(settings, events(2))
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
    await settled(settings, tmp_path / "last.log")
    await assert_as_sequential(settings)


@pytest.mark.long
async def test_graceful_restarts_of_workers_lose_and_repeat_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    publishing = await backlog(settings, events(3))
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
    await settled(settings, tmp_path / "last.log")
    await assert_as_sequential(settings)


async def test_a_worker_frozen_while_another_took_over_ends_itself_and_harms_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    """Trap 5's zombie: what it still does when it thaws must not be taken for the owner's."""
    log = events(4)
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
    await settled(settings, tmp_path / "last.log")
    await assert_as_sequential(settings)
