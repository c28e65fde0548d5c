"""`/e/book/...` and `/e/call/...`: a call booked, moved and cancelled by whoever holds the link, on a page of its own.

GET shows, POST acts: mail gateways follow every link. What fits and what may change is decided as for the API.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from agents.acts import calls as desk
from agents.letters import invitation
from agents.letters.links import Action, Linked, sign
from api.pages import HEADERS
from api.routes.linked import HTML, NO_SUCH_LINK, LinkRoute, count, form_of, gone, held, show, themselves
from api.services import InServices, Services
from scoring.decisions import calls as rules
from scoring.decisions.calls import INTERACTION_TYPES
from scoring.decisions.limits import OPEN_CALLS, TooOftenError
from scoring.time import DAY
from store.audit import Actor
from store.people import calls as store
from topics.time import format_time, parse_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from scoring.decisions.calls import Reason
    from store.people.calls import Call
    from store.people.reader import Reader

router = APIRouter(prefix="/e", tags=["links in emails"], responses=NO_SUCH_LINK, route_class=LinkRoute)

CHOICES = 9
"""Times to choose from, and more if they ask."""
MORE_CHOICES = 45
LONGEST_NOTES = 300
NOTHING_SAID: Mapping[str, str] = MappingProxyType({})
_REASONS = {interaction: reason for reason, interaction in INTERACTION_TYPES.items()}
_FORM: dict[str, Any] = {
    "requestBody": {
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "time": {"type": "string", "format": "date-time"},
                        "notes": {"type": "string"},
                        "choice": {"enum": ["cancel"]},
                    },
                }
            }
        }
    }
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    HTTPStatus.SEE_OTHER: {"description": "Done: leads to the page of the call."},
    HTTPStatus.BAD_REQUEST: {"description": "The form is not understood."} | HTML,
    HTTPStatus.CONFLICT: {"description": "That can't be done as things stand; the page says why."} | HTML,
    HTTPStatus.TOO_MANY_REQUESTS: {"description": "Too many changes in a day."} | HTML,
}


@router.get("/book/{token}", response_class=HTMLResponse)
@router.head("/book/{token}", include_in_schema=False)
async def show_times(token: str, request: Request, services: InServices, more: bool = False) -> Response:
    """Show times to choose from for a call; book nothing."""
    link = await held(services, "book", token)
    if link is None:
        return gone(services, request)
    linked, reader = link
    await count(services, request, linked, "view", "book")
    return await _choices(services, linked, reader, more=more)


@router.post("/book/{token}", response_class=HTMLResponse, openapi_extra=_FORM, responses=_ANSWERS)
async def book(token: str, request: Request, services: InServices) -> Response:
    """Book the call at the form's `time`; the same time twice is one call."""
    link = await held(services, "book", token)
    if link is None:
        return gone(services, request)
    linked, reader = link
    form = await form_of(request)
    start = _time(form)
    if start is None:
        return show(services, "not_understood", reader, HTTPStatus.BAD_REQUEST)
    now = services.clock.now_ms()
    try:
        async with services.transaction(themselves(linked)) as conn:
            wish = await _wish(conn, linked, start, form)
            known = await store.find(conn, wish.call_id)
            if known is None and await _verdict(conn, services, start) != "free":
                return await _choices(services, linked, reader, HTTPStatus.CONFLICT, form, problem="taken")
            booked = await desk.book(conn, wish, _actor(linked), now, services.policy)
    except desk.CallRefusedError:
        return await _choices(services, linked, reader, HTTPStatus.CONFLICT, form, problem="full")
    except TooOftenError:
        return show(services, "too_often", reader, HTTPStatus.TOO_MANY_REQUESTS)
    services.wake_publisher()
    return _to_call(services, linked.supplier_id, booked.call.id)


@router.get("/call/{token}", response_class=HTMLResponse)
@router.head("/call/{token}", include_in_schema=False)
async def show_call(token: str, request: Request, services: InServices, move: bool = False) -> Response:
    """Show a call, and with `move` the times to which it can go; change nothing."""
    link = await held(services, "call", token)
    if link is None:
        return gone(services, request)
    linked, reader = link
    return await _call_page(services, request, linked, reader, move=move)


@router.post("/call/{token}", response_class=HTMLResponse, openapi_extra=_FORM, responses=_ANSWERS)
async def change_call(token: str, request: Request, services: InServices) -> Response:
    """Move the call to the form's `time`, or cancel it (`choice` is `cancel`)."""
    link = await held(services, "call", token)
    if link is None:
        return gone(services, request)
    linked, reader = link
    form = await form_of(request)
    is_cancelled, start = form.get("choice") == "cancel", _time(form)
    if not is_cancelled and start is None:
        return show(services, "not_understood", reader, HTTPStatus.BAD_REQUEST)
    wanted = (
        desk.ChangeRequest(status="cancelled") if is_cancelled else desk.ChangeRequest(scheduled_at=start)
    )
    try:
        async with services.transaction(themselves(linked)) as conn:
            await desk.change(
                conn, _call_id(linked), wanted, _actor(linked), services.clock.now_ms(), services.policy
            )
    except LookupError:
        return gone(services, request)
    except desk.CallRefusedError:
        status = HTTPStatus.CONFLICT
        return await _call_page(services, request, linked, reader, status, move=True, problem="taken")
    except TooOftenError:
        return show(services, "too_often", reader, HTTPStatus.TOO_MANY_REQUESTS)
    services.wake_publisher()
    return _to_call(services, linked.supplier_id, _call_id(linked))


# what they show --------------------------------------------------------------------------------------


async def _choices(
    services: Services,
    linked: Linked,
    reader: Reader,
    status: HTTPStatus = HTTPStatus.OK,
    form: Mapping[str, str] = NOTHING_SAID,
    *,
    more: bool = False,
    problem: str = "",
) -> Response:
    now = services.clock.now_ms()
    async with services.transaction(themselves(linked)) as conn:
        ahead = await store.ahead(conn, linked.supplier_id, now)
        times = await _free(conn, services, reader, more=more)
    known = [_appointment(services, reader, call) for call in ahead]
    variables = _said_of_times(services, reader, times, more) | {
        "calls": known,
        "problem": "full" if len(ahead) >= OPEN_CALLS else problem,
        "minutes": services.policy.calls.minutes,
        "notes": _notes(form),
    }
    return show(services, "book", reader, status, **variables)


async def _call_page(
    services: Services,
    request: Request,
    linked: Linked,
    reader: Reader,
    status: HTTPStatus = HTTPStatus.OK,
    *,
    move: bool = False,
    problem: str = "",
) -> Response:
    now = services.clock.now_ms()
    async with services.transaction(themselves(linked)) as conn:
        call = await store.find(conn, _call_id(linked))
        if call is None or call.interaction_type not in _REASONS:
            return gone(services, request)
        is_open = call.status == "scheduled" and (call.ends_at is None or call.ends_at > now)
        is_choosing = is_open and (move or call.scheduled_at is None)
        times = await _free(conn, services, reader, more=move) if is_choosing else []
    variables = _said_of_times(services, reader, times, more=True) | {
        "call": _appointment(services, reader, call),
        "state": ("open" if call.scheduled_at else "waiting") if is_open else _ended(call),
        "is_moving": is_choosing,
        "problem": problem,
        "minutes": services.policy.calls.minutes,
        "book_url": _address(services, "book", linked.supplier_id, call.id),
    }
    return show(services, "call", reader, status, **variables)


def _said_of_times(services: Services, reader: Reader, times: list[int], more: bool) -> dict[str, Any]:
    """Times by day, as the page's language writes them in the reader's zone."""
    voice = services.letters.voice("pages/book.html", reader.locale)
    days: dict[str, list[tuple[str, str]]] = {}
    for start in times:
        written = voice.time(start, reader.timezone), format_time(start)
        days.setdefault(voice.day(start, reader.timezone), []).append(written)
    words = services.letters.data(invitation.WORDS, voice.tag)
    zone = invitation.zone_in_words(reader.timezone, voice, words)
    return {"days": days, "zone": zone, "more": more}


def _appointment(services: Services, reader: Reader, call: Call) -> dict[str, Any]:
    voice = services.letters.voice("pages/call.html", reader.locale)
    words = services.letters.data(invitation.WORDS, voice.tag)
    said: dict[str, Any] = {
        "name": invitation.call_name(call.interaction_type, words),
        "url": _address(services, "call", call.supplier_id, call.id),
        "when": None,
    }
    if call.scheduled_at is not None and call.ends_at is not None:
        said["when"] = invitation.appointment(call.scheduled_at, call.ends_at, reader.timezone, voice, words)
    return said


def _ended(call: Call) -> str:
    return "cancelled" if call.status == "cancelled" else "over"


# what they do ----------------------------------------------------------------------------------------


async def _wish(conn: AsyncConnection, linked: Linked, start: int, form: dict[str, str]) -> desk.CallRequest:
    """The call that a link's page books: of the kind of the call before, where the link came with one."""
    before = await store.find(conn, linked.intervention_id)
    reason: Reason = _REASONS.get(before.interaction_type, "onboarding") if before else "onboarding"
    return desk.CallRequest(
        call_id=str(uuid5(UUID(linked.supplier_id), f"page:{linked.intervention_id}:{start}")),
        supplier_id=linked.supplier_id,
        preferred_times=(start,),
        reason=reason,
        urgency="medium",
        notes=_notes(form) or None,
    )


async def _verdict(conn: AsyncConnection, services: Services, start: int) -> rules.Verdict:
    """Whether a time can be had; nobody else gets it in this transaction."""
    await store.lock_bookings(conn)
    now = services.clock.now_ms()
    return rules.judge(start, now, await store.taken(conn, now), services.policy.calls)


async def _free(conn: AsyncConnection, services: Services, reader: Reader, *, more: bool) -> list[int]:
    now, policy = services.clock.now_ms(), services.policy
    taken = await store.taken(conn, now)
    wanted = MORE_CHOICES if more else CHOICES
    found = rules.propose(now, taken, policy.calls, reader.timezone, policy.hours, wanted)
    return [start for start in found if start - now < 28 * DAY]


def _to_call(services: Services, supplier_id: str, call_id: str) -> Response:
    address = _address(services, "call", supplier_id, call_id)
    return RedirectResponse(address, HTTPStatus.SEE_OTHER, headers=HEADERS)


def _address(services: Services, action: Action, supplier_id: str, of: str) -> str:
    """A page of ours, beside the one that the reader is on: whatever host and path lead to them."""
    return f"../{action}/{sign(action, supplier_id, of, services.settings.secret('secret_key'))}"


def _actor(linked: Linked) -> Actor:
    return Actor("supplier", linked.supplier_id)


def _call_id(linked: Linked) -> str:
    return linked.intervention_id


def _notes(form: Mapping[str, str]) -> str:
    return form.get("notes", "").strip()[:LONGEST_NOTES]


def _time(form: dict[str, str]) -> int | None:
    try:
        return parse_time(form.get("time", ""))
    except ValueError:
        return None
