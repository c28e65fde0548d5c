"""Versions of the rules go into force while workers are killed: everybody goes over once, at one place of the log."""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from agents.cluster import rules_log
from agents.cluster.provisioning import STATE
from agents.health.state_codec import META_KEY, Meta
from runtime.settings import Settings
from scoring.health import rules_file
from tests.agents.activating import STRICT, activate
from tests.agents.workers import until
from tests.chaos.ending import assert_as_sequential, events_of, settled, until_done
from tests.chaos.workers import WorkerProcess
from tests.forms import LONG
from tests.reference.logs import merged, publish, published, read
from topics.catalog import ACTIVITY

EVENTS = 100_000 if LONG else 3_000
SUPPLIERS = 1_000 if LONG else 100
PER_SECOND = 1_200 if LONG else 300
KILLED_WITHIN_S = 3.0
"""After a version was put into force: before, while and after partitions go over."""
THREE = (STRICT, rules_file.DEFAULT.read_text("utf-8"), STRICT.replace("at_risk = 50 ", "at_risk = 45 "))
VERSIONS = THREE if LONG else THREE[:2]

pytestmark = [pytest.mark.stack, pytest.mark.chaos, pytest.mark.timeout(1800 if LONG else 300)]


@pytest.mark.parametrize("seed", range(3 if LONG else 1))
async def test_whoever_dies_while_versions_go_into_force_everybody_goes_over_once(
    settings: Settings, tmp_path: Path, seed: int
) -> None:
    rng = Random(seed)  # noqa: S311 - a test
    log = events_of(EVENTS, SUPPLIERS, seed)
    await publish(settings, islice(log, EVENTS // 3))
    publishing = asyncio.create_task(publish(settings, log, PER_SECOND))
    with (
        WorkerProcess(settings, tmp_path / "one.log") as one,
        WorkerProcess(settings, tmp_path / "two.log") as two,
    ):
        await asyncio.gather(one.ready(), two.ready())
        for number, text in enumerate(VERSIONS, 1):
            assert await activate(settings, tmp_path / str(number), text) == number
            for victim in (one, two) if LONG else (one, two)[number - 1 : number]:
                await asyncio.sleep(rng.uniform(0.0, KILLED_WITHIN_S))
                await victim.kill_child()
            await asyncio.gather(one.ready(), two.ready())
        await publishing
        await until_done(settings, [one, two])

        async def everybody_went_over() -> bool:
            values = [merged(partition) for partition in await read(settings, STATE)]
            return all(Meta.of(each[META_KEY]).brought_up == len(VERSIONS) for each in values)

        await until(everybody_went_over)
        assert [await one.stop(), await two.stop()] == [0, 0], one.log() + two.log()
    await settled(settings, tmp_path / "last.log")
    await assert_as_sequential(settings)
    switches = await rules_log.read(settings)
    lengths = [len(records) for records in await read(settings, ACTIVITY)]
    for partition, length in enumerate(lengths):
        places = [each.offset for each in switches.switches(partition)]
        assert places == sorted(places)
        assert places[-1] <= length
    causes = {signal["data"].get("cause") for signal in (await published(settings)).signals.values()}
    assert f"rules:{len(VERSIONS)}" in causes  # a partition may pass one by that it had no time for
