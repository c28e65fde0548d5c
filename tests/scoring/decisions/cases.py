"""Suppliers and rows for the tests of decisions, with defaults that would be sent."""

from __future__ import annotations

from itertools import count
from typing import Any

from scoring.decisions.decide import Decision, Row, SupplierFacts, decide
from scoring.decisions.policy import Policy
from scoring.decisions.resolved import Health
from scoring.time import DAY, HOUR

POLICY = Policy.load()
NINE = 1_768_813_200_000
"""2026-01-19T09:00:00Z, a Monday."""
_numbers = count(1)


def health(**given: Any) -> Health:
    """An at-risk supplier on the free plan for whom every condition holds."""
    defaults: dict[str, Any] = {
        "seq": 10,
        "level": "at_risk",
        "score": 48,
        "features": frozenset[str](),
        "known_clients": 5,
        "forms_created": 4,
        "last_login": NINE - 20 * DAY,
        "signed_up_at": NINE - 30 * DAY,
        "plan": "free",
    }
    return Health(**defaults | given)


def supplier(**given: Any) -> SupplierFacts:
    """A supplier in UTC with an address; `health` is `health()` unless given."""
    defaults: dict[str, Any] = {
        "supplier_id": "s",
        "email": "a@example.com",
        "zone": "UTC",
        "health": health(),
    }
    return SupplierFacts(**defaults | given)


def row(trigger: str, at: int = NINE, **given: Any) -> Row:
    """A due row of `trigger` whose signal is of `at`; rows made later have greater ids."""
    rule = POLICY.trigger(trigger)
    assert rule is not None
    kind, _, name = rule.cause.partition(":")
    defaults: dict[str, Any] = {
        "id": f"{next(_numbers):08d}",
        "trigger": trigger,
        "channel": rule.channel,
        "kind": rule.kind,
        "priority": rule.priority,
        "signal_at": at,
        "due_at": at,
        "seq": 10,
        "milestone": name if kind == "milestone" else None,
        "cause_type": "form.created" if kind == "milestone" else None,
    }
    return Row(**defaults | given)


def sent(trigger: str, at: int, **given: Any) -> Row:
    """A row that was claimed and sent at `at`."""
    return row(trigger, at, **{"status": "sent", "claimed_at": at} | given)


def decide_one(due: Row, *history: Row, now: int = NINE, facts: SupplierFacts | None = None) -> Decision:
    """The decision on one row."""
    [decision] = decide(facts or supplier(), [due], history, now, POLICY)
    return decision


def outcome(decision: Decision) -> str:
    """`send`, `wait:<for what>` or the reason."""
    if decision.action == "wait":
        return f"wait:{decision.waiting}"
    return decision.reason or decision.action


__all__ = ["DAY", "HOUR", "NINE", "POLICY", "decide_one", "health", "outcome", "row", "sent", "supplier"]
