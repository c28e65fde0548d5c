"""However often batches come, in whatever order of topics, whoever dies: the same rows, each told of once."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from agents.interventions.writer import InterventionWriter
from runtime.clock import ManualClock
from scoring.decisions.policy import Policy
from store.database import Role, open_pool
from tests.agents.interventions import writing_process
from tests.agents.interventions.conftest import ERASURE_KEY
from tests.agents.interventions.factory import MONDAY
from tests.agents.interventions.scenario import PARTITIONS, SUPPLIERS, batches, erased, shuffled, stored
from tests.forms import LONG
from tests.store.databases import database

pytestmark = pytest.mark.stack

KILLED_ON = (0, 1) if LONG else (0,)
ROOT = Path(writing_process.__file__).parents[2]


@pytest.fixture(scope="module")
def expected(stack, migrated_database):
    """What is stored when every batch comes once, topic after topic."""
    with database(stack.database_url, migrated_database) as url:

        async def write_all() -> None:
            pool = await open_pool(url, Role.WRITER)
            writer = InterventionWriter(pool, ManualClock(MONDAY), Policy.load(), ERASURE_KEY)
            for partition in range(PARTITIONS):
                for queue in batches(partition).values():
                    for batch in queue:
                        await writer.write(*batch)
            await pool.close()

        asyncio.run(write_all())
        return stored(url)


def test_the_scenario_is_worth_running(expected):
    staying = sum(not erased(number) for number in range(SUPPLIERS))
    assert len(expected["suppliers"]) == len(expected["customer_health"]) == staying
    assert len(expected["success_milestones"]) == staying
    assert len(expected["health_history"]) == 12 * staying
    statuses = [row[3] for row in expected["success_interventions"]]
    assert statuses.count("suppressed") > 0
    assert len(expected["outbox"]) == len(statuses) == 6 * staying
    assert expected["notes"]


@pytest.mark.parametrize("seed", range(3))
async def test_repeated_batches_and_topics_out_of_order_end_the_same(writer, database_url, expected, seed):
    for partition in range(PARTITIONS):
        mixed = shuffled(partition, seed)
        for number, batch in enumerate(mixed):
            await writer.write(*batch)
            await writer.write(*batch)
            if number % 5 == 4:  # as after a rebalance: back to the last commit
                for again in mixed[number - 4 : number + 1]:
                    await writer.write(*again)
    assert stored(database_url) == expected


async def test_writers_of_all_topics_at_once_end_the_same(writer, database_url, expected):
    """One task a topic and partition, as in the agent; twice, as two workers who both think it theirs."""

    async def write(queue) -> None:
        for batch in queue:
            await writer.write(*batch)

    queues = [queue for partition in range(PARTITIONS) for queue in batches(partition).values()]
    await asyncio.gather(*(write(queue) for queue in queues for _ in range(2)))
    assert stored(database_url) == expected


@pytest.mark.chaos
@pytest.mark.timeout(280)
async def test_processes_killed_in_the_middle_of_a_batch_end_the_same(
    writer, database_url, expected, tmp_path
):
    chance = random.Random(5)  # noqa: S311 - repeatable
    kills = 0
    for partition in KILLED_ON:
        acked = tmp_path / f"acked-{partition}"
        acked.write_text("")
        while not finished(database_url, partition, acked, chance.randint(3, 9), wait=chance.random()):
            kills += 1
    assert kills >= 2 * len(KILLED_ON)
    for partition in range(len(KILLED_ON), PARTITIONS):
        for batch in shuffled(partition, seed=1):
            await writer.write(*batch)
    assert stored(database_url) == expected


def finished(database_url: str, partition: int, acked: Path, kill_at: int, wait: float) -> bool:
    """Run a writing process and kill -9 it in its `kill_at`th batch; True if it was done before that."""
    command = [sys.executable, "-m", writing_process.__name__, database_url, str(partition), "1", str(acked)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for number, line in enumerate(process.stdout, start=1):
            if line == "done\n":
                return process.wait(timeout=30) == 0
            if number == kill_at:
                # anywhere in the batch: before, within or after its transaction, which takes about 10 ms
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=wait * 0.015)
                process.kill()
                return False
    raise AssertionError(f"the writing process ended by itself with {process.returncode}")
