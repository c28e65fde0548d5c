"""One more action of a supplier, put through the score's own formula: what their snapshot would be right after it.

Pure. A test holds it to the machine: the events that an action stands for, applied to their state, give the same sum.
"""

from __future__ import annotations

from typing import Any

from scoring.advice.book import Action
from scoring.advice.circumstances import Snapshot
from scoring.health.metrics import (
    CLIENTS,
    COMPONENTS,
    FEATURES,
    FORMS,
    JOURNEYS,
    LOGIN,
    client_points,
    feature_points,
    ratio_points,
    total,
)
from scoring.health.rules import SHIPPED, Rules


def points_of(snapshot: Snapshot, rules: Rules = SHIPPED) -> tuple[float, ...]:
    """Their points by component in the order of `COMPONENTS`, worked out from the snapshot's counts."""
    breakdown, most = snapshot.get("breakdown") or {}, rules.weights
    used = len({name for name, _ in rules.features}.intersection(snapshot["features"]))
    return (
        float(breakdown.get(COMPONENTS[LOGIN], 0.0)),
        feature_points(used, len(rules.features), most[FEATURES]),
        client_points(snapshot["clients"]["active"], snapshot["clients"]["known"], most[CLIENTS]),
        ratio_points(snapshot["forms"]["completed"], snapshot["forms"]["sent"], most[FORMS]),
        ratio_points(snapshot["journeys"]["opened"], snapshot["journeys"]["sent"], most[JOURNEYS]),
    )


def sum_of(snapshot: Snapshot, rules: Rules = SHIPPED) -> float:
    """Their unrounded score, worked out from the snapshot's counts."""
    return total(points_of(snapshot, rules))


def after(snapshot: Snapshot, action: Action, rules: Rules = SHIPPED) -> dict[str, Any]:
    """Their snapshot right after an action: features, clients, forms, journeys and breakdown; the rest as it was.

    A form that comes back, or an email that is opened, is a quiet client's (their first one's, if they have none).
    """
    features = set(snapshot["features"]) | ({action.uses} if action.uses else set())
    forms, journeys = snapshot["forms"], snapshot["journeys"]
    known = snapshot["clients"]["known"] + action.clients.imported
    active = snapshot["clients"]["active"]
    if action.form.completed or action.journey.opened:
        known, active = (1, 1) if known == 0 else (known, min(known, active + 1))
    changed = {
        **snapshot,
        "features": sorted(features),
        "clients": {"known": known, "active": active},
        "forms": {
            "created": forms["created"] + action.form.created,
            "sent": forms["sent"] + action.form.sent,
            "completed": forms["completed"] + action.form.completed,
        },
        "journeys": {
            "active": journeys["active"] + action.journey.activated,
            "sent": journeys["sent"] + action.journey.sent,
            "opened": journeys["opened"] + action.journey.opened,
        },
    }
    points = points_of(changed, rules)
    login = rules.weights[LOGIN] if action.login else points[LOGIN]
    return changed | {"breakdown": dict(zip(COMPONENTS, (login, *points[1:]), strict=True))}
