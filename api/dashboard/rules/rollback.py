"""Putting an earlier version into force again: first what that would change, then, with a note, the act."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from agents.acts import versions as acts
from api.dashboard.forms import LONGEST_NOTE, clean
from api.dashboard.rendering import PageRoute, address, page
from api.dashboard.rules.page import Number, called, check_editor, documents_in_force, look, stored_version
from api.dashboard.rules.putting import NOTE_NEEDED, NotPutError, act_of, put
from api.dashboard.rules.told import told
from api.dashboard.session import CheckedCsrf, SignedIn
from api.services import InServices, Services
from runtime.versions import documents

if TYPE_CHECKING:
    from api.auth import Caller

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/dashboard/rules/versions/{number}/again")
async def confirm(request: Request, agent: SignedIn, services: InServices, number: Number) -> Response:
    """What would be otherwise than now, and a form that does it."""
    check_editor(services, agent)
    return await _confirmation(request, agent, services, number)


@router.post("/dashboard/rules/versions/{number}/again", dependencies=[CheckedCsrf])
async def again(
    request: Request,
    agent: SignedIn,
    services: InServices,
    number: Number,
    seen: Annotated[int, Form(ge=0, le=2**31 - 1)],
    note: Annotated[str, Form(max_length=LONGEST_NOTE)] = "",
) -> Response:
    """Put it into force again, as a new version."""
    check_editor(services, agent)
    said = clean(note)
    if not said:
        return await _confirmation(request, agent, services, number, problem=NOTE_NEEDED)
    act = act_of(services, agent, said, seen)
    work = acts.rollback(services.settings, services.writer_pool, number, services.given, act)
    try:
        await put(services, agent, seen, work)
    except NotPutError as error:
        return await _confirmation(request, agent, services, number, problem=str(error), note=said)
    return RedirectResponse(address("/dashboard/rules", said="rolled_back"), HTTPStatus.SEE_OTHER)


async def _confirmation(
    request: Request,
    agent: Caller,
    services: Services,
    number: int,
    *,
    problem: str | None = None,
    note: str = "",
) -> Response:
    history = await look(services, agent)
    current = history.everywhere
    async with services.transaction(agent) as conn:
        stored = await stored_version(conn, number)
        now = await documents_in_force(conn, services, current.number if current else None)
    return page(
        request,
        "rules_again",
        HTTPStatus.CONFLICT if problem else HTTPStatus.OK,
        history=history,
        entry=next(one for one in history.entries if one.number == number),
        current=called(services, current.number if current else None),
        told=told(now, documents(stored.version, stored.words)),
        problem=problem,
        note=note,
    )
