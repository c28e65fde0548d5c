"""Does what a message is about still hold? From the newest health snapshot, at the moment of sending."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scoring.conditions import (
    FREE_PLAN,
    FREE_PLAN_CLIENTS_NEARLY_FULL,
    FREE_PLAN_FORMS_NEARLY_FULL,
    LOW_ADOPTION_CLIENTS,
    STUCK_FEATURES,
)
from scoring.metrics import Level
from scoring.time import WEEK


@dataclass(frozen=True, slots=True)
class Health:
    """The stored health snapshot, as far as a decision needs it."""

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


def holds(on: str, health: Health, now_ms: int) -> bool:
    """Tell whether a trigger's cause (`condition:...`, `milestone:...`, `risk:...`) still holds.

    What happened once (a milestone, a sign-up) holds for ever.
    """
    rule = _HOLDS.get(on)
    return rule is None or rule(health, now_ms)


def _no_login(health: Health, now: int) -> bool:
    since = health.last_login if health.last_login is not None else health.signed_up_at
    return since is None or now - since >= WEEK


def _near_the_free_limit(health: Health, _now: int) -> bool:
    full = (
        health.known_clients >= FREE_PLAN_CLIENTS_NEARLY_FULL
        or health.forms_created >= FREE_PLAN_FORMS_NEARLY_FULL
    )
    return health.plan == FREE_PLAN and full


_HOLDS: dict[str, Callable[[Health, int], bool]] = {
    "condition:no_login_7_days": _no_login,
    "condition:zero_clients_imported": lambda health, _: "clients_imported" not in health.features,
    "condition:stuck_onboarding": lambda health, _: len(health.features) <= STUCK_FEATURES,
    "condition:low_client_adoption": lambda health, _: health.known_clients in LOW_ADOPTION_CLIENTS,
    "condition:high_usage_free_tier": _near_the_free_limit,
    "risk:at_risk": lambda health, _: health.level != "healthy",
    "risk:critical": lambda health, _: health.level == "critical",
}
