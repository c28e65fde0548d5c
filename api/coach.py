"""The in-app coach: what to say on a page, news of it as they happen, and what she did with it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID, uuid5

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from psycopg import AsyncConnection, errors
from sse_starlette import EventSourceResponse

from agents.coach_events import coach_event
from agents.feedback import tell
from api.auth import AnyCaller, Caller, OwnSupplier, allow, no_such_supplier
from api.coach_answer import coach_of, tip_ids
from api.coach_models import CallTimes, Coach, Feedback
from api.coach_stream import HEARTBEAT_S, CoachNews, events
from api.problems import Problem, documented
from api.services import InServices, Services
from scoring import calls as call_rules
from scoring.coaching import page_name
from scoring.milestones import all_words
from store import calls as stored_calls
from store import coach as store
from store import outbox
from topics.time import format_time

router = APIRouter(
    prefix="/api/coach/{supplierId}",
    tags=["coach"],
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND),
)

Page = Annotated[
    str | None,
    Query(max_length=2000, description="Where in the product she is: its path, such as `/forms/new`."),
]
_WHAT: dict[str, store.What] = {
    "shown": "shown",
    "opened": "shown",
    "clicked": "clicked",
    "dismissed": "dismissed",
    "celebrated": "celebrated",
    "shared": "shared",
}


@router.get(
    "",
    response_model=Coach,
    responses={HTTPStatus.NOT_MODIFIED: {"description": "`If-None-Match` names this state."}},
)
async def read_coach(
    supplier_id: OwnSupplier,
    caller: AnyCaller,
    services: InServices,
    response: Response,
    page: Page = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Coach | Response:
    """Say all that the coach shows on a page."""
    coach = await _read(services, caller, supplier_id, page)
    if coach is None:
        raise no_such_supplier()
    headers = {"ETag": f'"{coach.cursor}"', "Cache-Control": "private, no-cache"}
    if if_none_match == headers["ETag"]:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    response.headers.update(headers)
    return coach


@router.get(
    "/events",
    response_class=EventSourceResponse,
    responses={
        HTTPStatus.OK: {
            "description": "`milestone` events (a Celebration) and `coach` events (the whole answer); "
            "their ids are cursors.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def stream_coach(
    supplier_id: OwnSupplier,
    caller: AnyCaller,
    services: InServices,
    request: Request,
    page: Page = None,
    last_event_id: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Send what is new as server-sent events; `Last-Event-ID` (a cursor) says what the page has already."""

    async def read() -> Coach | None:
        return await _read(services, caller, supplier_id, page)

    if await read() is None:
        raise no_such_supplier()
    news = _news(request, services)
    return EventSourceResponse(
        events(news, supplier_id, read, last_event_id),
        ping=HEARTBEAT_S,
        headers={"Cache-Control": "no-store"},
    )


@router.post(
    "/feedback",
    status_code=HTTPStatus.NO_CONTENT,
    responses=documented(HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY),
    dependencies=[Depends(allow("supplier"))],
)
async def note_feedback(
    said: Feedback, supplier_id: OwnSupplier, caller: AnyCaller, services: InServices
) -> None:
    """Note what she did with a tip, a message or a milestone; only she herself can say so.

    The same again is no news: a tip shown counts once a day, a milestone is celebrated once.
    """
    now = services.clock.now_ms()
    try:
        async with services.transaction(caller) as conn:
            await _note(conn, supplier_id, said, now)
    except (
        errors.ForeignKeyViolation
    ):  # nothing of her has come through yet, or she was erased this very moment
        raise no_such_supplier() from None
    services.wake_publisher()


@router.get("/call-times")
async def call_times(supplier_id: OwnSupplier, caller: AnyCaller, services: InServices) -> CallTimes:
    """Give three times at which an agent could call her, by day where she lives if there are such."""
    now, hours = services.clock.now_ms(), services.policy.calls
    async with services.transaction(caller) as conn:
        try:
            zone = await stored_calls.time_zone(conn, supplier_id)
        except LookupError:
            raise no_such_supplier() from None
        taken = await stored_calls.taken(conn, now)
    found = call_rules.propose(now, taken, hours, zone, services.policy.hours)
    return CallTimes(times=[format_time(at) for at in found], timezone=zone, minutes=hours.minutes)


async def _read(services: Services, caller: Caller, supplier_id: str, page: str | None) -> Coach | None:
    now = services.clock.now_ms()
    async with services.transaction(caller) as conn:
        look = await store.look(conn, supplier_id, now)
    if look is None and not caller.is_staff:
        # Her token says that she exists; her first event is on its way, and its celebration finds her here.
        look = store.NOBODY_YET
    return None if look is None else coach_of(look, page, now, services.policy.calls)


async def _note(conn: AsyncConnection, supplier_id: str, said: Feedback, now: int) -> None:
    subject, _, verb = said.kind.partition("_")
    what = _WHAT[verb]
    if subject == "message":
        told = await store.mark_message(conn, supplier_id, str(UUID(said.id)), now, clicked=what == "clicked")
        if told is None:
            raise Problem(HTTPStatus.NOT_FOUND, "there is no such message")
        await tell(conn, told)
        await store.remember(conn, supplier_id, f"message:{UUID(said.id)}", what, now)
        return
    if subject == "tip" and said.id not in tip_ids():
        raise Problem(HTTPStatus.NOT_FOUND, "there is no such tip")
    if subject == "milestone" and said.id not in all_words():
        raise Problem(HTTPStatus.NOT_FOUND, "there is no such milestone")
    if what == "celebrated" and not await store.celebrate(conn, supplier_id, said.id, now):
        raise Problem(HTTPStatus.NOT_FOUND, "she has not reached this milestone")
    if await store.remember(conn, supplier_id, f"{subject}:{said.id}", what, now):
        event_id = str(uuid5(UUID(supplier_id), f"coach:{said.kind}:{said.id}:{now}"))
        event = coach_event(event_id, supplier_id, said.kind, said.id, page_name(said.page), now)
        await outbox.add(conn, [event])


def _news(request: Request, services: Services) -> CoachNews:
    """The process's one listener, made when the first coach opens."""
    state = request.app.state
    if not hasattr(state, "coach_news"):
        state.coach_news = CoachNews(services.settings.database_url)
    news: CoachNews = state.coach_news
    return news
