"""What can be true of a supplier: the expressions of the data files of advice, over their newest snapshot.

They are written as in `rules.toml`. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scoring.health.expressions import Kind, parse
from scoring.health.rules import Rules, over_mapping

Snapshot = Mapping[str, Any]
"""The `data` of `success.health.updated`; `features`, `clients`, `forms`, `journeys`, `plan` … are looked at."""
Facts = Mapping[str, Any]
"""What each name is for one supplier."""
Holds = Callable[[Facts], bool]

NAMES: dict[str, tuple[Kind, str]] = {
    "plan": ("text", "the plan that the activity events say; '' if none"),
    "level": ("text", "'critical', 'at_risk' or 'healthy'"),
    "score": ("number", "the displayed score, 0 to 100"),
    "clients_known": ("number", "known clients"),
    "clients_active": ("number", "clients active within 30 days"),
    "plan_clients_percent": ("number", "clients in percent of what the plan holds; 0 where it has no limit"),
    "plan_forms_percent": ("number", "forms in percent of what the plan holds; 0 where it has no limit"),
    "features_used": ("number", "key features ever used"),
    "journeys_active": ("number", "journeys that are switched on"),
    "forms_sent": ("number", "what `formCompletion` divides by (`of`)"),
    "forms_completed": ("number", "what `formCompletion` counts (`count`)"),
    "journeys_sent": ("number", "what `journeyPerformance` divides by (`of`), on the last 30 UTC dates"),
    "journeys_opened": ("number", "what `journeyPerformance` counts (`count`), on the last 30 UTC dates"),
}
"""What every snapshot says. Beside it: each key feature, and each event type that a message may aim at."""


def known_names(rules: Rules) -> dict[str, Kind]:
    """The names that an expression may compare under these rules, with their kinds."""
    counted: dict[str, Kind] = dict.fromkeys(map(_name, sorted(rules.goals)), "number")
    features: dict[str, Kind] = {name: "number" for name, _ in rules.features}
    return counted | features | {name: kind for name, (kind, _) in NAMES.items()}


def facts(snapshot: Snapshot, rules: Rules) -> dict[str, Any]:
    """What each name is for somebody with this snapshot.

    A feature, and an event, is 1 once it was used or came; more where a condition of the rules compares how often.
    """
    counted = snapshot.get("numbers") or {}
    features, clients = snapshot["features"], snapshot["clients"]["known"]
    forms, journeys, goals = snapshot["forms"], snapshot["journeys"], snapshot.get("last_goals") or {}
    plan = rules.file.plans.get(snapshot.get("plan") or "")
    ever = {_name(kind): int(kind in goals) for kind in rules.goals} | {
        name: int(name in features) for name, _ in rules.features
    }
    found: dict[str, Any] = {name: max(counted.get(name, 0), least) for name, least in ever.items()}
    if "form_created" in found:
        found["form_created"] = forms["created"]
    return found | {
        "plan": snapshot.get("plan") or "",
        "level": snapshot.get("level") or "",
        "score": snapshot.get("score") or 0,
        "clients_known": clients,
        "clients_active": snapshot["clients"]["active"],
        "plan_clients_percent": 100 * clients / plan.clients if plan and plan.clients else 0,
        "plan_forms_percent": 100 * forms["created"] / plan.forms if plan and plan.forms else 0,
        "features_used": len({name for name, _ in rules.features}.intersection(features)),
        "journeys_active": journeys["active"],
        "forms_sent": forms["sent"],
        "forms_completed": forms["completed"],
        "journeys_sent": journeys["sent"],
        "journeys_opened": journeys["opened"],
    }


def as_table(rules: Rules) -> str:
    """The names for people, in Markdown."""
    ever = {name: ("number", "1 once it was used") for name, _ in rules.features}
    ever |= {
        _name(kind): ("number", f"1 once {kind} came")
        for kind in sorted(rules.goals)
        if _name(kind) not in ever
    }
    if "form_created" in ever:
        ever["form_created"] = ("number", "how often form.created came")
    rows = (f"| `{name}` | {kind} | {means} |" for name, (kind, means) in sorted((ever | NAMES).items()))
    return "\n".join(["| name | | what it is |", "|---|---|---|", *rows])


def compiled(text: str, names: Mapping[str, Kind]) -> Holds:
    """An expression as a function of the facts. Raises `ExpressionError`, which says what is wrong with it."""
    return over_mapping(parse(text, names))


def _name(kind: str) -> str:
    return kind.replace(".", "_")
