"""The in-app coach: what to say on a page, news of it as they happen, and what they did with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated
from uuid import UUID, uuid5

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from psycopg import AsyncConnection, errors
from sse_starlette import EventSourceResponse, ServerSentEvent

from agents.acts import limits
from agents.acts.events import coach_event, tell
from api.auth import AnyCaller, Caller, OwnSupplier, allow, no_such_supplier
from api.coach.answer import coach_of, tip_ids
from api.coach.models import CallTimes, Coach, Feedback
from api.coach.stream import HEARTBEAT_S, events
from api.limits import Limits, too_often
from api.news import News
from api.pages import asked_language
from api.problems import Problem, documented
from api.services import InServices, Services
from scoring.advice.coaching import page_name
from scoring.decisions import calls as call_rules
from scoring.decisions.limits import COACH_FEEDBACK, TooOftenError
from scoring.health.rules import Rules
from store import outbox
from store.people import calls as stored_calls
from store.people import coach as store
from topics.time import format_time

router = APIRouter(
    prefix="/api/coach/{supplierId}",
    tags=["coach"],
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND),
)

Page = Annotated[
    str | None,
    Query(max_length=2000, description="Where in the product they are: its path, such as `/forms/new`."),
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
    request: Request,
    response: Response,
    page: Page = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Coach | Response:
    """Say all that the coach shows on a page."""
    coach = await _read(services, caller, supplier_id, page, request)
    if coach is None:
        raise no_such_supplier()
    headers = {"ETag": f'"{coach.cursor}"', "Cache-Control": "private, no-store"}
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
        return await _read(services, caller, supplier_id, page, request)

    if await read() is None:
        raise no_such_supplier()
    limits: Limits = request.app.state.limits
    limits.check_streams(caller.role, caller.subject)
    news = _news(request, services)

    async def counted() -> AsyncIterator[ServerSentEvent]:
        with limits.stream(caller.role, caller.subject):
            async for event in events(news, supplier_id, read, last_event_id, caller.until_s):
                yield event

    return EventSourceResponse(
        counted(),
        ping=HEARTBEAT_S,
        headers={"Cache-Control": "no-store"},
    )


@router.post(
    "/feedback",
    status_code=HTTPStatus.NO_CONTENT,
    responses=documented(HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.TOO_MANY_REQUESTS),
    dependencies=[Depends(allow("supplier"))],
)
async def note_feedback(
    said: Feedback, supplier_id: OwnSupplier, caller: AnyCaller, services: InServices
) -> None:
    """Note what they did with a tip, a message or a milestone; only they themselves can say so.

    The same again is no news: a tip shown counts once a day, a milestone is celebrated once.
    """
    now = services.clock.now_ms()
    try:
        async with services.transaction(caller) as conn:
            await limits.count(conn, supplier_id, COACH_FEEDBACK, now)
            await _note(conn, supplier_id, said, now, services.policy.rules)
    except TooOftenError as error:
        raise too_often(error, now) from None
    except (
        errors.ForeignKeyViolation
    ):  # nothing of them has come through yet, or they were erased this very moment
        raise no_such_supplier() from None
    services.wake_publisher()


@router.get("/call-times")
async def call_times(supplier_id: OwnSupplier, caller: AnyCaller, services: InServices) -> CallTimes:
    """Give three times at which an agent could call them, by day where they live if there are such."""
    now, hours = services.clock.now_ms(), services.policy.calls
    async with services.transaction(caller) as conn:
        try:
            zone = await stored_calls.time_zone(conn, supplier_id)
        except LookupError:
            raise no_such_supplier() from None
        taken = await stored_calls.taken(conn, now)
    found = call_rules.propose(now, taken, hours, zone, services.policy.hours)
    return CallTimes(times=[format_time(at) for at in found], timezone=zone, minutes=hours.minutes)


async def _read(
    services: Services, caller: Caller, supplier_id: str, page: str | None, request: Request
) -> Coach | None:
    now = services.clock.now_ms()
    async with services.transaction(caller) as conn:
        look = await store.look(conn, supplier_id, now)
    if look is None and not caller.is_staff:
        # Their token says that they exist; their first event is on its way, and its celebration finds them here.
        look = replace(store.NOBODY_YET, locale=asked_language(services.letters, request))
    return None if look is None else coach_of(look, page, now, services.policy.calls, services.letters)


async def _note(conn: AsyncConnection, supplier_id: str, said: Feedback, now: int, rules: Rules) -> None:
    subject, _, verb = said.kind.partition("_")
    what = _WHAT[verb]
    if subject == "message":
        told = await store.mark_message(conn, supplier_id, str(UUID(said.id)), now, clicked=what == "clicked")
        if told is None:
            raise Problem(HTTPStatus.NOT_FOUND, "there is no such message")
        await tell(conn, told)
        await store.remember(conn, supplier_id, f"message:{UUID(said.id)}", what, now)
        return
    if subject == "tip" and said.id not in tip_ids(rules):
        raise Problem(HTTPStatus.NOT_FOUND, "there is no such tip")
    if subject == "milestone" and said.id not in rules.milestones:
        raise Problem(HTTPStatus.NOT_FOUND, "there is no such milestone")
    if what == "celebrated" and not await store.celebrate(conn, supplier_id, said.id, now):
        raise Problem(HTTPStatus.NOT_FOUND, "they have not reached this milestone")
    if await store.remember(conn, supplier_id, f"{subject}:{said.id}", what, now):
        event_id = str(uuid5(UUID(supplier_id), f"coach:{said.kind}:{said.id}:{now}"))
        event = coach_event(event_id, supplier_id, said.kind, said.id, page_name(said.page), now)
        await outbox.add(conn, [event])


def _news(request: Request, services: Services) -> News:
    """The process's one listener, made when the first coach opens."""
    state = request.app.state
    if not hasattr(state, "coach_news"):
        state.coach_news = News(services.settings.database_url, store.CHANNEL)
    news: News = state.coach_news
    return news
