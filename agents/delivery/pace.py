"""Pacing: how fast emails are handed over, in all and to one recipient's domain."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from scoring.decisions.policy import Pace

_FORGET_ABOVE = 10_000
"""Domains remembered; those whose turn has come are forgotten beyond this."""


class Pacer:
    """Gives each email its turn; one object for all workers of a process. Times are seconds of a steady clock."""

    def __init__(
        self,
        pace: Pace,
        now: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pace = pace
        self._now = now
        self._sleep = sleep
        self._next = 0.0
        self._next_of: dict[str, float] = {}

    def keep_to(self, pace: Pace) -> None:
        """Go on at this pace."""
        self._pace = pace

    async def turn(self, recipient: str) -> None:
        """Return when it is this recipient's turn; turns are taken in the order of the calls."""
        domain = recipient.rpartition("@")[2].lower()
        now = self._now()
        at = max(now, self._next, self._next_of.get(domain, now))
        # An email that waits for its domain has taken one place in the line of all, and holds up nobody behind it.
        self._next = max(now, self._next) + 1 / self._pace.a_second
        self._next_of[domain] = at + 1 / self._pace.a_second_to_one_domain
        if len(self._next_of) > _FORGET_ABOVE:
            self._next_of = {name: turn for name, turn in self._next_of.items() if turn > now}
        if at > now:
            await self._sleep(at - now)
