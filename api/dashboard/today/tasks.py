"""What agents do with calls to make: say how one went, put it off, take a supplier over, add one.

Every form does one thing in one transaction, is audited, and leads back to where it was sent from (`next`). Sent twice
it does its work once.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID, uuid5

from fastapi import APIRouter, Form, Path
from starlette.responses import RedirectResponse, Response

from agents.acts import calls as desk
from api.dashboard.forms import Note, SupplierId, clean, gone
from api.dashboard.rendering import PageRoute, address
from api.dashboard.session import CheckedCsrf, SignedIn, safe_next
from api.dashboard.today.reachable import put_off_until
from api.problems import Problem
from api.services import InServices, Services
from scoring.decisions.calls import Status
from store import audit
from store.dashboard import supplier as suppliers
from store.dashboard import tasks as store
from store.people import calls
from store.times import to_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from store.people.calls import Call

router = APIRouter(
    prefix="/dashboard", route_class=PageRoute, include_in_schema=False, dependencies=[CheckedCsrf]
)

FOLLOW_UP_DAYS = 7
TaskId = Annotated[UUID, Path(alias="taskId")]
Next = Annotated[str, Form(alias="next", max_length=2000)]
Days = Literal["1", "3", "7", "14"]
_ENDINGS: dict[str, Status] = {
    "resolved": "completed",
    "follow_up_needed": "completed",
    "escalated": "completed",
    "not_needed": "cancelled",
}


@router.post("/tasks/{taskId}/done")
async def done(
    task_id: TaskId,
    agent: SignedIn,
    services: InServices,
    outcome: Annotated[
        Literal["resolved", "follow_up_needed", "escalated", "no_answer", "not_needed"], Form()
    ],
    notes: Note = "",
    back: Next = "",
) -> Response:
    """Say how a call went: no answer is tried again on the next working day, a follow-up is a task in a week."""
    now = to_time(services.clock.now_ms())
    actor = agent.actor
    async with services.transaction(agent) as conn:
        call = await _task(conn, str(task_id))
        if outcome == "no_answer":
            until = put_off_until(now, 1, services.policy.calls)
            await store.put_off(conn, actor, call.supplier_id, call.id, now, until, unanswered=True)
            return _back(back, "not_answered")
        await _end(conn, services, actor, call, outcome, clean(notes))
    services.wake_publisher()
    return _back(back, "follow_up" if outcome == "follow_up_needed" else "task_done")


@router.post("/tasks/{taskId}/snooze")
async def snooze(
    task_id: TaskId, agent: SignedIn, services: InServices, days: Annotated[Days, Form()], back: Next = ""
) -> Response:
    """Put a task off to a working day of agents."""
    now = to_time(services.clock.now_ms())
    async with services.transaction(agent) as conn:
        call = await _task(conn, str(task_id))
        until = put_off_until(now, int(days), services.policy.calls)
        await store.put_off(conn, agent.actor, call.supplier_id, call.id, now, until)
    return _back(back, "put_off")


@router.post("/suppliers/{supplierId}/take")
async def take(supplier_id: SupplierId, agent: SignedIn, services: InServices, back: Next = "") -> Response:
    """Put a supplier, and whatever is to be done for them, into the agent's own book."""
    async with services.transaction(agent) as conn:
        await _lock(conn, supplier_id)
        await store.take(conn, agent.actor, str(supplier_id), services.clock.now_ms())
    return _back(back, "taken")


@router.post("/suppliers/{supplierId}/give-back")
async def give_back(
    supplier_id: SupplierId, agent: SignedIn, services: InServices, back: Next = ""
) -> Response:
    """Leave a supplier to the team again."""
    async with services.transaction(agent) as conn:
        await _lock(conn, supplier_id)
        await store.give_back(conn, agent.actor, str(supplier_id), services.clock.now_ms())
    return _back(back, "given_back")


@router.post("/suppliers/{supplierId}/task")
async def add(
    supplier_id: SupplierId,
    agent: SignedIn,
    services: InServices,
    request_id: Annotated[UUID, Form()],
    notes: Note = "",
    days: Annotated[Literal["", "0"] | Days, Form()] = "",
    own: Annotated[Literal["", "yes"], Form()] = "",
    back: Next = "",
) -> Response:
    """Add a call to make, today or in some days; `own`: the supplier is taken over with it."""
    now_ms = services.clock.now_ms()
    now = to_time(now_ms)
    actor = agent.actor
    until = put_off_until(now, int(days), services.policy.calls) if days not in {"", "0"} else None
    async with services.transaction(agent) as conn:
        await _lock(conn, supplier_id)
        text = clean(notes)
        await store.add(conn, actor, str(supplier_id), str(request_id), now, text, until)
        if own:
            await store.take(conn, actor, str(supplier_id), now_ms)
    return _back(back, "taken" if own else "task_added")


async def _end(
    conn: AsyncConnection, services: Services, actor: audit.Actor, call: Call, outcome: str, notes: str
) -> None:
    """Complete a task, or cancel it as not needed; what is done already, or has a time by now, stays as it is."""
    await suppliers.lock(conn, call.supplier_id)  # before the call, as delivery takes them
    locked = await calls.find(conn, call.id, lock=True)
    if locked is None or locked.status != "scheduled" or locked.scheduled_at is not None:
        return
    now_ms = services.clock.now_ms()
    wanted = desk.ChangeRequest(
        status=_ENDINGS[outcome],
        outcome=None if outcome == "not_needed" else outcome,  # type: ignore[arg-type]
        notes=f"{call.notes}\n\n{notes}" if call.notes and notes else notes or None,
    )
    await desk.change(conn, call.id, wanted, actor, now_ms, services.policy)
    await store.note_done(conn, actor, call.id)
    if outcome == "follow_up_needed":
        now = to_time(now_ms)
        until = put_off_until(now, FOLLOW_UP_DAYS, services.policy.calls)
        again = str(uuid5(UUID(call.id), "follow-up"))
        await store.add(conn, actor, call.supplier_id, again, now, notes, until)


async def _task(conn: AsyncConnection, task_id: str) -> Call:
    call = await calls.find(conn, task_id)
    if call is None:
        raise Problem(HTTPStatus.NOT_FOUND, "there is no such task; the supplier may have been erased")
    return call


async def _lock(conn: AsyncConnection, supplier_id: UUID) -> None:
    if not await suppliers.lock(conn, str(supplier_id)):
        raise gone()


def _back(to: str, said: str) -> RedirectResponse:
    """Back to the page that the form was on, which says what was done."""
    parts = urlsplit(safe_next(to))
    query = dict(parse_qsl(parts.query)) | {"said": said}
    return RedirectResponse(address(parts.path, **query), HTTPStatus.SEE_OTHER)
