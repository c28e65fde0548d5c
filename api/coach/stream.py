"""News for open coaches: one listening connection a process wakes the streams of the supplier whom it is about.

A stream sends states, not increments: whatever was missed while the line was down is in the next one. Its cursor
(`Last-Event-ID`) names the state that the page has, so that a page which is up to date hears nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

from psycopg import AsyncConnection, InterfaceError, OperationalError
from psycopg_pool import PoolTimeout
from sse_starlette import ServerSentEvent

from api.coach.answer import cursor_of, told_by
from api.coach.models import Coach
from store.people.coach import CHANNEL

logger = logging.getLogger(__name__)

HEARTBEAT_S = 15
"""Between two comments on a silent stream, so that a broken line is noticed by both ends."""
LIFETIME_S = 15 * 60
"""A stream ends after this; the page comes back with a new token."""
RETRY_MS = 1000
_LONGEST_PAUSE_S = 10.0
_AWAY = (OperationalError, InterfaceError, PoolTimeout, OSError)


class CoachNews:
    """Who waits for news of which supplier. Listens to Postgres only while somebody does."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._listener: asyncio.Task[None] | None = None
        self._heard = asyncio.Event()

    @property
    def open_streams(self) -> int:
        """How many streams wait for news."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def of(self, supplier_id: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever there may be news of a supplier.

        Entered once Postgres is listened to, so that nothing committed from here on is missed.
        """
        changed = asyncio.Event()
        self._waiting[supplier_id].add(changed)
        try:
            if self._listener is None or self._listener.done():
                self._heard.clear()
                self._listener = asyncio.create_task(self._listen(), name="coach news")
            await self._heard.wait()
            yield changed
        finally:
            self._waiting[supplier_id].discard(changed)
            if not self._waiting[supplier_id]:
                del self._waiting[supplier_id]
            if not self._waiting and self._listener is not None:
                self._listener.cancel()
                self._listener = None

    async def _listen(self) -> None:
        pause = 0.1
        while True:
            try:
                connection = await AsyncConnection.connect(self._database_url, autocommit=True)
                async with connection:
                    await connection.execute(f"LISTEN {CHANNEL}".encode())
                    pause = 0.1
                    self._heard.set()
                    self._wake_all()  # whatever happened while nobody listened
                    async for notification in connection.notifies():
                        self._wake(notification.payload)
            except _AWAY as error:
                self._heard.clear()
                logger.warning("coaches hear nothing new: %s; trying again in %.1f s", _line(error), pause)
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE_S, pause * 2)

    def _wake(self, supplier_id: str) -> None:
        for changed in self._waiting.get(supplier_id, ()):
            changed.set()

    def _wake_all(self) -> None:
        for supplier_id in self._waiting:
            self._wake(supplier_id)


async def events(
    news: CoachNews,
    supplier_id: str,
    read: Callable[[], Awaitable[Coach | None]],
    cursor: str | None,
    until_s: float | None = None,
) -> AsyncIterator[ServerSentEvent]:
    """What a page that has the state `cursor` has to hear, until its life is over or the supplier is gone.

    Its life ends with the token that opened it (`until_s`, seconds since 1970).
    `milestone` events carry a Celebration, `coach` events the whole answer. Ends quietly while Postgres is away:
    the page comes back.
    """
    yield ServerSentEvent(comment="here", retry=RETRY_MS)
    with contextlib.suppress(TimeoutError):
        left = LIFETIME_S if until_s is None else min(LIFETIME_S, until_s - time.time())
        async with asyncio.timeout(left), news.of(supplier_id) as changed:
            while True:
                changed.clear()
                try:
                    coach = await read()
                except _AWAY as error:
                    logger.warning("a coach's stream ends: %s", _line(error))
                    return
                if coach is None:
                    return
                for event in what_is_new(coach, cursor):
                    yield event
                cursor = coach.cursor
                await changed.wait()


def what_is_new(coach: Coach, cursor: str | None) -> Iterator[ServerSentEvent]:
    """The events that lead from the state `cursor` to this one; none if it is this one."""
    if cursor == coach.cursor:
        return
    digest, told = told_by(cursor)
    for celebration in reversed(coach.celebrations):  # the oldest first
        if celebration.type not in told:
            told |= {celebration.type}
            yield ServerSentEvent(
                celebration.model_dump_json(by_alias=True), event="milestone", id=cursor_of(digest, told)
            )
    yield ServerSentEvent(coach.model_dump_json(by_alias=True), event="coach", id=coach.cursor)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
