"""The one place where the time of day comes from, so that `success run` can bring its own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time in milliseconds since 1970-01-01 UTC."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that stands until it is moved; it never runs back.

    Used by `success run`, which follows a recorded file, and by tests.
    """

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self._now_ms

    def advance_to(self, now_ms: int) -> None:
        """Move to `now_ms`; a time before the present one is ignored."""
        self._now_ms = max(self._now_ms, now_ms)
