"""Pages that follow what happens: a stream says that something of a page has changed, and the page loads itself anew.

The stream carries no data, so nothing but the page decides what an agent sees. static/live.js is its other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from api.dashboard.rendering import PageRoute
from api.dashboard.rendering import page as rendered
from api.dashboard.session import SignedIn, still_signed_in
from api.limits import Limits
from api.news import ANYBODY, AWAY, News, one_line
from api.services import InServices, Services
from runtime.away import set_within
from store.people.coach import CHANNEL as COACH

logger = logging.getLogger(__name__)
router = APIRouter(route_class=PageRoute, include_in_schema=False)

CHANNEL = "success_dashboard"
HEARTBEAT_S = 15
"""Between two comments on a silent stream: proxies cut a line that says nothing."""
LIFETIME_S = 15 * 60
CHECK_S = 15.0
"""How soon a stream notices that its session is over."""
GATHER_S = 0.3
"""What happens together is told once."""
PAUSE_OF_ALL_S = 5.0
"""Between two news of a page on a busy day; a supplier's page shows one person's."""
PAUSE_OF_ONE_S = 1.0
RETRY_MS = 2000


@router.get("/dashboard/as-of")
async def as_of(request: Request, agent: SignedIn) -> Response:
    """The line that says as of when the page is, for one that was made before it was known."""
    del agent
    return rendered(request, "_as_of")


@router.get("/dashboard/live")
async def live(
    request: Request,
    agent: SignedIn,
    services: InServices,
    page: Annotated[Literal["today"] | UUID, Query()],
) -> Response:
    """`changed` whenever something of a page has: *Today*, or the page of a supplier; `over` with the session."""
    limits: Limits = request.app.state.limits
    limits.check_streams("page", agent.subject)
    news = _news(request, services)
    whose, pause_s = (ANYBODY, PAUSE_OF_ALL_S) if page == "today" else (str(page), PAUSE_OF_ONE_S)

    async def counted() -> AsyncIterator[ServerSentEvent]:
        with limits.stream("page", agent.subject):
            async for event in changes(news, whose, pause_s, lambda: still_signed_in(request)):
                yield event

    return EventSourceResponse(counted(), ping=HEARTBEAT_S, headers={"Cache-Control": "no-store"})


async def changes(
    news: News, whose: str, pause_s: float, is_good: Callable[[], Awaitable[bool]]
) -> AsyncIterator[ServerSentEvent]:
    """What an open page hears until the stream's life or its session is over, or Postgres goes away."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LIFETIME_S), news.of(whose) as changed:
            changed.clear()
            yield ServerSentEvent(event="here", data="", retry=RETRY_MS)
            while True:
                has_changed = await set_within(changed, CHECK_S)
                try:
                    good = await is_good()
                except AWAY as error:
                    logger.warning("a page's stream ends: %s", one_line(error))
                    return
                if not good:
                    yield ServerSentEvent(event="over", data="")
                    return
                if has_changed:
                    await asyncio.sleep(GATHER_S)
                    changed.clear()
                    yield ServerSentEvent(event="changed", data="")
                    await asyncio.sleep(pause_s)


def _news(request: Request, services: Services) -> News:
    """The process's one listener, made when the first page is open."""
    state = request.app.state
    if not hasattr(state, "page_news"):
        state.page_news = News(services.settings.database_url, COACH, CHANNEL)
    news: News = state.page_news
    return news
