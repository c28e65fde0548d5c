"""How long processing pauses when workers come, go and die, under steady events.

Real `success worker` processes with Postgres. A pause is the longest time between two health snapshots of one
partition, by the broker's append times.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Producer
from psycopg import sql

from agents.cluster.provisioning import create_topics
from agents.engine.faust_app import SESSION_S
from bench.logs.events import activity
from bench.logs.log import read
from embedded.registry import Addresses
from runtime.settings import Settings
from scoring.time import DAY
from store.migrate import migrate
from tests.chaos.workers import WorkerProcess
from topics.catalog import ACTIVITY, HEALTH, full_name
from topics.partitioner import partition_of

SUPPLIERS = 400
CALM_S = 5.0
AFTER_DEATH_S = SESSION_S + 8.0
SECRETS = dict.fromkeys(("secret_key", "jwt_secret", "webhook_secret"), "bench: " + "x" * 32)


def measure(addresses: Addresses, per_second: int) -> dict[str, Any]:
    """One worker all along; a second one joins, leaves, comes back, is killed, and is killed for good."""
    settings = Settings(
        kafka=addresses.kafka,
        database_url=new_database(addresses.database_url),
        smtp_url=addresses.smtp,
        topic_prefix=f"scale{uuid.uuid4().hex[:8]}.",
        **SECRETS,
    )
    asyncio.run(create_topics(settings))
    with tempfile.TemporaryDirectory() as folder:
        moments = asyncio.run(
            _play(settings.model_copy(update={"state_dir": Path(folder)}), per_second, Path(folder))
        )
    topic = full_name(settings.topic_prefix, HEALTH)
    appended: dict[int, list[int]] = {number: [] for number in range(settings.partitions)}
    for record in read(settings.kafka, topic, settings.partitions):
        appended[record.partition].append(record.timestamp)
    rows = []
    for (what, begin), (_, end) in pairwise(moments):
        pauses = [longest_gap(times, begin, end) for times in appended.values()]
        rows.append({"what": what, "longest_s": max(pauses), "shortest_s": min(pauses)})
    return {"per_second": per_second, "session_s": SESSION_S, "rows": rows}


def longest_gap(times: list[int], begin: int, end: int) -> float:
    """The longest time in s without an append between two instants in ms, the one running at `begin` included."""
    before = max((at for at in times if at <= begin), default=begin)
    inside = [before, *(at for at in times if begin < at <= end), end]
    return max(later - earlier for earlier, later in pairwise(inside)) / 1000


async def _play(settings: Settings, per_second: int, folder: Path) -> list[tuple[str, int]]:
    """What was done, and when (ms)."""
    moments: list[tuple[str, int]] = []

    def now(what: str) -> None:
        moments.append((what, time.time_ns() // 1_000_000))

    with WorkerProcess(settings, folder / "first.log") as first:
        await first.ready()
        publishing = asyncio.create_task(_publish(settings, per_second))
        await asyncio.sleep(CALM_S)
        now("nothing happens")
        await asyncio.sleep(CALM_S)
        await _with_a_second(settings, folder, now)
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        await first.stop()
    return moments


async def _with_a_second(settings: Settings, folder: Path, now: Callable[[str], None]) -> None:
    with WorkerProcess(settings, folder / "visitor.log") as visitor:
        now("a second worker joins")
        await visitor.ready()
        await asyncio.sleep(CALM_S)
        now("it leaves (SIGTERM)")
        await visitor.stop()
        await asyncio.sleep(CALM_S)
    with WorkerProcess(settings, folder / "victim.log") as victim:
        now("it joins again")
        await victim.ready()
        await asyncio.sleep(CALM_S)
        now("its process is killed (-9), its supervisor starts another")
        await victim.kill_child()
        await victim.ready()
        await asyncio.sleep(CALM_S)
        now("it is killed (-9) with its supervisor")
        victim.kill_for_good()
        await asyncio.sleep(AFTER_DEATH_S)
        now("end")


async def _publish(settings: Settings, per_second: int) -> None:
    """Events at a steady rate, until cancelled."""
    producer = Producer({"bootstrap.servers": settings.kafka, "linger.ms": 5, "log_level": 4})
    topic = full_name(settings.topic_prefix, ACTIVITY)
    start = time.time_ns() // 1_000_000 - 2 * DAY
    log = activity(per_second * 600, SUPPLIERS, 13, start, DAY)
    began = time.perf_counter()
    try:
        for number in count(1):
            key, value = next(log)
            producer.produce(topic, value, key=key, partition=partition_of(key, settings.partitions))
            if number % 10 == 0:
                producer.poll(0)
                await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
    finally:
        producer.flush(10)


def new_database(server_url: str) -> str:
    """A migrated database of its own on that server."""
    url = empty_database(server_url)
    migrate(url)
    return url


def empty_database(server_url: str) -> str:
    """A database of its own on that server, with nothing in it."""
    name = f"scale_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return f"{server_url.rpartition('/')[0]}/{name}"


def lines(found: dict[str, Any]) -> list[str]:
    """For people, in Markdown."""
    return [
        (
            f"{found['per_second']:,} events/s on 8 partitions, two workers at most, "
            f"session {found['session_s']:.0f} s. Pause: the longest time between two snapshots of a partition."
        ),
        "",
        "| what happens | the partition that paused longest, s | the one that paused least, s |",
        "|---|---:|---:|",
        *[f"| {row['what']} | {row['longest_s']:.2f} | {row['shortest_s']:.2f} |" for row in found["rows"]],
    ]
