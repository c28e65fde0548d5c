"""What agents do from a supplier's page: call, write, hold, note, opt out. Each act is checked, audited and then told.

Every form goes to its own address, does one thing in one transaction and leads back to the page, so that loading it
again repeats nothing; `request_id`, made with the page, makes a form that is sent twice do its work once.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Form, Path
from starlette.responses import RedirectResponse, Response

from agents.acts import calls as desk
from agents.acts.consent import change_consent
from agents.interventions.rows import events_of
from api.auth import Caller
from api.dashboard.rendering import PageRoute, address
from api.dashboard.session import CheckedCsrf, SignedIn
from api.dashboard.supplier import SupplierId, offered, requested_row
from api.problems import Problem
from api.services import InServices
from scoring.decisions.calls import Outcome, Reason, Urgency
from scoring.decisions.consent import Wish
from store import audit, outbox
from store.dashboard import supplier as store
from store.messages import interventions
from store.people import holds
from store.times import to_ms
from topics.time import format_time

router = APIRouter(
    prefix="/dashboard/suppliers/{supplierId}",
    route_class=PageRoute,
    include_in_schema=False,
    dependencies=[CheckedCsrf],
)

LONGEST_NOTE = 4000
REQUESTED = "dashboard.message.requested"
"""Type of the signal that a message asked for by an agent answers; it is on no topic."""
Note = Annotated[str, Form(max_length=LONGEST_NOTE)]
RequestId = Annotated[UUID, Form()]


@router.post("/hold")
async def hold(supplier_id: SupplierId, agent: SignedIn, services: InServices, note: Note = "") -> Response:
    """Keep all messages from them until somebody releases them."""
    async with services.transaction(agent) as conn:
        try:
            await holds.hold(conn, _actor(agent), str(supplier_id), services.clock.now_ms(), clean(note))
        except holds.UnknownSupplierError:
            raise _gone() from None
    return _back(supplier_id, "held")


@router.post("/release")
async def release(supplier_id: SupplierId, agent: SignedIn, services: InServices) -> Response:
    """Let messages to their go again."""
    async with services.transaction(agent) as conn:
        try:
            await holds.release(conn, _actor(agent), str(supplier_id), services.clock.now_ms())
        except holds.UnknownSupplierError:
            raise _gone() from None
    return _back(supplier_id, "released")


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
            raise _gone()
        now = services.clock.now_ms()
        await store.add_note(conn, _actor(agent), str(supplier_id), request_id, cleaned, now)
    return _back(supplier_id, "noted")


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
            raise _gone()
        await audit.log(conn, _actor(agent), "consent.change", str(supplier_id), now, all_opt_out=opt_out)
    services.wake_publisher()
    return _back(supplier_id, "opted_out" if opt_out else "opted_in")


@router.post("/message")
async def message(
    supplier_id: SupplierId,
    agent: SignedIn,
    services: InServices,
    request_id: RequestId,
    trigger: Annotated[str, Form(max_length=64)],
) -> Response:
    """Put a message into the queue of all messages: delivery decides it by the same caps, hours and consent."""
    rule = services.policy.trigger(trigger)
    if rule is None or not offered(rule):
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "the policy has no such message to ask for")
    now = services.clock.now_ms()
    # The API's own role may not write messages, so that no supplier's request can; an agent's does, here and only so.
    async with services.writer_pool.connection() as conn:
        if not await store.lock(conn, str(supplier_id)):
            raise _gone()
        found = await store.supplier(conn, str(supplier_id))
        if found is None or found["seq"] is None:
            raise Problem(HTTPStatus.CONFLICT, "nothing is known of them yet that a message could rest on")
        row = requested_row(rule, request_id, found["seq"], now)
        signal = {"type": REQUESTED, "by": agent.subject, "seq": row.seq, "level": found["level"]}
        columns = {
            "id": row.id,
            "supplier_id": str(supplier_id),
            "trigger": rule.name,
            "channel": rule.channel,
            "template": rule.template,
            "kind": rule.kind,
            "priority": rule.priority,
            "status": "scheduled",
            "reason": None,
            "due_at": format_time(now),
            "signal_id": str(request_id),
            "signal_at": format_time(now),
            "seq": row.seq,
            "metadata": {"signal": signal},
            "created_at": format_time(now),
        }
        if await interventions.add(conn, [columns]):
            await outbox.add(conn, list(events_of([columns], now)))
            await interventions.wake_delivery(conn)
            details = {"intervention_id": row.id, "trigger": rule.name}
            await audit.log(conn, _actor(agent), "message.requested", str(supplier_id), now, **details)
    services.wake_publisher()
    return _back(supplier_id, "asked")


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
            booked = await desk.book(conn, wanted, _actor(agent), services.clock.now_ms(), services.policy)
        except LookupError:
            raise _gone() from None
    services.wake_publisher()
    return _back(supplier_id, "requested" if booked.call.scheduled_at is None else "booked")


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
                conn, str(call_id), wanted, _actor(agent), services.clock.now_ms(), services.policy
            )
        except LookupError:
            raise Problem(HTTPStatus.NOT_FOUND, "there is no such call") from None
        except desk.CallRefusedError as error:
            status = HTTPStatus.CONFLICT if error.conflict else HTTPStatus.UNPROCESSABLE_ENTITY
            raise Problem(status, str(error)) from None
    services.wake_publisher()
    return _back(supplier_id, "call_changed")


def _back(supplier_id: UUID, said: str) -> RedirectResponse:
    target = address(f"/dashboard/suppliers/{supplier_id}", said=said)
    return RedirectResponse(target, HTTPStatus.SEE_OTHER)


def _actor(agent: Caller) -> audit.Actor:
    return audit.Actor(agent.role, agent.subject)


def clean(text: str) -> str:
    """Without the one character that Postgres can't keep, and without blank ends."""
    return text.replace("\x00", "").strip()


def _gone() -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "there is no such supplier; they may have been erased")
