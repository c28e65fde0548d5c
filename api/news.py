"""News for open pages: one listening connection a process wakes the streams of the supplier whom it is about."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import AsyncConnection, InterfaceError, OperationalError
from psycopg_pool import PoolTimeout

logger = logging.getLogger(__name__)

ANYBODY = ""
"""Whose news a page is about that shows them all."""
LONGEST_PAUSE_S = 10.0
AWAY = (OperationalError, InterfaceError, PoolTimeout, OSError)
"""What reading raises while Postgres is away."""


class News:
    """Who waits for news of which supplier. Listens to `channels` of Postgres only while somebody does."""

    def __init__(self, database_url: str, *channels: str) -> None:
        self._database_url = database_url
        self._channels = channels
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._listener: asyncio.Task[None] | None = None
        self._heard = asyncio.Event()

    @property
    def open_streams(self) -> int:
        """How many streams wait for news."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def of(self, supplier_id: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever there may be news of a supplier, or of anybody (`ANYBODY`).

        Entered once Postgres is listened to, so that nothing committed from here on is missed.
        """
        changed = asyncio.Event()
        self._waiting[supplier_id].add(changed)
        try:
            if self._listener is None or self._listener.done():
                self._heard.clear()
                self._listener = asyncio.create_task(self._listen(), name="news")
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
                    for channel in self._channels:
                        await connection.execute(f"LISTEN {channel}".encode())
                    pause = 0.1
                    self._heard.set()
                    self._wake_all()  # whatever happened while nobody listened
                    async for notification in connection.notifies():
                        self._wake(notification.payload)
            except AWAY as error:
                self._heard.clear()
                logger.warning(
                    "open pages hear nothing new: %s; trying again in %.1f s", one_line(error), pause
                )
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE_S, pause * 2)

    def _wake(self, supplier_id: str) -> None:
        for whose in (supplier_id, ANYBODY):
            for changed in self._waiting.get(whose, ()):
                changed.set()

    def _wake_all(self) -> None:
        for supplier_id in self._waiting:
            self._wake(supplier_id)


def one_line(error: Exception) -> str:
    """What an error says, for a line of the log."""
    return " ".join(str(error).split()) or type(error).__name__
