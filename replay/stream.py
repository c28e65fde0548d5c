"""From the records of a partition to what each supplier is told: verdicts and stream time as live scoring has them.

`agents.fold.PartitionFold` does the same for the live worker, in bulk; here each event can be looked at between
two others. A test holds both to the same signals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agents.fold import GRACE_MS, Record
from topics.decoding import ActivityEvent, Refusal, decode
from topics.partitioner import partition_of

FAR_AHEAD = 1 << 60
SILENCE_MS = 60_000
"""How long a partition must have been silent before the wall clock moves its time (contract section 4)."""


class Told(NamedTuple):
    """One event on its way to its supplier."""

    event: Any
    """An `ActivityEvent`: its `at`, `type`, `id`, `source`, `subject` and `data`."""
    fire_to: int
    """What is due at or before this instant (ms) has fired before the event came."""
    offset: int


def log_append_time(record: Record) -> int:
    """The append time of a live log."""
    return record.timestamp


def as_played(_record: Record) -> int:
    """The append time of a log that `success run` has played: its clock followed the events, none was early."""
    return FAR_AHEAD


@dataclass(slots=True)
class Stream:
    """Reads one partition in offset order and keeps its stream time (ms)."""

    partition: int
    partitions: int
    append_time: Callable[[Record], int] = log_append_time
    stream_time: int = 0
    events: int = 0
    unknown: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """Stable code of the reason -> number."""
    late: set[str] = field(default_factory=set)
    """Suppliers with events that came after the grace: where live scoring had let time pass meanwhile, by the wall
    clock or by `run`'s steps, their signals may differ from it."""
    last_event_at: int = 0
    """The greatest event time (ms)."""
    _at_home: set[str] = field(default_factory=set)
    _last_append: int = 0

    def read(self, records: Iterable[Record]) -> Iterator[Told]:
        """Yield what is good; count what is not."""
        append_time, at_home = self.append_time, self._at_home
        for record in records:
            append_ms = append_time(record)
            silence = record.timestamp - self._last_append if self._last_append else 0
            self._last_append = record.timestamp
            event = decode(record.key, record.value, record.headers, append_ms)
            if type(event) is not ActivityEvent:
                self._set_aside(event)
                continue
            supplier_id, at = event.subject, event.at
            if supplier_id not in at_home and not self._is_at_home(supplier_id):
                continue
            self.last_event_at = max(self.last_event_at, at)
            if at < self.stream_time - GRACE_MS or (
                silence > SILENCE_MS and at < record.timestamp - GRACE_MS
            ):
                self.late.add(supplier_id)  # in a silence, the wall clock has moved the partition
            capped = at if at < append_ms else append_ms  # noqa: FURB136 - twice as fast as min()
            self.stream_time = max(self.stream_time, capped)
            self.events += 1
            yield Told(event, self.stream_time - GRACE_MS, record.offset)

    def _is_at_home(self, supplier_id: str) -> bool:
        if partition_of(supplier_id.encode(), self.partitions) == self.partition:
            self._at_home.add(supplier_id)
            return True
        self._count("wrong_partition")
        return False

    def _set_aside(self, verdict: object) -> None:
        if isinstance(verdict, Refusal):
            self._count(verdict.reason.partition(":")[0])
        else:
            self.unknown += 1

    def _count(self, code: str) -> None:
        self.refused[code] = self.refused.get(code, 0) + 1
