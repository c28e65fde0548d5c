"""The three logs that engines are measured on: how many events a supplier has, and who is known before the first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from bench.logs.events import activity
from bench.scale.suppliers import ids
from scoring.time import DAY, MINUTE

SEED = 7
EVENTS_OF_ONE = 50
"""Of a supplier in the dense log."""
DAYS = 7
KINDS_OF = 100
"""Whose events those of a sparse log are copied from."""
SPARSE_ENDS_AGO, SPARSE_TAKES = 5 * MINUTE, 5 * MINUTE
KNOWN_UNTIL_AGO = 15 * MINUTE
"""When the known suppliers' last events were: before the log's first."""

Events = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A log; `events(count)` are its (key, value)."""

    name: str
    title: str
    what: str
    """In words."""
    sparse: bool = False
    known: bool = False

    def suppliers(self, events: int) -> int:
        """So many have events in it."""
        return events if self.sparse else max(1, events // EVENTS_OF_ONE)

    def events(self, events: int, now_ms: int) -> Events:
        """(key, value) of so many events."""
        if self.sparse:
            return list(one_each(events, now_ms - SPARSE_ENDS_AGO - SPARSE_TAKES))
        start = now_ms - (DAYS + 1) * DAY
        return list(activity(events, self.suppliers(events), SEED, start, DAYS * DAY))


DENSE = Kind("dense", "Dense", f"{EVENTS_OF_ONE} events a supplier over {DAYS} days: a backlog, a load test")
KNOWN = Kind(
    "known",
    "Sparse, known suppliers",
    "one event each of suppliers whose state every engine has before the first: a working day",
    sparse=True,
    known=True,
)
NEW = Kind("new", "Sparse, new suppliers", "one event each of suppliers nobody knows", sparse=True)
LOGS = {kind.name: kind for kind in (DENSE, KNOWN, NEW)}


def one_each(suppliers: int, start_ms: int, seed: int = SEED) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of one event of each of `ids(suppliers)`, in any order, all within minutes of `start_ms`."""
    others = list(ids(suppliers))
    Random(seed).shuffle(others)  # noqa: S311 - load, not a secret
    log = activity(suppliers, KINDS_OF, seed, start_ms, SPARSE_TAKES)
    for supplier_id, (key, value) in zip(others, log, strict=True):
        other = supplier_id.encode()
        yield other, value.replace(key, other, 1)


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000
