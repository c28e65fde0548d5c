"""How long a worker takes to recover very many suppliers from the changelog."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from agents.failure import end_process
from agents.lease import Lease
from agents.producer import BatchProducer, Outgoing
from agents.provisioning import STATE
from bench.scale.suppliers import changelog, realistic
from bench.scale.workers import new_settings, scoring
from runtime.settings import Settings
from topics.catalog import full_name

SAMPLE = 1_000
EVENTS_EACH = 100
SENT_AT_ONCE = 2_000


def measure(kafka: str, suppliers: int) -> dict[str, Any]:
    """Write a changelog of so many suppliers, then start a worker on it."""
    settings = new_settings(kafka)
    size = asyncio.run(_fill(settings, suppliers))
    with scoring(settings, 1) as [process]:
        process.go()
        ready = process.ready()
    return {
        "suppliers": suppliers,
        "changelog_mb": round(size / 1e6),
        "seconds": round(ready["seconds"], 1),
        "suppliers_per_second": round(suppliers / ready["seconds"]),
        "cpu_us_a_supplier": round(ready["cpu_seconds"] / suppliers * 1e6, 1),
        "memory_mb": round(ready["memory_mb"]),
    }


async def _fill(settings: Settings, suppliers: int) -> int:
    """Bytes of keys and values written to the state topic."""
    producer = BatchProducer(settings, Lease(3600, end_process))
    await producer.start()
    topic = full_name(settings.topic_prefix, STATE)
    waiting: list[list[Outgoing]] = [[] for _ in range(settings.partitions)]
    size = 0
    states = realistic(SAMPLE, EVENTS_EACH, time.time_ns() // 1_000_000)
    for number, key, value in changelog(states, suppliers, settings.partitions, 0):
        waiting[number].append((key, value, []))
        size += len(key) + len(value)
        if len(waiting[number]) >= SENT_AT_ONCE:
            await producer.send(topic, number, waiting[number])
            waiting[number] = []
    for number, records in enumerate(waiting):
        await producer.send(topic, number, records)
    await producer.stop()
    return size


def lines(found: dict[str, Any]) -> list[str]:
    """For people, in Markdown."""
    return [
        (
            f"{found['suppliers']:,} suppliers ({found['changelog_mb']:,} MB of changelog) are recovered "
            f"{found['seconds']} s after the worker begins to join: {found['suppliers_per_second']:,} suppliers/s, "
            f"{found['cpu_us_a_supplier']} µs of CPU each; the worker then has {found['memory_mb']:,} MB."
        )
    ]
