"""Says in the log when events of an unknown type come in that looks like a misspelling: they would vanish unseen."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from topics.foreign import meant

logger = logging.getLogger(__name__)

AGAIN_S = 3600.0
"""A type is named once in so long."""
MOST_TYPES = 100
"""So many types are told apart in that time: whoever makes types up fills no log."""


class Misspelt:
    """Warns of unknown types that look misspelt, each once an hour."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._seen: dict[str, float] = {}

    def note(self, kind: str, known: Iterable[str]) -> None:
        """Events of `kind` came, which is none of the `known` types."""
        now = self._now_s()
        if kind in self._seen and now - self._seen[kind] < AGAIN_S:
            return
        self._seen = {name: at for name, at in self._seen.items() if now - at < AGAIN_S}
        if len(self._seen) >= MOST_TYPES:
            return
        self._seen[kind] = now
        if name := meant(kind, known):
            logger.warning(
                "events of the unknown type %r come in: did you mean %s? They are counted, and otherwise ignored",
                kind,
                name,
            )


misspelt = Misspelt()
"""One a process, for all partitions."""
