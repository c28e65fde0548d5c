"""Writing a fitted churn model as the small file that `scoring/health/churn.py` reads, with where it comes from."""

from __future__ import annotations

import json

from replay.churn.fit import Evaluation

MEANINGS = {
    "login_silence": "days since the last login, at most 30, over 30 (never: 1)",
    "overdue": "silence in usual gaps between their days with a login, at most 6, over 6",
    "slow_rhythm": "usual gap / (usual gap + a week)",
    "few_logins": "1 / (1 + days with a login, ever)",
    "rare_logins": "share of the last 28 days without a login",
    "login_fall": "share of days with a login: of the last 28 less of the last 7",
    "unused_features": "share of the key features never used",
    "inactive_clients": "share of clients without activity in 30 days (no clients: 1)",
    "uncompleted_forms": "share of sent forms not completed (none sent: 1)",
    "unopened_journeys": "share of journey emails not opened (none sent: 1)",
    "feature_fall": "feature points: usual less present, of 25 (negative: grew)",
    "client_fall": "client points: usual less present, of 25",
    "form_fall": "form points: usual less present, of 10",
    "journey_fall": "journey points: usual less present, of 10",
    "unusual_silence": "silence for as many days with a login (docs/churn.md)",
    "unlikely_return": "BG/NBD's chance of no login within 30 days",
}


def model_toml(evaluation: Evaluation, made_by: str) -> str:
    """The file's text; `made_by` is the command line, so that anybody can make it again."""
    model, numbers = evaluation.model, evaluation.numbers
    aucs = {ranking.name: ranking.auc for ranking in evaluation.rankings}
    provenance = {
        "made_by": made_by,
        "log": numbers["log"],
        "users": numbers["users"],
        "events": numbers["events"],
        "horizon_days": numbers["horizon_days"],
        "leaving": numbers["leaving"],
        "split_at": numbers["split_at"],
        "fitted_on": numbers["fitted_on"],
        "measured_on": numbers["measured_on"],
        "auc": aucs,
        "brier": evaluation.brier,
        "brier_of_base_rate": evaluation.brier_of_base_rate,
    }
    lines = [
        "# Churn model, written by `success fit-churn`. Probability of leaving within the horizon =",
        "# 1 / (1 + exp(-(intercept + sum(weight * value)))). docs/churn.md explains signals and measurements.",
        f"origin = {_value(model.origin)}",
        f"intercept = {model.intercept!r}",
        f"days = {model.days!r}  # real days that a day of the signals' bands and windows is",
        "",
        "[weights]",
    ]
    width = max(len(f"{name} = {weight!r}") for name, weight in model.weights.items())
    lines += [
        f"{f'{name} = {weight!r}':<{width}}  # {MEANINGS[name]}" for name, weight in model.weights.items()
    ]
    lines += ["", "[provenance]"]
    lines += [f"{name} = {_value(value)}" for name, value in provenance.items()]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    """A TOML value: text, number, or an inline table of them."""
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{json.dumps(str(key))} = {_value(each)}" for key, each in value.items()) + " }"
        )
    return json.dumps(value, ensure_ascii=False)
