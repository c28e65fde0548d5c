"""The snapshot: all that readers need of a supplier's health, without the log (`success.health.updated`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scoring.health.causes import as_json
from scoring.health.churn import churn_signals, probability
from scoring.health.machine import breakdown
from scoring.health.metrics import login_days
from scoring.health.rules import SHIPPED, Rules
from scoring.health.silence import forecast
from scoring.health.state import Change, State, forget_told
from scoring.identity import change_id
from scoring.time import instant_text, optional_instant_text


def snapshot(state: State, rules: Rules = SHIPPED, supplier_id: str = "") -> dict[str, Any]:
    """The `data` of `success.health.updated` as of the state's clock, ready for JSON.

    What it carries is not owed again (`forget_told`). The state must have seen an event. The ids of changes are made
    of `supplier_id`.
    """
    next_change_at, next_level, next_level_at = forecast(state, rules)
    signals = churn_signals(state, rules.weights)
    changes, goals = state.changes, state.goals
    forget_told(state)
    return standing(state, rules) | {
        "goals": _times_by_kind(goals),
        "next_change_at": optional_instant_text(next_change_at),
        "next_level_if_silent": next_level,
        "next_level_at": optional_instant_text(next_level_at),
        "churn_probability": probability(signals, rules.churn),
        "churn_signals": signals,
        "numbers": rules.compared_numbers(state),
        "times": rules.times(state),
        "conditions": dict(state.occurrences),
        "config_version": rules.version,
        "changes": changes_as_json(supplier_id, changes),
    }


def standing(state: State, rules: Rules = SHIPPED) -> dict[str, Any]:
    """How a supplier stands: what advice goes by, and a part of the snapshot. Reads only; all stays owed."""
    return {
        "seq": state.seq,
        "calculated_at": instant_text(state.clock),
        "score": state.score,
        "sum": state.sum,
        "level": state.level,
        "breakdown": breakdown(state),
        "metrics": metrics(state, rules),
        "features": sorted(name for name, bit in rules.features if state.features & bit),
        "clients": {"known": len(state.clients), "active": state.active_clients},
        "forms": {
            "created": state.counts.get("form.created", 0),
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
        "last_goals": {
            kind: instant_text(at) for kind, at in state.last_goals.items() if kind in rules.goals
        },
    }


def _times_by_kind(goals: Iterable[tuple[str, int]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind, at in goals:
        found.setdefault(kind, []).append(instant_text(at))
    return found


def changes_as_json(supplier_id: str, changes: Iterable[Change]) -> list[dict[str, Any]]:
    """Changes as `{"id", "at", "seq", "score", "level", "causes"}`."""
    return [
        {
            "id": change_id(supplier_id, change.seq),
            "at": instant_text(change.at),
            "seq": change.seq,
            "score": change.score,
            "level": change.level,
            "causes": as_json(change.causes),
        }
        for change in changes
    ]


def metrics(state: State, rules: Rules = SHIPPED) -> dict[str, int | float]:
    """The five metrics of contract section 5: days, then ratios 0..1 (to 9 decimals)."""
    known, sent, mailed = len(state.clients), state.forms_sent, state.journey_sent
    used = (state.features & rules.feature_mask).bit_count()
    return {
        "loginFrequency": login_days(state.last_login, state.clock),
        "featureAdoption": used / len(rules.features),
        "clientActivity": round(state.active_clients / known, 9) if known else 0.0,
        "formCompletion": round(min(state.forms_completed, sent) / sent, 9) if sent else 0.0,
        "journeyPerformance": round(min(state.journey_opened, mailed) / mailed, 9) if mailed else 0.0,
    }
