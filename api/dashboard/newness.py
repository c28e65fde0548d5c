"""Newcomers count by their level once their first 14 days are over: seen to before a page counts anybody."""

from __future__ import annotations

from fastapi import Depends

from api.dashboard.session import SignedIn
from api.services import InServices
from store.dashboard import population as store
from store.times import to_time


async def _end_newness(_agent: SignedIn, services: InServices) -> None:
    async with services.writer_pool.connection() as conn:
        await store.end_newness(conn, to_time(services.clock.now_ms()))


up_to_date = Depends(_end_newness)
"""For routers whose pages count suppliers: after the sign-in, so that nobody else sets anything in motion."""
