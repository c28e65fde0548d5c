"""What it costs when very many suppliers fall due at the same moment."""

from __future__ import annotations

import time
from typing import Any

from agents.app import SESSION_S
from agents.fold import PartitionFold
from agents.lease import FRACTION_OF_SESSION
from agents.state_record import META_KEY, Meta, StateHeader, pack
from bench.scale.suppliers import ids
from scoring.machine import apply, next_due
from scoring.state import State, encode
from scoring.time import DAY, NEVER
from topics.decoding import ActivityEvent

LOGGED_IN = 1_767_603_600_000
FOUR_DAYS_LATER = LOGGED_IN + 4 * DAY
"""Past the first band of login frequency, which ends for all of them in the same millisecond."""


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
    began = time.process_time()
    signals = fold.fire_due(FOUR_DAYS_LATER)
    fired = time.process_time()
    flush = fold.take_flush()
    encoded = time.process_time()
    fold.confirm(flush)
    if len(flush.changelog) != timers + 1:
        raise RuntimeError(f"{len(flush.changelog) - 1} suppliers fired, {timers} were due")
    return {
        "timers": timers,
        "signals": signals,
        "fire_s": round(fired - began, 2),
        "fire_us_a_timer": round((fired - began) / timers * 1e6, 1),
        "encode_s": round(encoded - fired, 2),
        "encode_us_a_timer": round((encoded - fired) / timers * 1e6, 1),
        "seconds_on_one_partition": round(encoded - began, 2),
        "lease_s": SESSION_S * FRACTION_OF_SESSION,
    }


def records(count: int) -> dict[bytes, bytes]:
    """Changelog records of suppliers who signed up long ago and all logged in at the same moment."""
    found: dict[bytes, bytes] = {}
    for supplier_id in ids(count):
        state = State()
        for number, (kind, at, data) in enumerate(HISTORY):
            apply(state, supplier_id, ActivityEvent(kind, at, str(number), "/bench", supplier_id, data))
        state.changes, state.dirty = [], False
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
            f"({found['encode_us_a_timer']} µs each). For these {found['seconds_on_one_partition']} s the worker does "
            f"nothing else; its lease is {found['lease_s']:.0f} s."
        )
    ]
