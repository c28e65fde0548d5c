"""How likely a supplier is to cancel within 30 days: a transparent logistic model over the five metrics.

The coefficients are data (`churn.toml`), whose `origin` says what they were fitted on.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from math import exp

import msgspec

from scoring.metrics import LOGIN_BANDS, login_days
from scoring.state import State
from scoring.time import DAY

_SILENCE_DAYS = LOGIN_BANDS[-1][0] // DAY


class ChurnModel(msgspec.Struct, forbid_unknown_fields=True):
    """`churn.toml`: where it comes from, the intercept and one weight a signal."""

    origin: str
    intercept: float
    weights: dict[str, float]


@cache
def default_model() -> ChurnModel:
    """The model that ships with the package."""
    text = files("scoring").joinpath("churn.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), ChurnModel)


def churn_signals(state: State) -> dict[str, float]:
    """The model's inputs, each 0 (good) to 1 (bad), as of the last evaluation."""
    silent = min(login_days(state.last_login, state.evaluated_at), _SILENCE_DAYS)
    points = state.points
    return {
        "login_silence": silent / _SILENCE_DAYS,
        "unused_features": 1 - points[1] / 25,
        "inactive_clients": 1 - points[2] / 25,
        "uncompleted_forms": 1 - points[3] / 10,
        "unopened_journeys": 1 - points[4] / 10,
    }


def churn_probability(state: State, model: ChurnModel | None = None) -> float:
    """Probability 0..1, to 4 decimals."""
    model = model or default_model()
    logit = model.intercept
    for name, value in churn_signals(state).items():
        logit += model.weights[name] * value
    return round(1 / (1 + exp(-logit)), 4)
