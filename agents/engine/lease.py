"""The lease: a worker frozen for so long that others may have its partitions must not send another byte."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from agents.engine.failure import FailStop

FRACTION_OF_SESSION = 0.6
"""A freeze this long ends the process, well before the broker gives its partitions away."""

TICKS_PER_LEASE = 10


class Lease:
    """Proof that the process has run recently; renewed by `keep`, asked for before every send.

    A thread renews it, as a thread sends the group's heartbeats: an event loop that fires 100,000 timers in one
    go is busy, not frozen, and a worker that ended for that would meet the same timers again.
    """

    def __init__(
        self, session_s: float, fail_stop: FailStop, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.duration_s = session_s * FRACTION_OF_SESSION
        self._fail_stop = fail_stop
        self._monotonic = monotonic
        self._renewed_at: float | None = None

    def check(self) -> None:
        """Stop the worker if its process has not run for longer than the lease."""
        frozen_s = self._since_renewal()
        if frozen_s > self.duration_s:
            self._fail_stop(
                f"the process was frozen for {frozen_s:.1f} s, longer than its lease of {self.duration_s:.1f} s; "
                "another worker may own its partitions by now"
            )

    def stop_worker(self, reason: str, error: BaseException | None = None) -> None:
        """Stop the worker for an error, or for the freeze that led to it: servers hang up on whoever is silent."""
        self.check()
        self._fail_stop(reason, error)

    def renew(self) -> None:
        """Start the lease anew, unless it has run out."""
        if self._since_renewal() <= self.duration_s:
            self._renewed_at = self._monotonic()

    async def keep(self) -> None:
        """Renew, and check, for as long as this task runs."""
        ended = threading.Event()
        self.renew()
        threading.Thread(target=self._renew_until, args=(ended,), name="lease", daemon=True).start()
        try:
            while True:
                self.check()
                await asyncio.sleep(self.duration_s / TICKS_PER_LEASE)
        finally:
            ended.set()

    def _renew_until(self, ended: threading.Event) -> None:
        while not ended.wait(self.duration_s / TICKS_PER_LEASE):
            self.renew()

    def _since_renewal(self) -> float:
        return 0.0 if self._renewed_at is None else self._monotonic() - self._renewed_at
