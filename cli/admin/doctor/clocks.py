"""How far this machine's clock is from the database's, for `success doctor`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from runtime.settings import Settings

WORTH_SAYING_S = 2.0
LOOKS = 3
"""The quickest tells most: half of its round trip is the most by which it can be wrong."""


async def ahead_s(settings: Settings) -> float:
    """By how many seconds our clock is ahead of Postgres'; 0 where the way there explains it. psycopg's errors."""
    looks = []
    async with await psycopg.AsyncConnection.connect(
        settings.database_url, connect_timeout=10, autocommit=True
    ) as conn:
        for _ in range(LOOKS):
            sent = now_s()
            row = await (await conn.execute("SELECT clock_timestamp()")).fetchone()
            took = now_s() - sent
            theirs: datetime = row[0] if row else datetime.now(UTC)
            looks.append((took, sent + took / 2 - theirs.timestamp()))
    took, ahead = min(looks)
    return ahead if abs(ahead) > took / 2 else 0.0


def now_s() -> float:
    """The time here, in seconds."""
    return time.time()
