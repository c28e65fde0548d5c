"""What agents do from a supplier's page: call, hold, note, opt out. Each act is checked, audited and then told.

Every form goes to its own address, does one thing in one transaction and leads back to the page, so that loading it
again repeats nothing; `request_id`, made with the page, makes a form that is sent twice do its work once.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Form, Path
from starlette.responses import Response

from agents.acts import calls as desk
from agents.acts.consent import change_consent
from api.dashboard.forms import LONGEST_NOTE, Day, Note, SupplierId, back, clean, end_of_hold, gone
from api.dashboard.rendering import PageRoute
from api.dashboard.session import CheckedCsrf, SignedIn
from api.problems import Problem
from api.services import InServices
from scoring.decisions.calls import Outcome, Reason, Urgency
from scoring.decisions.consent import Wish
from store import audit
from store.dashboard import supplier as store
from store.people import holds
from store.times import to_ms

router = APIRouter(
    prefix="/dashboard/suppliers/{supplierId}",
    route_class=PageRoute,
    include_in_schema=False,
    dependencies=[CheckedCsrf],
)

RequestId = Annotated[UUID, Form()]


@router.post("/hold")
async def hold(
    supplier_id: SupplierId,
    agent: SignedIn,
    services: InServices,
    note: Note = "",
    until: Day = None,
    day: Day = None,
) -> Response:
    """Keep all messages from them up to a day, `day` before `until`, or until somebody releases them."""
    end = end_of_hold(until, day)
    async with services.transaction(agent) as conn:
        now_ms = services.clock.now_ms()
        try:
            await holds.hold(conn, agent.actor, str(supplier_id), now_ms, clean(note), end)
        except holds.UnknownSupplierError:
            raise gone() from None
        except holds.RefusedHoldError as error:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    return back(supplier_id, "held")


@router.post("/release")
async def release(supplier_id: SupplierId, agent: SignedIn, services: InServices) -> Response:
    """Let messages to their go again."""
    async with services.transaction(agent) as conn:
        try:
            await holds.release(conn, agent.actor, str(supplier_id), services.clock.now_ms())
        except holds.UnknownSupplierError:
            raise gone() from None
    return back(supplier_id, "released")


@router.post("/note")
async def note(
    supplier_id: SupplierId,
    agent: SignedIn,
    services: InServices,
    request_id: RequestId,
    text: Annotated[str, Form(max_length=LONGEST_NOTE)],
) -> Response:
    """Keep a note about them."""
    cleaned = clean(text)
    if not cleaned:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "an empty note is not kept: write something")
    async with services.transaction(agent) as conn:
        if not await store.lock(conn, str(supplier_id)):
            raise gone()
        now = services.clock.now_ms()
        await store.add_note(conn, agent.actor, str(supplier_id), request_id, cleaned, now)
    return back(supplier_id, "noted")


@router.post("/consent")
async def consent(
    supplier_id: SupplierId,
    agent: SignedIn,
    services: InServices,
    wish: Annotated[Literal["out", "in"], Form()],
) -> Response:
    """Opt them out of everything, or in again, because they said so."""
    now = services.clock.now_ms()
    opt_out = wish == "out"
    async with services.transaction(agent) as conn:
        keys = services.settings.keys("secret_key")
        changed = await change_consent(conn, str(supplier_id), Wish(all_opt_out=opt_out), now, keys)
        if changed is None:
            raise gone()
        await audit.log(conn, agent.actor, "consent.change", str(supplier_id), now, all_opt_out=opt_out)
    services.wake_publisher()
    return back(supplier_id, "opted_out" if opt_out else "opted_in")


@router.post("/call")
async def call(
    supplier_id: SupplierId,
    agent: SignedIn,
    services: InServices,
    request_id: RequestId,
    at: Annotated[datetime, Form()],
    reason: Annotated[Reason, Form()] = "growth_consultation",
    urgency: Annotated[Urgency, Form()] = "medium",
    notes: Note = "",
) -> Response:
    """Book a call; they get the invitation."""
    if at.tzinfo is None:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "choose one of the times")
    wanted = desk.CallRequest(
        call_id=str(request_id),
        supplier_id=str(supplier_id),
        preferred_times=(to_ms(at),),
        reason=reason,
        urgency=urgency,
        notes=clean(notes) or None,
    )
    async with services.transaction(agent) as conn:
        try:
            booked = await desk.book(conn, wanted, agent.actor, services.clock.now_ms(), services.policy)
        except LookupError:
            raise gone() from None
    services.wake_publisher()
    return back(supplier_id, "requested" if booked.call.scheduled_at is None else "booked")


@router.post("/calls/{callId}")
async def change_call(
    supplier_id: SupplierId,
    call_id: Annotated[UUID, Path(alias="callId")],
    agent: SignedIn,
    services: InServices,
    act: Annotated[Literal["completed", "cancelled", "no_show", "moved"], Form()],
    outcome: Annotated[Outcome | Literal[""], Form()] = "",
    at: Annotated[datetime | None, Form()] = None,
    notes: Note = "",
) -> Response:
    """Say how a call went, cancel it, or give it a time."""
    wanted = desk.ChangeRequest(
        scheduled_at=to_ms(at) if act == "moved" and at is not None and at.tzinfo else None,
        status=None if act == "moved" else act,
        outcome=outcome or None if act == "completed" else None,
        notes=clean(notes) or None,
    )
    async with services.transaction(agent) as conn:
        try:
            await desk.change(
                conn, str(call_id), wanted, agent.actor, services.clock.now_ms(), services.policy
            )
        except LookupError:
            raise Problem(HTTPStatus.NOT_FOUND, "there is no such call") from None
        except desk.CallRefusedError as error:
            status = HTTPStatus.CONFLICT if error.conflict else HTTPStatus.UNPROCESSABLE_ENTITY
            raise Problem(status, str(error)) from None
    services.wake_publisher()
    return back(supplier_id, "call_changed")
