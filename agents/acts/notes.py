"""What agents are told of in their own tools: tasks and calls. Ids and facts, nothing personal.

Put into the outbox in the transaction that made them true; delivery tells them (agents/delivery/notes.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from store.outbox import Note
from topics.time import format_time

if TYPE_CHECKING:
    from store.people.calls import Call

CALLS = {
    "call_requested": "call.requested",
    "call_scheduled": "call.scheduled",
    "call_rescheduled": "call.rescheduled",
    "call_cancelled": "call.cancelled",
}
"""What is said of a call, by what is logged; the rest is what agents did themselves."""


def of_task(row_id: str, supplier_id: str, trigger: str, at_ms: int) -> Note:
    """A note of a task that an intervention put on the agents' page."""
    facts = {"interventionId": row_id, "trigger": trigger}
    return Note(str(uuid5(UUID(row_id), "task")), supplier_id, "task.opened", at_ms, facts)


def of_call(call: Call, said: str, at_ms: int) -> Note | None:
    """A note of a call that was asked for, booked, moved or cancelled."""
    kind = CALLS.get(said)
    if kind is None:
        return None
    facts = {
        "callId": call.id,
        "interactionType": call.interaction_type,
        "urgency": call.urgency,
        "scheduledAt": None if call.scheduled_at is None else format_time(call.scheduled_at),
    }
    return Note(str(uuid5(UUID(call.id), f"{kind}:{call.sequence}")), call.supplier_id, kind, at_ms, facts)
