"""Writes one partition of the scenario in a process of its own, to be killed: python -m ... URL PARTITION SEED FILE.

FILE holds how many batches are acked, as Kafka holds a group's offsets: a batch is acked after it is written.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from agents.interventions.writer import InterventionWriter
from runtime.clock import ManualClock
from scoring.decisions.policy import Policy
from store.database import Role, open_pool
from tests.agents.interventions.conftest import ERASURE_KEY
from tests.agents.interventions.factory import MONDAY
from tests.agents.interventions.scenario import shuffled


def say(what: str) -> None:
    """Tell the test how far this process is."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def write_from(acked: int, database_url: str, partition: int, seed: int, file: Path) -> None:
    """Go on where the last process was when it died."""
    pool = await open_pool(database_url, Role.WRITER)
    writer = InterventionWriter(pool, ManualClock(MONDAY), Policy.load(), ERASURE_KEY)
    for number, batch in enumerate(shuffled(partition, seed)[acked:], start=acked):
        say(f"writing {number}")
        await writer.write(*batch)
        ack(file, number + 1)
    say("done")
    await pool.close()


def ack(file: Path, count: int) -> None:
    """Note how many batches need not come again."""
    file.write_text(str(count))


if __name__ == "__main__":
    url, partition, seed, file = sys.argv[1:]
    acked = int(Path(file).read_text() or 0)
    asyncio.run(write_from(acked, url, int(partition), int(seed), Path(file)))
