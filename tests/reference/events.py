"""Events for tests, in the shape both implementations take: type, at, id, source, data with attributes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

FIELDS: dict[str, tuple[str, ...]] = {
    "supplier.signed_up": ("plan",),
    "supplier.logged_in": (),
    "supplier.cancelled": ("reason",),
    "supplier.reactivated": (),
    "form.created": ("form_id",),
    "form.sent": ("form_id", "client_id"),
    "form.completed": ("form_id", "client_id"),
    "client.imported": ("client_ids",),
    "client.active": ("client_id",),
    "client.removed": ("client_id",),
    "journey.created": ("journey_id",),
    "journey.activated": ("journey_id",),
    "journey.deactivated": ("journey_id",),
    "journey.email_sent": ("journey_id", "message_id", "client_id"),
    "journey.email_opened": ("journey_id", "message_id", "client_id"),
    "template.used": ("template_id",),
    "payment.received": ("payment_id", "amount_minor", "currency"),
    "plan.changed": ("plan",),
    "milestone.reported": ("milestone",),
    "communication.opted_out": ("scope",),
    "communication.opted_in": ("scope",),
}
"""The types of contract section 3 with the fields of their data."""


@dataclass
class Event:
    """An accepted activity event; `at` in ms, `data` None where the type has no fields."""

    type: str
    at: int
    id: str
    source: str
    data: Any


def event(event_type: str, at: int, event_id: str, source: str = "/tests", **data: Any) -> Event:
    """Make an event of this type; fields of its data that are not given are None."""
    fields = FIELDS[event_type]
    unknown = set(data) - set(fields)
    if unknown:
        raise ValueError(
            f"{event_type} has no {', '.join(sorted(unknown))}; it has {', '.join(fields) or 'no fields'}"
        )
    carried = SimpleNamespace(**{field: data.get(field) for field in fields}) if fields else None
    return Event(event_type, at, event_id, source, carried)


def event_of_line(line: dict[str, Any]) -> tuple[str, Event] | None:
    """(supplier id, event) of a line of a recorded file; None for a profile or an unknown type."""
    if "profile" in line or line["type"] not in FIELDS:
        return None
    given = dict(line.get("data") or {})
    if line["type"] == "client.imported" and "client_ids" not in given:
        given["client_ids"] = [given["client_id"]]
    data = {field: given[field] for field in FIELDS[line["type"]] if field in given}
    if "client_ids" in data:
        data["client_ids"] = list(dict.fromkeys(data["client_ids"]))
    moment = datetime.fromisoformat(line["time"])
    at = int(moment.timestamp()) * 1000 + moment.microsecond // 1000
    return str(line["subject"]), event(line["type"], at, line["id"], line["source"], **data)
