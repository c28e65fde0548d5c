"""What an open coach hears: its stream is woken by news of its supplier (api/news.py).

A stream sends states, not increments: whatever was missed while the line was down is in the next one. Its cursor
(`Last-Event-ID`) names the state that the page has, so that a page which is up to date hears nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from sse_starlette import ServerSentEvent

from api.coach.answer import cursor_of, told_by
from api.coach.models import Coach
from api.news import AWAY, News, one_line

logger = logging.getLogger(__name__)

HEARTBEAT_S = 15
"""Between two comments on a silent stream, so that a broken line is noticed by both ends."""
LIFETIME_S = 15 * 60
"""A stream ends after this; the page comes back with a new token."""
RETRY_MS = 1000


async def events(
    news: News,
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
                except AWAY as error:
                    logger.warning("a coach's stream ends: %s", one_line(error))
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
