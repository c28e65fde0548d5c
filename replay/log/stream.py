"""From the records of a partition to what each supplier is told: read by the fold of the live worker itself.

Verdicts, stream time, which supplier is at home where and what a state holds already are `PartitionFold`'s. What it
would then fold is handed on instead: here each event can be looked at between two others, in more than one variant.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from agents.engine.record import Record
from agents.health.fold import GRACE_MS, PartitionFold
from agents.health.state_codec import Meta
from agents.health.suppliers import Supplier
from agents.health.timeline import Step
from scoring.health.signals import Signal
from scoring.health.state import State
from topics.decoding import ActivityEvent

RECORDS_A_BATCH = 20_000
"""Enough that a supplier has several, each in its turn: one state at a time is in the processor's caches."""
FAR_AHEAD = 1 << 60
SILENCE_MS = 60_000
"""How long a partition must have been silent before the wall clock moves its time (contract section 4)."""

Told = tuple[ActivityEvent, int]
"""An event on its way to its supplier; what is due at or before the instant (ms) has fired before it came."""
Tell = Callable[[Supplier, Sequence[Told]], None]
"""Hears the next events of a supplier, in offset order; `state` is that of a snapshot, or a new one."""


def as_played(_record: Record) -> int:
    """The append time of a log that `success run` has played: its clock followed the events, none was early."""
    return FAR_AHEAD


def _goes_on(_step: Step) -> None:
    """Nobody goes over to other rules."""


def _nobody(_supplier: Supplier, _told: Sequence[Told]) -> None:
    """Nobody is told."""


@dataclass(slots=True)
class Stream(PartitionFold):
    """Reads one partition (`process`) and tells `tell` what each supplier is to fold, a batch at a time."""

    grace_ms: int | None = None
    """Nothing fires by itself: who is told lets time pass."""
    most_waiting: int = sys.maxsize
    """No snapshot has to fit into a message."""
    tell: Tell = _nobody
    is_told: bool = True
    """Whoever opens it says by `learn` where it goes over to which rules."""
    on_switch: Callable[[Step], None] = _goes_on
    """Hears of each switch of rules, when all before it has been told."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Stable code of a refusal -> number."""
    late: set[str] = field(default_factory=set)
    """Suppliers with events that came after the grace: where live scoring had let time pass meanwhile, by the wall
    clock or by `run`'s steps, their signals may differ from it."""
    last_event_at: int = 0
    """The greatest event time (ms)."""
    _appended: int = 0
    _silences: dict[int, int] = field(default_factory=dict)
    """Place in the batch of what came after a silence -> its append time: by then the wall clock had moved time."""

    @property
    def fired_to(self) -> int:
        """Up to when (ms) a worker that has read so far has let time pass."""
        return self.stream_time - GRACE_MS

    def process(self, records: Iterable[Record]) -> None:
        """Read records in offset order; what is good has been told when it returns, the rest counted."""
        PartitionFold.process(self, self._noting_silences(records))
        self._silences.clear()

    def _noting_silences(self, records: Iterable[Record]) -> Iterator[Record]:
        appended, silences, times = self._appended, self._silences, self._times
        for record in records:
            now = record.timestamp
            if now - appended > SILENCE_MS and appended:
                silences[len(times)] = now
            elif silences:
                silences.pop(len(times), None)  # what broke the silence was no good event
            appended = now
            yield record
        self._appended = appended

    def _went_over(self, step: Step) -> None:
        self.stream_time = max(self.stream_time, step.through + GRACE_MS)
        self.on_switch(step)

    def bring_up(self, state: State, supplier_id: str) -> list[Signal]:
        """Take a state that the log begins with through the switches there have been; the signals of that."""
        return self._timeline.bring_up(state, supplier_id)

    def _check_rules(self, meta: Meta) -> None:
        """Any will do: a draft counts from the state that the log begins with."""

    def _fold_waiting(self, supplier: Supplier) -> None:
        """Hand on what the live fold would fold now."""
        waiting, supplier.waiting = supplier.waiting, []
        times, silences, told = self._times, self._silences, []
        for event, place, _ in waiting:
            at, fired_to = event.at, times[place] - GRACE_MS
            if at > self.last_event_at:  # noqa: PLR1730 - twice as fast as max()
                self.last_event_at = at
            if at < fired_to or (silences and at < silences.get(place, 0) - GRACE_MS):
                self.late.add(supplier.id)
            told.append((event, fired_to))
        self.tell(supplier, told)

    def _refuse(self, record: Record, reason: str) -> None:
        """Count what would be a dead letter."""
        del record
        code = reason.partition(":")[0]
        self.counters.refused += 1
        self.reasons[code] = self.reasons.get(code, 0) + 1


def batches(found: Iterable[Sequence[Record]], first: int) -> Iterator[Sequence[Record]]:
    """The records in batches large enough to be told supplier by supplier; one of them begins at the offset `first`."""
    waiting: list[Record] = []
    for records in found:
        cut = bisect_left(records, first, key=attrgetter("offset"))
        waiting += records[:cut]
        if waiting and cut < len(records) and waiting[-1].offset < first:
            yield waiting
            waiting = []
        waiting += records[cut:]
        if len(waiting) >= RECORDS_A_BATCH:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
