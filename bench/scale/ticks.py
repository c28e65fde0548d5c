"""What it costs when very many suppliers fall due at the same moment, and how long others wait for a slice of it."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

from agents.health.fold import PartitionFold
from agents.health.slices import SLICE
from agents.health.state_codec import META_KEY, Meta, StateHeader, pack
from bench.scale.suppliers import ids
from runtime.collector import tune_collector
from scoring.health.machine import apply, next_due
from scoring.health.state import State, encode, forget_told
from scoring.time import DAY, NEVER
from topics.decoding import ActivityEvent

LOGGED_IN = 1_767_603_600_000
FOUR_DAYS_LATER = LOGGED_IN + 4 * DAY
"""Past the first band of login frequency, which ends for all of them in the same millisecond."""


T = TypeVar("T")


class _Imported:
    client_ids = ("c1", "c2")


class _Active:
    client_id = "c1"


HISTORY = (
    ("client.imported", LOGGED_IN - 2 * DAY, _Imported()),
    ("client.active", LOGGED_IN - DAY, _Active()),
    ("supplier.logged_in", LOGGED_IN, None),
)
"""48.75 points, 38.75 when the band ends: each of them becomes critical, with a signal."""


def measure(timers: int) -> dict[str, Any]:
    """Fire so many on one partition at once, then make them a flush."""
    fold = PartitionFold(0, 1, grace_ms=None)
    fold.recover(records(timers))
    tune_collector()  # as the worker does
    signals: list[int] = []
    firing, _ = slices_of(_gathered(fold.firing_due(FOUR_DAYS_LATER), signals))
    encoding, flush = slices_of(fold.taking_flush())
    fold.confirm(flush)
    fire_s, encode_s = sum(firing), sum(encoding)
    if len(flush.changelog) != timers + 1:
        raise RuntimeError(f"{len(flush.changelog) - 1} suppliers fired, {timers} were due")
    return {
        "timers": timers,
        "signals": sum(signals),
        "fire_s": round(fire_s, 2),
        "fire_us_a_timer": round(fire_s / timers * 1e6, 1),
        "encode_s": round(encode_s, 2),
        "encode_us_a_timer": round(encode_s / timers * 1e6, 1),
        "seconds_on_one_partition": round(fire_s + encode_s, 2),
        "slice": SLICE,
        "longest_slice_ms": round(max(firing + encoding) * 1e3),
    }


def slices_of(steps: Generator[Any, None, T]) -> tuple[list[float], T]:
    """CPU seconds of each slice, and the result."""
    took: list[float] = []
    while True:
        began = time.process_time()
        try:
            next(steps)
        except StopIteration as end:
            took.append(time.process_time() - began)
            return took, end.value
        took.append(time.process_time() - began)


def _gathered(steps: Generator[T, None, None], into: list[T]) -> Generator[None, None, None]:
    for step in steps:
        into.append(step)
        yield


def records(count: int) -> dict[bytes, bytes]:
    """Changelog records of suppliers who signed up long ago and all logged in at the same moment."""
    found: dict[bytes, bytes] = {}
    for supplier_id in ids(count):
        state = State()
        for number, (kind, at, data) in enumerate(HISTORY):
            apply(state, supplier_id, ActivityEvent(kind, at, str(number), "/bench", supplier_id, data))
        forget_told(state)
        header = StateHeader(0, -1, LOGGED_IN, next_due(state))
        found[supplier_id.encode()] = pack(header, encode(state))
    found[META_KEY] = pack(StateHeader(0, -1, LOGGED_IN, NEVER), Meta(1).encode())
    return found


def lines(found: dict[str, Any]) -> list[str]:
    """For people, in Markdown."""
    return [
        (
            f"{found['timers']:,} timers due in the same millisecond on one partition: fired in {found['fire_s']} s "
            f"({found['fire_us_a_timer']} µs each, {found['signals']:,} signals), encoded in {found['encode_s']} s "
            f"({found['encode_us_a_timer']} µs each), {found['seconds_on_one_partition']} s in all. In slices of "
            f"{found['slice']} suppliers, between which other partitions go on; the longest took "
            f"{found['longest_slice_ms']} ms."
        )
    ]
