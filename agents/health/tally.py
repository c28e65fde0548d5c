"""What a partition has read, counted for monitoring."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

MOST_UNKNOWN = 200
"""Names of unknown types that are told apart between two looks at the tally."""


@dataclass(slots=True)
class Tally:
    """What was read since the last look."""

    read: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Events by type."""
    refused: int = 0
    _unknown: Counter[str] = field(default_factory=Counter)

    def add_unknown(self, name: str) -> None:
        """An event of a type that nobody knows; beyond `MOST_UNKNOWN` names they are counted together, as ""."""
        self._unknown[name if len(self._unknown) < MOST_UNKNOWN else ""] += 1

    def take(self) -> list[tuple[str, str, int]]:
        """(type, `read`, `unknown` or `refused`, how many), "" for no type; from now on it is empty."""
        found = [(name, "read", count) for name, count in self.read.items()]
        found += [(name, "unknown", count) for name, count in self._unknown.items()]
        if self.refused:
            found.append(("", "refused", self.refused))
        self.read.clear()
        self._unknown.clear()
        self.refused = 0
        return found
