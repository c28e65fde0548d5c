"""What is said about a row on `success.interventions`: ids only, nothing personal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID, uuid5

from store.outbox import Event
from topics.catalog import INTERVENTIONS
from topics.encoding import SOURCE, encode_event

if TYPE_CHECKING:
    from store.delivery import Intervention


class About(NamedTuple):
    """A row of `success_interventions`, as far as it is told, and its status and reason at that moment."""

    supplier_id: str
    intervention_id: str
    trigger: str
    channel: str
    template: str | None
    signal_id: str | None
    status: str
    reason: str | None = None


def intervention_event(about: About, kind: str, name: str, at_ms: int) -> Event:
    """Build `success.intervention.<kind>`; its id follows from the row and `name`, which tells it from the others."""
    data: dict[str, Any] = about._asdict()
    supplier_id = data.pop("supplier_id")
    event_id = str(uuid5(UUID(about.intervention_id), name))
    value = encode_event(f"success.intervention.{kind}", event_id, SOURCE, supplier_id, at_ms, data)
    return Event(INTERVENTIONS, supplier_id, value)


def status_event(
    supplier_id: str, intervention: Intervention, status: str, reason: str | None, at_ms: int
) -> Event:
    """Build the event of a row's new status; its id follows from the row, the status and the attempt."""
    row = intervention.row
    about = About(
        supplier_id=supplier_id,
        intervention_id=row.id,
        trigger=row.trigger,
        channel=row.channel,
        template=intervention.template,
        signal_id=intervention.signal_id,
        status=status,
        reason=reason,
    )
    name = f"{status}:{intervention.attempts}" if intervention.attempts else status
    return intervention_event(about, status, name, at_ms)
