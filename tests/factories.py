"""Valid things by default: a test names only what it is about."""

from __future__ import annotations

from itertools import count
from typing import Any

from topics.time import format_time

SARAH = "11111111-1111-4111-8111-111111111111"
_numbers = count(1)


def cloudevent(
    kind: str = "form.created",
    subject: str = SARAH,
    at: int | str = "2026-01-19T09:00:00Z",
    **attributes: Any,
) -> dict[str, Any]:
    """A good CloudEvent with an id of its own; `at` in ms or as text; what is None is left out."""
    made = {
        "specversion": "1.0",
        "id": f"e{next(_numbers)}",
        "source": "/tests",
        "type": kind,
        "subject": subject,
        "time": at if isinstance(at, str) else format_time(at),
        "data": {"form_id": "f1"} if kind.startswith("form.") else None,
    } | attributes
    return {name: value for name, value in made.items() if value is not None}
