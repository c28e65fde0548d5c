"""Everything goes wrong, and a whole deployment ends as one straight sequential run of the same log would have.

CI plays the short form, three faults of each kind side by side. `make chaos SEED=7 EVENTS=1000000` plays the long one,
one fault after another (of some kinds only: `KINDS=broker,SMTP`), and writes how long each took to recover from into
`build/chaos-<seed>-<brokers>.md`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from tests.chaos.ending import assert_as_sequential, events_of, settled, until_done
from tests.chaos.faults import FAULTS, ROOT, Fault
from tests.chaos.messages import all_left, assert_each_message_once
from tests.chaos.world import Recovery, World, deployment
from tests.reference.logs import publish

SEED = int(os.environ.get("SUCCESS_LONG_SEED") or 1)
KINDS = (os.environ.get("SUCCESS_LONG_KINDS") or "").split(",")
EVENTS = int(os.environ.get("SUCCESS_LONG_EVENTS") or 1_000_000)
SUPPLIERS = max(150, EVENTS // 100)
STEADY_S = 400.0
"""In the long form two thirds of the events come in this time, after the first third at once."""
SHORT_S = 1.5
DISK_MIB = 400
LONG_DISK_MIB = 3_000
MESSAGES_AT_ONCE = 4
REPORT = Path("build")

pytestmark = [pytest.mark.stack, pytest.mark.chaos]
logger = logging.getLogger(__name__)


def possible(faults: Sequence[Fault]) -> list[Fault]:
    """Those that can be brought about here, of the kinds asked for: only root can fill a disk that nobody needs."""
    wanted = [fault for fault in faults if KINDS == [""] or fault.kind in KINDS]
    return [fault for fault in wanted if ROOT or fault.kind != "disk"]


@pytest.mark.timeout(600)
async def test_three_faults_of_each_kind_at_once_leave_what_a_sequential_run_leaves(tmp_path: Path) -> None:
    rng = Random(SEED)  # noqa: S311 - a test
    async with deployment(tmp_path, SEED, postgres_disk=DISK_MIB if ROOT else None) as world:
        stop = asyncio.Event()
        side = [asyncio.create_task(world.live_traffic(stop, 5.0))]
        side.append(asyncio.create_task(publish(world.settings, events_of(3_000, 100, SEED), 300)))
        logger.info("all at work after %.1f s", await world.recovered())
        lanes: dict[str, list[Fault]] = {}
        for fault in possible(FAULTS):
            lanes.setdefault(LANE_OF.get(fault.kind, fault.kind), []).append(fault)
        await asyncio.gather(*(one_after_another(world, lane, rng) for lane in lanes.values()))
        recovered = await world.recovered()
        logger.info("recovered within %.1f s of the last fault", recovered)
        stop.set()
        await asyncio.gather(*side)
        await ends_as_it_should(world, len(FAULTS))


LANE_OF = {"disk": "Postgres", "kill -9": "services", "freeze": "services", "rebalance": "services"}
"""Kinds that strike the same processes come one after another."""


async def one_after_another(world: World, faults: Sequence[Fault], rng: Random) -> None:
    """All of a lane, in any order."""
    for fault in rng.sample(faults, len(faults)):
        await fault.strike(world, SHORT_S)


async def ends_as_it_should(world: World, faults: int) -> Counter[str]:
    """All is done, nothing ended by itself, and what is there is what has to be."""
    workers = world.workers
    await until_done(world.settings, workers)
    await all_left(world)
    assert [each.supervisor.poll() for each in world.processes()] == [None] * len(world.processes()), (
        world.logs()
    )
    codes = await world.stop_services()
    assert codes == [0] * len(codes), world.logs()
    await settled(world.settings, world.log_of("last"))
    await assert_as_sequential(world.settings)
    return await assert_each_message_once(world, world.tap.dropped + MESSAGES_AT_ONCE * faults)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("brokers", [1, 3])
async def test_one_fault_after_another_and_each_is_recovered_from(tmp_path: Path, brokers: int) -> None:
    rng = Random(SEED)  # noqa: S311 - a test
    disk = LONG_DISK_MIB if ROOT else None
    async with deployment(tmp_path, SEED, brokers=brokers, postgres_disk=disk) as world:
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # of this process: it says what we do
        stop = asyncio.Event()
        log = events_of(EVENTS, SUPPLIERS, SEED)
        began = time.monotonic()
        await publish(world.settings, islice(log, EVENTS // 3))
        await until_done(world.settings, world.workers)
        traffic = [
            asyncio.create_task(world.live_traffic(stop, 2.0)),
            asyncio.create_task(world.watch_readyz(stop)),
        ]
        rest = asyncio.create_task(publish(world.settings, log, EVENTS / STEADY_S))
        world.recoveries.append(Recovery("(none)", 0.0, await world.recovered()))
        plan = possible(FAULTS)
        rng.shuffle(plan)
        for fault in plan:
            struck = time.monotonic()
            await fault.strike(world, fault.long_s)
            lasted = time.monotonic() - struck
            world.recoveries.append(Recovery(fault.name, lasted, await world.recovered()))
            logger.warning("%s", world.recoveries[-1])
        stop.set()
        await asyncio.gather(*traffic, rest)
        status = await ends_as_it_should(world, len(plan))
        write_report(world, brokers, status, time.monotonic() - began)


def write_report(world: World, brokers: int, status: Counter[str], took_s: float) -> None:
    """How long each fault took to recover from."""
    REPORT.mkdir(exist_ok=True)
    messages = ", ".join(f"{number:,} {name}" for name, number in status.items())
    lines = [
        f"# Seed {SEED}: {EVENTS:,} events of {SUPPLIERS:,} suppliers, {len(world.live):,} who came meanwhile",
        "",
        f"Brokers: {brokers}. All in {took_s:.0f} s. Messages: {messages}; {len(world.letters()):,} emails.",
        f"The slowest `/readyz` took {world.slowest_readyz_s:.1f} s.",
        "",
        "| fault | lasted s | recovered after s |",
        "|---|---:|---:|",
        *(f"| {each.fault} | {each.lasted_s:.1f} | {each.recovered_s:.1f} |" for each in world.recoveries),
        "",
    ]
    (REPORT / f"chaos-{SEED}-{brokers}.md").write_text("\n".join(lines))
