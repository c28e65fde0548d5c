"""The lease: a worker frozen for so long that others may have its partitions must not send another byte."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from agents.failure import FailStop

FRACTION_OF_SESSION = 0.6
"""A freeze this long ends the process, well before the broker gives its partitions away."""

TICKS_PER_LEASE = 10


class Lease:
    """Proof that the event loop has run recently; renewed by `keep`, asked for before every send."""

    def __init__(
        self, session_s: float, fail_stop: FailStop, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.duration_s = session_s * FRACTION_OF_SESSION
        self._fail_stop = fail_stop
        self._monotonic = monotonic
        self._renewed_at: float | None = None

    def check(self) -> None:
        """Stop the worker if its event loop has not run for longer than the lease."""
        if self._renewed_at is None:
            return
        frozen_s = self._monotonic() - self._renewed_at
        if frozen_s > self.duration_s:
            self._fail_stop(
                f"the process was frozen for {frozen_s:.1f} s, longer than its lease of {self.duration_s:.1f} s; "
                "another worker may own its partitions by now"
            )

    def renew(self) -> None:
        """Check, then start the lease anew."""
        self.check()
        self._renewed_at = self._monotonic()

    async def keep(self) -> None:
        """Renew for as long as this task runs."""
        while True:
            self.renew()
            await asyncio.sleep(self.duration_s / TICKS_PER_LEASE)
