"""As of when the dashboard is, and what lags: one reading for all pages, a few seconds old, that no page waits for.

Postgres says how far what is stored has come, Kafka how much the workers have not read. A Kafka that does not answer
costs nothing but the words about it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import Request

from api.auth import Caller
from api.dashboard.fresh.lag import Lag, lag
from api.news import AWAY
from api.services import Services, services
from store.dashboard import system as store
from store.times import to_time

if TYPE_CHECKING:
    from collections.abc import Callable

NEW_S = 5.0
"""A reading is repeated once it is older, and somebody asks."""
KNOWN_S = 60.0
"""A reading that is older says nothing any more."""
WAIT_S = 0.5
"""How long a page waits for the first reading after nobody asked for a while."""
CATCHING_UP = 10_000
"""Records that a worker reads in a second or so, or has read and not yet committed."""
FIRST_STEPS = 2
"""With so many suppliers nobody needs to be told how to begin."""
_OURSELVES = Caller("agent", "dashboard")


@dataclass(frozen=True, slots=True)
class Freshness:
    """What a page says of itself; without a reading, that it can't be read."""

    as_of: datetime | None = None
    """Up to when what is shown holds; None: nothing was calculated yet, or it is not known."""
    is_known: bool = False
    lag: Lag = field(default_factory=Lag)
    begun: dict[str, Any] | None = None
    """Of a stack that has nobody yet, or one: `suppliers`, `addresses`, `scored`."""

    @property
    def is_current(self) -> bool:
        """Whether "none" and 0 are to be believed: a worker is there, and has read what there is."""
        return bool(self.lag.workers) and (self.lag.behind or 0) <= CATCHING_UP

    @property
    def lags(self) -> str:
        """What is behind, as the rest of a sentence; "" if nothing is."""
        workers, behind = self.lag.workers, self.lag.behind
        if workers is None or behind is None:
            return "how far the worker is behind can't be read"
        if not workers:
            waiting = f", and {amount(behind)} {'waits' if behind == 1 else 'wait'} for it" if behind else ""
            return f"the worker is away{waiting}"
        who = "the worker is" if workers == 1 else f"the {workers} workers are"
        return f"{who} {amount(behind)} behind" if behind else ""

    def when(self, now: datetime) -> str:
        """`21 November 14:02 UTC`; the year where it is another one."""
        if self.as_of is None:
            return ""
        at = self.as_of.astimezone(UTC)
        year = f" {at.year}" if at.year != now.astimezone(UTC).year else ""
        return f"{at.day} {at:%B}{year} {at:%H:%M} UTC"


UNKNOWN = Freshness()


def amount(events: int) -> str:
    """`1 event`, `12,345 events`, `1.6 million events`."""
    if (millions := round(events / 1_000_000, 1)) >= 1:
        return f"{millions:,g} million events"
    return f"{events:,} event{'s' if events != 1 else ''}"


class Readings:
    """The newest reading of a process; one at a time is made, and only while somebody asks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._newest = UNKNOWN
        self._at = float("-inf")
        self._read_up_at: datetime | None = None
        self._making: asyncio.Task[None] | None = None

    @property
    def newest(self) -> Freshness:
        """What is known at this moment."""
        if self._clock() - self._at < KNOWN_S or (self._making is not None and not self._making.done()):
            return self._newest
        return UNKNOWN

    async def look(self, opened: Services) -> None:
        """Have a new reading made if the newest is no longer new; waited for, shortly, only if nothing is known.

        A stack that is only beginning is asked every time, so that its first event shows at once.
        """
        age = self._clock() - self._at
        if age >= NEW_S and (self._making is None or self._making.done()):
            if age >= KNOWN_S:
                self._newest = UNKNOWN
            self._making = asyncio.create_task(self._read(opened), name="as of when")
        if self._making is not None and not self._making.done() and age >= KNOWN_S:
            await asyncio.wait([self._making], timeout=WAIT_S)
        elif self._newest.begun is not None:
            stored = await self._stored(opened, Lag())
            self._newest = replace(stored, lag=self._newest.lag)  # which may be a newer one by now

    async def aclose(self) -> None:
        """Stop reading."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.wait([self._making])

    async def _read(self, opened: Services) -> None:
        asked = asyncio.create_task(lag(opened.settings))
        try:
            self._newest = await self._stored(opened, self.newest.lag)  # without waiting for Kafka
            found = await asked
        finally:
            asked.cancel()
        if found.workers and not found.behind:
            self._read_up_at = to_time(opened.clock.now_ms())
        self._newest = await self._stored(opened, found)
        self._at = self._clock()

    async def _stored(self, opened: Services, found: Lag) -> Freshness:
        """What Postgres says now, beside what Kafka said."""
        try:
            async with opened.transaction(_OURSELVES) as conn:
                begun = await store.begun(conn, FIRST_STEPS)
                until = await store.stored_until(conn)
        except AWAY:
            return Freshness(lag=found)
        # What was stored last, or when everything was last seen to be read: nobody's silence is no lag.
        if until is not None and self._read_up_at is not None:
            until = max(until, self._read_up_at)
        return Freshness(until, True, found, begun if begun["suppliers"] < FIRST_STEPS else None)


def readings(request: Request) -> Readings:
    """The app's readings."""
    found: Readings = request.app.state.readings
    return found


async def look(request: Request) -> None:
    """Say that an agent has a page made, before it is."""
    await readings(request).look(services(request))
