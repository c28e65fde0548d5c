"""Records as the topics bring them, with valid defaults: a test names only what it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

import orjson

from topics.encoding import SOURCE, encode_event
from topics.time import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence

SARAH = "11111111-1111-4111-8111-111111111111"
EMMA = "22222222-2222-4222-8222-222222222222"
MONDAY = parse_time("2026-01-05T09:00:00Z")
HOUR = 3_600_000
DAY = 24 * HOUR


@dataclass
class Record:
    """What a consumer fetched."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int = 0
    offset: int = 0
    topic: str = "supplier.profiles"
    timestamp: int = MONDAY


def profile(supplier: str = SARAH, *, offset: int = 0, timestamp: int = MONDAY, **fields: Any) -> Record:
    """A profile with an address and a first name, unless told otherwise."""
    content = {"id": supplier, "email": "sarah@example.com", "first_name": "Sarah", **fields}
    return Record(supplier.encode(), orjson.dumps(content), offset=offset, timestamp=timestamp)


def erasure(supplier: str = SARAH, *, offset: int = 1) -> Record:
    """The empty value that asks to erase a supplier."""
    return Record(supplier.encode(), None, offset=offset)


def snapshot(supplier: str = SARAH, *, seq: int = 1, at: int = MONDAY, **fields: Any) -> Record:
    """A snapshot of a supplier with one form and a login an hour ago: 36.25 points."""
    data = {
        "seq": seq,
        "calculated_at": format_time(at),
        "score": 36,
        "sum": 36.25,
        "level": "critical",
        "breakdown": {
            "loginFrequency": 30.0,
            "featureAdoption": 6.25,
            "clientActivity": 0.0,
            "formCompletion": 0.0,
            "journeyPerformance": 0.0,
        },
        "metrics": {
            "loginFrequency": 0,
            "featureAdoption": 0.25,
            "clientActivity": 0.0,
            "formCompletion": 0.0,
            "journeyPerformance": 0.0,
        },
        "features": ["forms_created"],
        "clients": {"known": 0, "active": 0},
        "forms": {"created": 1, "sent": 0, "completed": 0},
        "journeys": {"active": 0, "sent": 0, "opened": 0},
        "last_login": format_time(at - HOUR),
        "signed_up_at": None,
        "plan": None,
        "consent": consent(),
        "cancelled": False,
        "cancelled_at": None,
        "last_goals": {"supplier.logged_in": format_time(at - HOUR)},
        "next_change_at": format_time(at + 2 * DAY),
        "next_level_if_silent": None,
        "next_level_at": None,
        "churn_probability": 0.5,
        "changes": [change(supplier, seq=seq, at=at)],
        **fields,
    }
    event = encode_event("success.health.updated", named(supplier, "health", seq), SOURCE, supplier, at, data)
    return Record(supplier.encode(), event)


def consent(
    *, email: bool = False, email_at: int | None = None, everything: bool = False, all_at: int | None = None
) -> dict[str, Any]:
    """The consent part of a snapshot: opted out of emails, of everything, and when that was said."""
    return {
        "email_opt_out": email,
        "email_at": email_at and format_time(email_at),
        "all_opt_out": everything,
        "all_at": all_at and format_time(all_at),
    }


def change(supplier: str = SARAH, *, seq: int = 1, at: int = MONDAY, score: int = 36) -> dict[str, Any]:
    """One entry of a snapshot's changes."""
    cause = {"component": "featureAdoption", "before": 0.0, "after": 6.25, "event": "e1"}
    return {
        "id": named(supplier, "change", seq),
        "at": format_time(at),
        "seq": seq,
        "score": score,
        "level": "critical",
        "causes": [cause],
    }


def risk_changed(
    previous: str | None = "healthy",
    level: str = "at_risk",
    *,
    supplier: str = SARAH,
    seq: int = 1,
    at: int = MONDAY,
    **more: Any,
) -> Record:
    """A level that changed; without a known sign-up, so that onboarding is over."""
    points = {
        "loginFrequency": 30.0,
        "featureAdoption": 25.0,
        "clientActivity": 0.0,
        "formCompletion": 0.0,
        "journeyPerformance": 0.0,
    }
    data = {
        "previous": previous,
        "level": level,
        "score": 55,
        "sum": 55.0,
        "breakdown": points,
        "causes": [{"component": "loginFrequency", "before": 30.0, "after": 20.0, "event": "time"}],
        "churn_probability": 0.4,
        "signed_up_at": None,
        "seq": seq,
        **more,
    }
    return signal("success.risk.changed", f"{level}{seq}", supplier, at, data)


def milestone(
    name: str = "first_form",
    *,
    supplier: str = SARAH,
    seq: int = 1,
    at: int = MONDAY,
    cause: str = "form.created",
) -> Record:
    """A milestone, by default the first form."""
    data = {"milestone": name, "seq": seq, "cause_type": cause}
    return signal("success.milestone.achieved", name, supplier, at, data)


def condition(
    name: str = "no_login_7_days",
    *,
    supplier: str = SARAH,
    seq: int = 1,
    at: int = MONDAY,
    occurrence: int = 1,
    level: str = "at_risk",
) -> Record:
    """A condition, by default seven days without a login."""
    data = {"condition": name, "occurrence": occurrence, "seq": seq, "level": level}
    return signal("success.condition.met", f"{name}{occurrence}", supplier, at, data)


def signal(kind: str, name: str, supplier: str, at: int, data: dict[str, Any]) -> Record:
    """A signal whose id follows from what it says, as the real ones do."""
    event = encode_event(kind, named(supplier, kind, name), SOURCE, supplier, at, data)
    return Record(supplier.encode(), event)


def named(*parts: object) -> str:
    """The same UUID for the same parts."""
    return str(uuid5(NAMESPACE_URL, "|".join(map(str, parts))))
