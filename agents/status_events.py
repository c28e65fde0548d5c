"""What is said on `success.interventions` when the status of a row changes: ids only, nothing personal."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from store.outbox import Event
from topics.catalog import INTERVENTIONS
from topics.encoding import SOURCE, encode_event

if TYPE_CHECKING:
    from store.delivery import Intervention


def status_event(
    supplier_id: str, intervention: Intervention, status: str, reason: str | None, at_ms: int
) -> Event:
    """Build the event of a row's new status; its id follows from the row, the status and the attempt."""
    row = intervention.row
    name = f"{status}:{intervention.attempts}" if intervention.attempts else status
    data = {
        "intervention_id": row.id,
        "trigger": row.trigger,
        "channel": row.channel,
        "template": intervention.template,
        "status": status,
        "reason": reason,
        "signal_id": intervention.signal_id,
    }
    event_id = str(uuid5(UUID(row.id), name))
    value = encode_event(f"success.intervention.{status}", event_id, SOURCE, supplier_id, at_ms, data)
    return Event(INTERVENTIONS, supplier_id, value)
