"""What is told on the topics of rows, feedback, consent and the coach: ids only, nothing personal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID, uuid5

from runtime import metrics
from store import outbox
from store.outbox import Event
from topics.catalog import ACTIVITY, INTERVENTIONS
from topics.encoding import SOURCE, encode_event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import AsyncConnection

    from scoring.decisions.consent import Word
    from store.messages.delivery import Intervention
    from store.messages.feedback import Told

LONGEST_PAGE = 60


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
    return _event(INTERVENTIONS, f"success.intervention.{kind}", event_id, supplier_id, at_ms, data)


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
    metrics.count_intervention(status, reason, intervention.template)
    name = f"{status}:{intervention.attempts}" if intervention.attempts else status
    return intervention_event(about, status, name, at_ms)


def feedback_event(told: Told) -> Event:
    """Build the event of feedback on a message; there is one of each kind a message, so its id follows from both."""
    about = About(
        supplier_id=told.supplier_id,
        intervention_id=told.intervention_id,
        trigger=told.trigger,
        channel=told.channel,
        template=told.template,
        signal_id=told.signal_id,
        status=told.status,
    )
    return intervention_event(about, told.kind, told.kind, told.at)


def consent_event(supplier_id: str, word: Word) -> Event:
    """Build the activity event of an opt-out or opt-in, so that scoring and every reader of the log know it too."""
    kind = "communication.opted_out" if word.opt_out else "communication.opted_in"
    event_id = str(uuid5(UUID(supplier_id), f"{kind}:{word.scope}:{word.at}"))
    return _event(ACTIVITY, kind, event_id, supplier_id, word.at, {"scope": word.scope})


async def tell(conn: AsyncConnection, feedback: Iterable[Told]) -> None:
    """Put feedback into the outbox."""
    await outbox.add(conn, [feedback_event(each) for each in feedback])


def coach_event(event_id: str, supplier_id: str, kind: str, item: str, page: str | None, at_ms: int) -> Event:
    """Build the event of something shown, used or put away in the coach; `kind` is `tip_shown` or the like."""
    data = {"channel": "in_app_notification", "item": item, "page": page and page[:LONGEST_PAGE]}
    return _event(INTERVENTIONS, f"success.intervention.{kind}", event_id, supplier_id, at_ms, data)


def _event(topic: str, kind: str, event_id: str, supplier_id: str, at_ms: int, data: dict[str, Any]) -> Event:
    return Event(topic, supplier_id, encode_event(kind, event_id, SOURCE, supplier_id, at_ms, data))
