"""Every event another supplier's, known long since: each costs a state, a snapshot and a record of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from random import Random
from typing import Any

from bench.logs.events import activity
from bench.logs.log import publish
from bench.scale.suppliers import fill, ids
from bench.scale.workers import new_settings, run
from topics.catalog import ACTIVITY, full_name

SEED = 23
KINDS_OF = 100
"""Whose events the suppliers' are copied from."""
MINUTE_MS = 60_000


def measure(kafka: str, suppliers: int) -> dict[str, Any]:
    """One worker that knows so many suppliers, and a log of one event each."""
    settings = new_settings(kafka)
    asyncio.run(fill(settings, suppliers))
    asyncio.run(publish(settings, full_name(settings.topic_prefix, ACTIVITY), one_each(suppliers)))
    return {"suppliers": suppliers, **run(settings, 1, suppliers)}


def one_each(suppliers: int) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of one event for each supplier, in any order, all of the last few minutes."""
    others = list(ids(suppliers))
    Random(SEED).shuffle(others)  # noqa: S311 - load, not a secret
    start = time.time_ns() // 1_000_000 - 10 * MINUTE_MS
    log = activity(suppliers, KINDS_OF, SEED, start, 5 * MINUTE_MS)
    for supplier_id, (key, value) in zip(others, log, strict=True):
        other = supplier_id.encode()
        yield other, value.replace(key, other, 1)


def lines(found: dict[str, Any]) -> list[str]:
    """For people, in Markdown."""
    rate = found["events_per_second_once_joined"] or found["events_per_second"]
    return [
        (
            f"{found['suppliers']:,} known suppliers with one event each: one worker does {rate:,} events/s. Nothing "
            "can be merged: each event loads a state and makes a snapshot and a state record."
        )
    ]
