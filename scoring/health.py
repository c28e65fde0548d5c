"""The snapshot: all that readers need of a supplier's health, without the log (`success.health.updated`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scoring.causes import as_json
from scoring.churn import churn_signals, probability
from scoring.machine import breakdown
from scoring.metrics import KEY_FEATURES, login_days
from scoring.silence import forecast
from scoring.state import Change, State
from scoring.time import instant_text, optional_instant_text

_FEATURES_SORTED = sorted((name, 1 << bit) for bit, name in enumerate(KEY_FEATURES))


def snapshot(state: State) -> dict[str, Any]:
    """The `data` of `success.health.updated` as of the last evaluation, ready for JSON.

    Drains `changes` and clears `dirty`: what a snapshot carried is not owed again. The state must have
    seen an event.
    """
    next_change_at, next_level, next_level_at = forecast(state)
    signals = churn_signals(state)
    changes, state.changes = state.changes, []
    state.dirty = False
    return {
        "seq": state.seq,
        "calculated_at": instant_text(state.evaluated_at),
        "score": state.score,
        "sum": state.sum,
        "level": state.level,
        "breakdown": breakdown(state),
        "metrics": metrics(state),
        "features": [name for name, bit in _FEATURES_SORTED if state.features & bit],
        "clients": {"known": len(state.clients), "active": state.active_clients},
        "forms": {
            "created": state.forms_created,
            "sent": state.forms_sent,
            "completed": state.forms_completed,
        },
        "journeys": {
            "active": sum(active for _, active in state.journeys.values()),
            "sent": state.journey_sent,
            "opened": state.journey_opened,
        },
        "last_login": optional_instant_text(state.last_login),
        "signed_up_at": optional_instant_text(state.signed_up_at),
        "plan": state.plan,
        "consent": {
            "email_opt_out": state.email_consent.opted_out,
            "email_at": optional_instant_text(state.email_consent.at),
            "all_opt_out": state.all_consent.opted_out,
            "all_at": optional_instant_text(state.all_consent.at),
        },
        "cancelled": state.cancelled,
        "cancelled_at": optional_instant_text(state.cancelled_at if state.cancelled else None),
        "last_goals": {goal: instant_text(at) for goal, at in state.last_goals.items()},
        "next_change_at": optional_instant_text(next_change_at),
        "next_level_if_silent": next_level,
        "next_level_at": optional_instant_text(next_level_at),
        "churn_probability": probability(signals),
        "churn_signals": signals,
        "changes": changes_as_json(changes),
    }


def changes_as_json(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """Changes as `{"id", "at", "seq", "score", "level", "causes"}`."""
    return [
        {
            "id": change.id,
            "at": instant_text(change.at),
            "seq": change.seq,
            "score": change.score,
            "level": change.level,
            "causes": as_json(change.causes),
        }
        for change in changes
    ]


def metrics(state: State) -> dict[str, int | float]:
    """The five metrics of contract section 5: days, then ratios 0..1 (to 9 decimals)."""
    points = state.points
    return {
        "loginFrequency": login_days(state.last_login, state.evaluated_at),
        "featureAdoption": points[1] / 25,
        "clientActivity": round(points[2] / 25, 9),
        "formCompletion": round(points[3] / 10, 9),
        "journeyPerformance": round(points[4] / 10, 9),
    }
