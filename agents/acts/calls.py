"""Booking and changing calls: one transaction each, with its events, its email and its line in the audit log.

What fits and what may change is decided in scoring/decisions/calls.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from agents.acts import limits, notes
from scoring.decisions import calls as rules
from scoring.decisions.limits import CALL_CHANGES, OPEN_CALLS
from store import audit, outbox
from store.people import acts
from store.people import calls as store
from store.people.calls import Call
from topics.catalog import INTERVENTIONS
from topics.encoding import SOURCE, encode_event
from topics.time import format_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from scoring.decisions.policy import Policy
    from store.audit import Actor

_SAID = {
    "reschedule": "call_rescheduled",
    "cancel": "call_cancelled",
    "complete": "call_completed",
    "no_show": "call_no_show",
}
_TIME_PROBLEMS = {
    "past": "that time is over",
    "too_far": "that time is more than a year ahead",
    "outside_hours": "that time is outside the hours in which agents can be called",
    "taken": "that time is taken",
}


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A wish for a call; times in ms. The same `call_id` twice is one call."""

    call_id: str
    supplier_id: str
    preferred_times: tuple[int, ...]
    reason: rules.Reason
    urgency: rules.Urgency
    notes: str | None = None


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """What to change of a call; None leaves a thing as it is."""

    scheduled_at: int | None = None
    status: rules.Status | None = None
    outcome: rules.Outcome | None = None
    satisfaction_score: int | None = None
    duration_minutes: int | None = None
    notes: str | None = None
    agent_id: str | None = None

    def about_the_call(self) -> dict[str, Any]:
        """What agents alone may say of a call, by column."""
        said = {
            "outcome": self.outcome,
            "satisfaction_score": self.satisfaction_score,
            "duration_minutes": self.duration_minutes,
            "notes": self.notes,
            "agent_id": self.agent_id,
        }
        return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Booked:
    """A call as it was booked. `proposals`: free times (ms), where none of the preferred ones fits."""

    call: Call
    verdicts: Sequence[tuple[int, rules.Verdict]]
    proposals: Sequence[int]
    is_new: bool


class CallRefusedError(Exception):
    """The call can't be changed so; the message says why. `conflict`: because of how things stand now."""

    def __init__(self, why: str, *, conflict: bool, proposals: Sequence[int] = ()) -> None:
        super().__init__(why)
        self.conflict = conflict
        self.proposals = proposals


class NotForSuppliersError(Exception):
    """Agents alone may do this; the message says what suppliers may."""


async def book(
    conn: AsyncConnection, request: CallRequest, actor: Actor, now_ms: int, policy: Policy
) -> Booked:
    """Book a call at the first preferred time that fits, or leave it as a task for the agents.

    Raises LookupError if the supplier is not known, or not to be seen. Unless an agent books: CallRefusedError beyond
    two open calls, TooOftenError beyond five changes a day.
    """
    await store.lock_bookings(conn)
    known = await store.find(conn, request.call_id)
    if known is not None and known.supplier_id == request.supplier_id:
        return await _booked_before(conn, known, now_ms, policy)
    zone = await store.time_zone(conn, request.supplier_id)
    if actor.role != "agent":
        await _check_room(conn, request.supplier_id, now_ms)
    taken = await store.taken(conn, now_ms)
    booking = rules.book(request.preferred_times, now_ms, taken, policy.calls)
    offer = await store.close_offers(conn, request.supplier_id, now_ms)
    call = _new_call(request, booking.confirmed, offer, now_ms, policy)
    if not await store.add(conn, call):
        raise LookupError(request.call_id)  # someone else's call, which we may not see
    if call.scheduled_at is not None:
        await store.queue_mail(conn, call, "REQUEST", now_ms)
    said = "call_scheduled" if call.scheduled_at is not None else "call_requested"
    await _tell(conn, call, said, actor, now_ms)
    proposals = (
        rules.propose(now_ms, taken, policy.calls, zone, policy.hours) if booking.confirmed is None else []
    )
    return Booked(call, booking.verdicts, proposals, is_new=True)


async def change(
    conn: AsyncConnection, call_id: str, wanted: ChangeRequest, actor: Actor, now_ms: int, policy: Policy
) -> Call:
    """Reschedule, cancel, complete or amend a call, and return it as it is then.

    Raises LookupError if there is no such call to be seen, CallRefusedError if it can't be changed so,
    NotForSuppliersError, and TooOftenError.
    """
    await store.lock_bookings(conn)
    call = await store.find(conn, call_id, lock=True)
    if call is None:
        raise LookupError(call_id)
    if actor.role == "supplier":
        _check_supplier(wanted)
    action = rules.change(call.status, call.scheduled_at, wanted.status, wanted.scheduled_at, now_ms)
    if isinstance(action, rules.Refusal):
        raise CallRefusedError(action.why, conflict=True)
    if action == "reschedule":
        await _check_time(conn, call, wanted.scheduled_at or 0, now_ms, policy)
    changed = _changed(call, action, wanted, actor, now_ms, policy)
    if changed == call:
        return call
    if actor.role != "agent":
        await _count_change(conn, call.supplier_id, action, now_ms)
    await store.save(conn, changed, now_ms)
    await _write_to_her(conn, call, changed, action, now_ms)
    await _tell(conn, changed, _event_of(call, action), actor, now_ms)
    return changed


async def _check_room(conn: AsyncConnection, supplier_id: str, now_ms: int) -> None:
    """Agents' hours are for all suppliers: nobody holds many of them, or books and cancels all day."""
    if await store.count_open(conn, supplier_id, now_ms) >= OPEN_CALLS:
        raise CallRefusedError(
            f"there are {OPEN_CALLS} calls ahead already: move or cancel one of them to book another",
            conflict=True,
        )
    await limits.check(conn, supplier_id, CALL_CHANGES, now_ms)


async def _count_change(conn: AsyncConnection, supplier_id: str, action: rules.Action, now_ms: int) -> None:
    """Count what a supplier changes. Cancelling is always taken: an agent must not wait for somebody in vain."""
    if action == "cancel":
        await acts.note(conn, supplier_id, CALL_CHANGES, now_ms)
    else:
        await limits.count(conn, supplier_id, CALL_CHANGES, now_ms)


def _new_call(
    request: CallRequest, start: int | None, offer: str | None, now_ms: int, policy: Policy
) -> Call:
    return Call(
        id=request.call_id,
        supplier_id=request.supplier_id,
        interaction_type=rules.INTERACTION_TYPES[request.reason],
        status="scheduled",
        scheduled_at=start,
        ends_at=None if start is None else rules.ends(start, policy.calls),
        completed_at=None,
        duration_minutes=None,
        agent_id=None,
        notes=request.notes,
        outcome=None,
        satisfaction_score=None,
        preferred_times=request.preferred_times,
        urgency=request.urgency,
        sequence=0,
        intervention_id=offer,
        created_at=now_ms,
    )


async def _booked_before(conn: AsyncConnection, call: Call, now_ms: int, policy: Policy) -> Booked:
    """The answer to a request that came before: how its call stands now."""
    proposals: list[int] = []
    if call.status == "scheduled" and call.scheduled_at is None:
        zone = await store.time_zone(conn, call.supplier_id)
        taken = await store.taken(conn, now_ms)
        proposals = rules.propose(now_ms, taken, policy.calls, zone, policy.hours)
    return Booked(call, [], proposals, is_new=False)


def _check_supplier(wanted: ChangeRequest) -> None:
    if wanted.about_the_call() or wanted.status not in {None, "scheduled", "cancelled"}:
        raise NotForSuppliersError("suppliers may give a new `scheduledAt` or the status `cancelled`")


async def _check_time(conn: AsyncConnection, call: Call, start: int, now_ms: int, policy: Policy) -> None:
    own = (call.scheduled_at, call.ends_at)
    taken = [span for span in await store.taken(conn, now_ms) if span != own]
    verdict = rules.judge(start, now_ms, taken, policy.calls)
    if verdict == "free":
        return
    zone = await store.time_zone(conn, call.supplier_id)
    proposals = rules.propose(now_ms, taken, policy.calls, zone, policy.hours)
    raise CallRefusedError(_TIME_PROBLEMS[verdict], conflict=verdict == "taken", proposals=proposals)


def _changed(
    call: Call, action: rules.Action, wanted: ChangeRequest, actor: Actor, now_ms: int, policy: Policy
) -> Call:
    said = wanted.about_the_call()
    if action != "complete" and call.status != "completed":
        ending = {"outcome", "satisfaction_score", "duration_minutes"} & said.keys()
        if ending:
            raise CallRefusedError(
                f"{' and '.join(sorted(ending))} can be said of a completed call only: add the status `completed`",
                conflict=False,
            )
    changed = replace(call, **said)
    match action:
        case "reschedule":
            start = wanted.scheduled_at or 0
            rises = call.scheduled_at is not None  # else this is the first time that it has
            return replace(
                changed,
                scheduled_at=start,
                ends_at=rules.ends(start, policy.calls),
                sequence=call.sequence + rises,
            )
        case "cancel":
            return replace(
                changed, status="cancelled", sequence=call.sequence + (call.scheduled_at is not None)
            )
        case "complete":
            if changed.outcome is None:
                raise CallRefusedError(
                    "say how the call ended: outcome resolved, escalated or follow_up_needed", conflict=False
                )
            agent = changed.agent_id or _agent_id(actor)
            return replace(changed, status="completed", completed_at=now_ms, agent_id=agent)
        case "no_show":
            return replace(changed, status="no_show", agent_id=changed.agent_id or _agent_id(actor))
        case _:
            return changed


async def _write_to_her(
    conn: AsyncConnection, before: Call, call: Call, action: rules.Action, now_ms: int
) -> None:
    if action == "reschedule":
        await store.queue_mail(conn, call, "REQUEST", now_ms)
    elif action == "cancel" and before.scheduled_at is not None:
        await store.queue_mail(conn, call, "CANCEL", now_ms)
    elif action in {"complete", "no_show"}:
        await store.supersede_mails(conn, call.id)


def _event_of(before: Call, action: rules.Action) -> str:
    if action == "reschedule" and before.scheduled_at is None:
        return "call_scheduled"
    return _SAID.get(action, "call_amended")


async def _tell(conn: AsyncConnection, call: Call, said: str, actor: Actor, now_ms: int) -> None:
    """Log it, and publish it if it is more than a note."""
    await audit.log(conn, actor, said, call.supplier_id, now_ms, call_id=call.id, status=call.status)
    if said != "call_amended":
        await outbox.add(conn, [call_event(call, said, now_ms)])
    if note := notes.of_call(call, said, now_ms):
        await outbox.add_notes(conn, [note])


def call_event(call: Call, said: str, at_ms: int) -> outbox.Event:
    """What is said of a call on `success.interventions`: ids and facts, nothing personal."""
    data = {
        "call_id": call.id,
        "intervention_id": call.intervention_id,
        "channel": "support_call",
        "interaction_type": call.interaction_type,
        "status": call.status,
        "scheduled_at": None if call.scheduled_at is None else format_time(call.scheduled_at),
        "urgency": call.urgency,
        "outcome": call.outcome,
        "satisfaction_score": call.satisfaction_score,
    }
    value = encode_event(f"success.intervention.{said}", str(uuid4()), SOURCE, call.supplier_id, at_ms, data)
    return outbox.Event(INTERVENTIONS, call.supplier_id, value)


def _agent_id(actor: Actor) -> str | None:
    """The agent who acts, where the token's subject is a UUID as the column wants it."""
    try:
        return str(UUID(actor.id)) if actor.role == "agent" else None
    except ValueError:
        return None
