"""Which process a claim belongs to, and whether that process lives: a lock that goes with its connection."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING

import psycopg
from psycopg import AsyncConnection

from store.database import connect
from store.messages import delivery as store

if TYPE_CHECKING:
    from runtime.settings import Settings

logger = logging.getLogger(__name__)


class OwnerLock:
    """An advisory lock of Postgres under `number`, 0 before the first `prove_alive`; claims carry that number."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: AsyncConnection | None = None
        self.number = 0

    async def prove_alive(self) -> None:
        """Hold the lock; if its connection broke, take a new one under a new number."""
        if self._connection is not None:
            try:
                await self._connection.execute("SELECT 1")
            except psycopg.Error:
                logger.warning("the connection that proves this process alive broke; taking a new one")
                await self.release()
            else:
                return
        connection = await connect(self._settings.database_url, autocommit=True)
        number = secrets.randbelow(2**31 - 1) + 1
        while not await store.hold_owner_lock(connection, number):
            number = secrets.randbelow(2**31 - 1) + 1
        self.number, self._connection = number, connection

    async def release(self) -> None:
        """Let go of the lock: what is still claimed under it counts as abandoned."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
