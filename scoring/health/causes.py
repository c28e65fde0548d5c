"""Why a score changed: every movement of a component since the last change, the oldest merged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from scoring.health.metrics import COMPONENTS

KEPT = 20
MERGED = "earlier"


Movement = tuple[int, float, float, str]
"""(component index, points before, points after, event id or "time")"""


class Causes(msgspec.Struct, array_like=True, gc=False):
    """Movements of points since a change, newest last.

    All in all at most 20 are kept: where there were more, the oldest are merged into `earlier`, one
    `(before, after)` a component, so that the deltas always add up exactly.
    """

    newest: list[Movement] = []
    earlier: dict[int, tuple[float, float]] = {}

    def add(self, movement: Movement) -> None:
        """Note one movement of a component's points."""
        self.newest.append(movement)
        if len(self.newest) + len(self.earlier) > KEPT:
            self._merge_oldest()

    def _merge_oldest(self) -> None:
        newest, earlier = self.newest, self.earlier
        while len(newest) + len(earlier) > KEPT:
            oldest, first_before, last_after, _ = newest.pop(0)
            if oldest in earlier:
                first_before = earlier[oldest][0]
            earlier[oldest] = (first_before, last_after)

    def take(self) -> list[Movement]:
        """What was gathered, the merged first, by component; empties this object."""
        taken, self.newest = self.newest, []
        if self.earlier:
            taken[:0] = [
                (component, before, after, MERGED)
                for component, (before, after) in sorted(self.earlier.items())
                if before != after
            ]
            self.earlier = {}
        return taken


def as_json(movements: Iterable[Movement]) -> list[dict[str, Any]]:
    """Movements as `{"component", "before", "after", "event"}`."""
    return [
        {"component": COMPONENTS[component], "before": before, "after": after, "event": event}
        for component, before, after, event in movements
    ]
