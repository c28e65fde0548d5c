"""Does what a message is about still hold? From the newest health snapshot, at the moment of sending."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scoring.health.metrics import Level, is_worse
from scoring.health.rules import FORM_CREATED, SHIPPED, SIGNED_UP, Rules


@dataclass(frozen=True, slots=True)
class Health:
    """The stored health snapshot, as far as a decision needs it. Times are int ms."""

    seq: int
    level: Level
    score: int
    cancelled: bool = False
    features: frozenset[str] = frozenset()
    known_clients: int = 0
    forms_created: int = 0
    last_login: int | None = None
    signed_up_at: int | None = None
    plan: str | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """What the rules compare, by name; what it leaves out follows from the rest where it can."""
    times: Mapping[str, int] = field(default_factory=dict)
    """What the rules count from, by name; as above."""
    worth: Callable[[Rules], float] | None = None
    """Points of the best advice that there is for them under rules; None where nobody can work it out."""


def holds(cause: str, health: Health, now_ms: int, rules: Rules = SHIPPED) -> bool:
    """Tell whether a trigger's cause (`condition:...`, `milestone:...`, `risk:...`) still holds.

    A milestone holds for ever, a risk while the level is no better; a condition as its rule says.
    """
    kind, _, name = cause.partition(":")
    if kind == "risk":
        return not is_worse(name, health.level)
    if kind == "milestone":
        return True
    name, _, level = name.partition("@")
    if level and is_worse(level, health.level):
        return False
    return rules.holds(name, _compared(health, rules), _times(health), now_ms)


def _compared(health: Health, rules: Rules) -> dict[str, Any]:
    plan = rules.file.plans.get(health.plan or "")
    found = {
        "plan": health.plan or "",
        "level": health.level,
        "score": health.score,
        "cancelled": health.cancelled,
        "signed_up": health.signed_up_at is not None,
        "clients_known": health.known_clients,
        "features_used": len(health.features),
        "plan_clients_percent": 100 * health.known_clients / plan.clients if plan and plan.clients else 0,
        "plan_forms_percent": 100 * health.forms_created / plan.forms if plan and plan.forms else 0,
    }
    found |= {name: int(name in health.features) for name, _ in rules.features}
    found |= dict.fromkeys(rules.shown_by(FORM_CREATED), health.forms_created)
    return found | dict(health.numbers)


def _times(health: Health) -> dict[str, int]:
    known = {SIGNED_UP: health.signed_up_at, "supplier.logged_in": health.last_login}
    return {name: at for name, at in known.items() if at is not None} | dict(health.times)
