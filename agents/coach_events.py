"""What is told on `success.interventions` of the coach's tips and celebrations: ids only, nothing personal."""

from __future__ import annotations

from store.outbox import Event
from topics.catalog import INTERVENTIONS
from topics.encoding import SOURCE, encode_event

LONGEST_PAGE = 60


def coach_event(event_id: str, supplier_id: str, kind: str, item: str, page: str | None, at_ms: int) -> Event:
    """Build the event of something shown, used or put away in the coach; `kind` is `tip_shown` or the like."""
    data = {"channel": "in_app_notification", "item": item, "page": page and page[:LONGEST_PAGE]}
    value = encode_event(f"success.intervention.{kind}", event_id, SOURCE, supplier_id, at_ms, data)
    return Event(INTERVENTIONS, supplier_id, value)
