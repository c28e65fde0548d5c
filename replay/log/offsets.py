"""Choosing what is replayed by offsets, a partition at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from replay.log.kafka_log import Bounds, LogError
from topics.catalog import ACTIVITY
from topics.partitioner import Homes

FROM, TO = "--from-offset", "--to-offset"

Chosen = int | Mapping[int, int] | None
"""One offset for all partitions, an offset a partition, or none."""


@dataclass(frozen=True, slots=True)
class Span:
    """What of a partition is replayed: the offsets [begin, end) are read, and reported from `first` on."""

    begin: int
    first: int
    end: int

    def check_reaches(self, partition: int, known: int) -> None:
        """LogError where a state that holds everything below the offset `known` is no beginning for this span."""
        if 0 < self.first < known or self.end < known:
            raise LogError(
                f"partition {partition} can only be continued from offset {known:,}, where a snapshot of state was "
                f"taken: choose offsets from there on"
            )


@dataclass(frozen=True, slots=True)
class Offsets:
    """The first offset that is reported and the last one that is read, both included.

    Where partitions are named, the others are left out: they would say nothing of this stretch of the log.
    """

    first: Chosen = None
    last: Chosen = None

    def __bool__(self) -> bool:
        """Whether anything is chosen at all."""
        return self.first is not None or self.last is not None

    def check_fits(self, homes: Homes) -> None:
        """LogError where offsets are chosen in a log whose partitions have grown: a supplier's are on several."""
        if self and homes.grown:
            raise LogError(
                "offsets can't be chosen in a log whose partitions have grown, where a supplier's events lie on "
                "several: choose times (--from, --to)"
            )

    def spans(self, held: Mapping[int, Bounds]) -> dict[int, Span]:
        """What is replayed of each partition; LogError for what the log does not have."""
        if wrong := self.crossed():
            raise LogError(wrong)
        named: set[int] = set()
        for option, chosen in ((FROM, self.first), (TO, self.last)):
            if isinstance(chosen, Mapping):
                _check_each(option, chosen, held)
                named |= chosen.keys()
            elif chosen is not None:
                _check_for_all(option, chosen, held)
        return {partition: self._span(partition, held[partition]) for partition in sorted(named or held)}

    def of_supplier(self, spans: Mapping[int, Span], supplier_id: str, partition: int) -> Span:
        """The span of the partition that a supplier's events are in; LogError if others are named."""
        if partition not in spans:
            named = ", ".join(map(str, spans))
            raise LogError(f"the events of {supplier_id} are in partition {partition}, not in {named}")
        return spans[partition]

    def crossed(self) -> str | None:
        """What to say if the first offset lies behind the last one, of any partition; needs no log to tell."""
        if isinstance(self.first, int) and isinstance(self.last, int):
            return f"{FROM} {self.first} lies behind {TO} {self.last}" if self.first > self.last else None
        if isinstance(self.first, Mapping) and isinstance(self.last, Mapping):
            for partition in sorted(self.first.keys() & self.last.keys()):
                first, last = self.first[partition], self.last[partition]
                if first > last:
                    return f"{FROM} {partition}:{first} lies behind {TO} {partition}:{last}"
        return None

    def _span(self, partition: int, held: Bounds) -> Span:
        first, last = _of(self.first, partition), _of(self.last, partition)
        end = held.end if last is None else max(held.begin, min(held.end, last + 1))
        return Span(held.begin, first or 0, end)


WHOLE = Offsets()
"""All that there is."""


def _of(chosen: Chosen, partition: int) -> int | None:
    return chosen.get(partition) if isinstance(chosen, Mapping) else chosen


def _check_each(option: str, chosen: Mapping[int, int], held: Mapping[int, Bounds]) -> None:
    for partition, offset in chosen.items():
        if partition not in held:
            raise LogError(
                f"{option} {partition}:{offset}: there is no partition {partition} of {ACTIVITY}, "
                f"there are {min(held)} to {max(held)}"
            )
        if not held[partition].begin <= offset < held[partition].end:
            raise LogError(f"{option} {partition}:{offset}: partition {partition} {_holds(held[partition])}")


def _check_for_all(option: str, offset: int, held: Mapping[int, Bounds]) -> None:
    """One number for all may lie behind the end of a short partition, but not of all of them."""
    longest = max(held, key=lambda partition: held[partition].end)
    if offset >= held[longest].end:
        raise LogError(
            f"{option} {offset}: no partition reaches it; partition {longest} {_holds(held[longest])}"
        )


def _holds(held: Bounds) -> str:
    if held.begin == held.end:
        return "holds nothing"
    return f"holds the offsets {held.begin:,} to {held.end - 1:,}"
