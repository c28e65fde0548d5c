"""How fast the intervention agent's writer stores snapshots: python -m bench.store DATABASE_URL.

Writes into a database of its own on that server and drops it.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from time import perf_counter
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from agents.interventions.writer import InterventionWriter
from runtime.clock import SystemClock
from runtime.keys import Keys
from scoring.decisions.policy import Policy
from scoring.health.machine import apply
from scoring.health.snapshot import snapshot
from scoring.health.state import State
from store.database import Role, open_pool
from store.migrate import migrate
from topics.catalog import HEALTH
from topics.decoding import ActivityEvent
from topics.encoding import SOURCE, encode_event

SUPPLIERS = 4000
ROUNDS = 3
BATCHES = (500, 1000, 2000)
MONDAY = 1_767_603_600_000


@dataclass
class Record:
    """What a consumer fetched."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int = 0
    offset: int = 0
    timestamp: int = MONDAY
    topic: str = HEALTH


def records() -> list[Record]:
    """ROUNDS snapshots of each supplier, each the first since an event, as the scoring agent sends them."""
    suppliers = {str(uuid4()): State() for _ in range(SUPPLIERS)}
    found = []
    for turn in range(ROUNDS):
        for supplier, state in suppliers.items():
            at = MONDAY + turn * 86_400_000
            event = ActivityEvent("supplier.logged_in", at, f"login-{turn}", "/bench", supplier, None)
            apply(state, supplier, event)
            value = encode_event(
                "success.health.updated",
                str(uuid4()),
                SOURCE,
                supplier,
                at,
                snapshot(state, supplier_id=supplier),
            )
            found.append(Record(supplier.encode(), value))
    return found


async def measure(database_url: str, batch: int, writers: int) -> float:
    """Snapshots stored per second in batches of `batch` by `writers` tasks, each with partitions of its own."""
    pool = await open_pool(database_url, Role.WRITER, max_size=writers)
    writer = InterventionWriter(pool, SystemClock(), Policy.load(), Keys("bench"))
    todo = records()

    async def write(share: list[Record]) -> None:
        for start in range(0, len(share), batch):
            await writer.write(HEALTH, share[start : start + batch])

    started = perf_counter()
    await asyncio.gather(*(write([r for r in todo if r.key[0] % writers == n]) for n in range(writers)))
    took = perf_counter() - started
    await pool.close()
    return len(todo) / took


def main(server_url: str) -> None:
    """Print a line a way of writing."""
    for batch in BATCHES:
        for writers in (1, 2):
            name = f"bench_{uuid4().hex}"
            with psycopg.connect(server_url, autocommit=True) as admin:
                admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                url = make_conninfo(server_url, dbname=name)
                migrate(url)
                rate = asyncio.run(measure(url, batch, writers))
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            sys.stdout.write(f"{rate:>8,.0f} snapshots/s  batches of {batch:>4}, {writers} writer(s)\n")


if __name__ == "__main__":
    main(sys.argv[1])
