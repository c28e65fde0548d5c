"""Back-off, the one in the tree: twice as long each time, up to a longest."""

from __future__ import annotations

_MOST_DOUBLINGS = 32


def doubled(first: float, longest: float, attempt: int) -> float:
    """How long to wait after failed attempt number `attempt` (1, 2, …), in the unit of `first` and `longest`."""
    return min(longest, first * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS))
