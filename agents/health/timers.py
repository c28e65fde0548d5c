"""When which supplier of a partition falls due next."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from scoring.time import NEVER


class Timers:
    """The next due time (ms) of each supplier who has one, the earliest first.

    A supplier may be scheduled anew at any time: the entry before stays in the heap, as a leftover that is passed over.
    """

    __slots__ = ("_due", "_heap")

    def __init__(self, due: Iterable[tuple[int, str]] = ()) -> None:
        self._heap = list(due)
        self._due = {supplier_id: at for at, supplier_id in self._heap}
        heapify(self._heap)

    def __len__(self) -> int:
        """How many suppliers have a due time."""
        return len(self._due)

    def schedule(self, supplier_id: str, due: int) -> None:
        """From now on they are due then, and at no other time; `NEVER` changes nothing."""
        if due < NEVER:
            self._due[supplier_id] = due
            heappush(self._heap, (due, supplier_id))

    def schedule_sooner(self, supplier_id: str, due: int) -> None:
        """The same, unless they are due by then anyway."""
        if due < self._due.get(supplier_id, NEVER):
            self.schedule(supplier_id, due)

    def forget(self, supplier_id: str) -> None:
        """They have no due time any more."""
        self._due.pop(supplier_id, None)

    def is_due(self, to_ms: int) -> bool:
        """Whether anybody is due at or before `to_ms`: then `take` gives the first."""
        heap, due = self._heap, self._due
        while heap and heap[0][0] <= to_ms:
            at, supplier_id = heap[0]
            if due.get(supplier_id) == at:
                return True
            heappop(heap)  # a later pass scheduled them earlier; this entry is a leftover
        return False

    def take(self) -> tuple[int, str]:
        """Who is due first, and when; they have no due time from now on. To be asked when `is_due` has said yes."""
        due, supplier_id = heappop(self._heap)
        del self._due[supplier_id]
        return due, supplier_id

    def next_due(self) -> int | None:
        """A lower bound in ms of when something falls due next; None if nothing will."""
        return self._heap[0][0] if self._heap else None

    def count_due(self, at_ms: int, at_most: int) -> int:
        """How many are due at `at_ms`, counted up to `at_most`: only the heap's top is looked at."""
        heap, found, look = self._heap, 0, [0]
        while look and found < at_most:
            index = look.pop()
            if index < len(heap) and heap[index][0] <= at_ms:
                due, supplier_id = heap[index]
                found += self._due.get(supplier_id) == due
                look += (2 * index + 1, 2 * index + 2)
        return found
