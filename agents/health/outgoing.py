"""What a partition's records bring about and is not sent yet: signals in the order of the stream, and dead letters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter

from agents.engine.record import DeadLetter
from scoring.health.signals import CONDITION_MET, MILESTONE_ACHIEVED, RISK_CHANGED, Signal
from topics.catalog import CONDITIONS, MILESTONES, RISK_CHANGES
from topics.encoding import SOURCE, STRUCTURED_HEADERS, encode_event

HEADERS = list(STRUCTURED_HEADERS)
TOPIC_OF_SIGNAL = {RISK_CHANGED: RISK_CHANGES, MILESTONE_ACHIEVED: MILESTONES, CONDITION_MET: CONDITIONS}

OutgoingSignal = tuple[str, bytes, bytes]
"""(catalogue name of the topic, key, value)"""
Place = tuple[int, int] | tuple[int, int, int, str]
"""(index of the record, 1) of what an event brought about; (index, 0, due, supplier) of what fired before it."""


@dataclass(slots=True)
class Flush:
    """What a partition owes the outside, in the order of sending: acked health before the signals.

    `changelog` goes last and in order. In a `whole` one its last record, the partition's meta, vouches for everything
    up to `watermark`. Another is of some suppliers only and vouches for nothing beyond them.
    """

    health: list[tuple[bytes, bytes]]
    signals: list[OutgoingSignal]
    dead_letters: list[DeadLetter]
    changelog: list[tuple[bytes, bytes]]
    watermark: int
    whole: bool = True
    astray: list[tuple[int, DeadLetter]] = field(default_factory=list)
    """(partition, record) of events that another count of partitions brought here, on their way home."""

    signal_times: list[tuple[int, bool]] = field(default_factory=list, compare=False)
    """Of each signal the time it stands for, in ms, and whether time alone brought it about."""

    def __bool__(self) -> bool:
        return bool(self.changelog)


@dataclass(slots=True)
class Outgoing:
    """Signals, dead letters and events on their way home since the last flush."""

    placed: list[tuple[Place, OutgoingSignal]] = field(default_factory=list)
    """Signals of the batch that is being folded, each with its place in the stream."""
    signals: list[OutgoingSignal] = field(default_factory=list)
    signal_times: list[tuple[int, bool]] = field(default_factory=list)
    dead_letters: list[tuple[int, DeadLetter]] = field(default_factory=list)
    """Each with the offset of its record."""
    astray: list[tuple[int, DeadLetter]] = field(default_factory=list)
    """Each with the partition where it is at home."""

    def add(self, supplier_id: str, signals: Iterable[Signal], place: Place) -> None:
        """Signals that came about at a place of the batch; `put_in_order` ends the batch."""
        key = supplier_id.encode()
        for signal in signals:
            value = encode_event(signal.type, signal.id, SOURCE, supplier_id, signal.at, signal.data)
            self.placed.append((place, (TOPIC_OF_SIGNAL[signal.type], key, value)))
            self.signal_times.append((signal.at, place[1] == 0))

    def put_in_order(self) -> None:
        """The batch's signals wait in the order of the stream from now on, wherever the batch began and ended."""
        self.placed.sort(key=itemgetter(0))
        self.signals += [record for _, record in self.placed]
        self.placed.clear()

    def take(self, watermark: int, *, whole: bool) -> Flush:
        """All of it, as a flush without health and changelog yet; nothing is left."""
        self.dead_letters.sort(key=itemgetter(0))  # what is refused when it is folded is noted later
        letters = [letter for _, letter in self.dead_letters]
        flush = Flush([], self.signals, letters, [], watermark, whole, self.astray, self.signal_times)
        self.signals, self.dead_letters, self.astray, self.signal_times = [], [], [], []
        return flush
