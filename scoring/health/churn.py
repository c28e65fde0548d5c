"""How likely a supplier is to cancel within 30 days: a transparent logistic model of their metrics and their changes.

The coefficients are data (`churn.toml`), whose `origin` says what they were fitted on. `success fit-churn` writes
such a file; `docs/churn.md` explains every signal. Nothing here needs numpy: snapshots are made in the hot path.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from math import exp, log
from operator import mul
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from scoring.health.state import State
from scoring.time import DAY

SIGNALS = (
    "login_silence",
    "overdue",
    "slow_rhythm",
    "few_logins",
    "rare_logins",
    "login_fall",
    "unused_features",
    "inactive_clients",
    "uncompleted_forms",
    "unopened_journeys",
    "feature_fall",
    "client_fall",
    "form_fall",
    "journey_fall",
    "unusual_silence",
    "unlikely_return",
)
"""The model's inputs, in the order of `signal_values`: 0 (good) to 1 (bad); a fall is -1 (grew) to 1 (fell)."""
ADDED = frozenset(SIGNALS[-2:])
"""Those that models fitted earlier say nothing of: there they weigh nothing."""

_SILENCE_DAYS = 30
_MONTH_DAYS = 28
_MONTH_MASK = (1 << _MONTH_DAYS) - 1
_WEEK_DAYS = 7
_WEEK_MASK = (1 << _WEEK_DAYS) - 1
_ASSUMED_GAP_DAYS = 7.0
_ASSUMED_GAPS = 2
"""Everybody's rhythm starts from two gaps of a week, which their own soon outweigh."""
_CDNOW_R, _CDNOW_ALPHA, _CDNOW_A, _CDNOW_B = 0.243, 4.414, 0.793, 2.426
"""BG/NBD as Fader, Hardie & Lee (2005) fitted it to purchases at CDNOW; their weeks are days here."""
_HORIZON_DAYS = 30
_MOST_OVERDUE = 6.0
"""Usual gaps of silence beyond which it makes no difference."""
_REMEMBERED_DAYS = 63
_REMEMBERED_MASK = (1 << _REMEMBERED_DAYS) - 1
_HALF_LIFE_DAYS = 14
_KEPT_DAYS = 3_650
_KEPT = [0.5 ** (days / _HALF_LIFE_DAYS) for days in range(_KEPT_DAYS + 1)]
"""What is left of a day's weight after so many days; next to nothing after ten years."""


class ModelError(ValueError):
    """A churn model's file can't be used; the message says why."""


class ChurnModel(msgspec.Struct, forbid_unknown_fields=True):
    """`churn.toml`: where it comes from, the intercept and one weight a signal."""

    origin: str
    intercept: float
    weights: dict[str, float]
    days: float = 1.0
    """How many real days one day of the signals' bands and windows is; anything but 1 belongs to another business."""
    provenance: dict[str, Any] = {}
    """What it was fitted and measured on, for people."""


class Contribution(NamedTuple):
    """One signal's part in a probability: `value * weight` is what it adds to the logit."""

    signal: str
    value: float
    weight: float


@cache
def default_model() -> ChurnModel:
    """The model that ships with the package."""
    return parse_model(files("scoring").joinpath("churn.toml").read_text(encoding="utf-8"), "churn.toml")


def load_model(path: Path) -> ChurnModel:
    """The model in a file that `success fit-churn` wrote; ModelError if it is none."""
    try:
        return parse_model(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ModelError(f"{path}: can't be read ({error.strerror})") from error


def parse_model(text: str, origin: str) -> ChurnModel:
    """The model that a TOML text holds; `origin` is what errors call it."""
    try:
        model = msgspec.convert(tomllib.loads(text), ChurnModel)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ModelError(f"{origin}: is no churn model: {error}") from error
    if wrong_names := (set(model.weights) ^ set(SIGNALS)) - (ADDED - set(model.weights)):
        wrong = ", ".join(sorted(wrong_names))
        raise ModelError(f"{origin}: one weight for each signal is needed, and no other; look at: {wrong}")
    return model


def remember_login(state: State, at: int) -> None:
    """Note the date of a login (ms, UTC), which may be late."""
    day = at // DAY
    newer = day - state.login_day
    if newer > 0:
        state.login_days = (state.login_days << min(newer, _REMEMBERED_DAYS) | 1) & _REMEMBERED_MASK
        state.login_day = day
        state.first_login_day = state.first_login_day or day
        state.login_count += 1
    elif newer > -_REMEMBERED_DAYS and not state.login_days >> -newer & 1:
        state.login_days |= 1 << -newer
        state.first_login_day = min(state.first_login_day, day)
        state.login_count += 1


def remember_points(state: State, day: int) -> None:
    """Bring what is usual for them up to the start of UTC day `day`, before the points change on it."""
    if state.usual_day and day > state.usual_day:
        state.usual = _usual(state, day)
    state.usual_day = max(day, state.usual_day)


def _usual(state: State, day: int) -> list[float]:
    points, usual = state.points, state.usual
    if not usual:
        return points.copy()  # how their first day ended
    if usual == points:
        return usual
    kept = _KEPT[min(max(0, day - state.usual_day), _KEPT_DAYS)]
    a, b, c, d, e = points
    was_a, was_b, was_c, was_d, was_e = usual
    return [
        a + (was_a - a) * kept,
        b + (was_b - b) * kept,
        c + (was_c - c) * kept,
        d + (was_d - d) * kept,
        e + (was_e - e) * kept,
    ]


def churn_signals(state: State, weights: Sequence[float], at: int | None = None) -> dict[str, float]:
    """The model's inputs by name, as of `at` (ms; default: the clock), which nothing is due before."""
    return dict(zip(SIGNALS, signal_values(state, state.clock if at is None else at, weights), strict=True))


def signal_values(state: State, at: int, weights: Sequence[float]) -> tuple[float, ...]:
    """The inputs in the order of `SIGNALS`, each to 4 decimals; `weights`: the most points of each component."""
    points, usual = state.points, _usual(state, at // DAY)
    _, features, clients, forms, journeys = points
    _, of_features, of_clients, of_forms, of_journeys = (each or 1.0 for each in weights)
    silence, rare, fall = _logins(state, at)
    gap = _usual_gap(state)
    unusual, unlikely = _as_visits(state, at)
    return (
        round(min(silence, _SILENCE_DAYS) / _SILENCE_DAYS, 4),
        round(min(silence / gap, _MOST_OVERDUE) / _MOST_OVERDUE, 4),
        round(gap / (gap + _ASSUMED_GAP_DAYS), 4),
        round(1 / (1 + state.login_count), 4),
        round(rare, 4),
        round(fall, 4),
        1 - features / of_features,
        round(1 - clients / of_clients, 4),
        round(1 - forms / of_forms, 4),
        round(1 - journeys / of_journeys, 4),
        0.0 if usual[1] == features else round((usual[1] - features) / of_features, 4),
        0.0 if usual[2] == clients else round((usual[2] - clients) / of_clients, 4),
        0.0 if usual[3] == forms else round((usual[3] - forms) / of_forms, 4),
        0.0 if usual[4] == journeys else round((usual[4] - journeys) / of_journeys, 4),
        round(unusual, 4),
        round(unlikely, 4),
    )


def _usual_gap(state: State) -> float:
    """Days between two of their days with a login."""
    gaps = max(0, state.login_count - 1)
    span = state.login_day - state.first_login_day
    return (span + _ASSUMED_GAPS * _ASSUMED_GAP_DAYS) / (gaps + _ASSUMED_GAPS)


def _as_visits(state: State, at: int) -> tuple[float, float]:
    """How unusual their silence is for as many days with a login, and how unlikely one within 30 days; 0..1 each.

    The second is BG/NBD's chance: they are gone after one of those days, or will not come.
    """
    visits = state.login_count
    if not visits:
        return 1.0, 1.0
    span = state.login_day - state.first_login_day
    age = max(at / DAY - state.first_login_day, span)
    evidence = visits * log((_ASSUMED_GAP_DAYS + age) / (_ASSUMED_GAP_DAYS + span))
    rate = _CDNOW_R + visits - 1
    gone = 0.0
    if visits > 1:
        stretched = (_CDNOW_ALPHA + span) / (_CDNOW_ALPHA + age)
        gone = _CDNOW_A / (_CDNOW_A + (_CDNOW_B + visits - 2) * stretched**rate)
    none = ((_CDNOW_ALPHA + age) / (_CDNOW_ALPHA + age + _HORIZON_DAYS)) ** rate
    return evidence / (1 + evidence), 1 - (1 - gone) * (1 - none)


def _logins(state: State, at: int) -> tuple[float, float, float]:
    """Days of silence, how rare their logins are (0..1), and how far they fell (-1..1)."""
    if state.last_login is None:
        return 999.0, 1.0, 0.0
    silence = max(0.0, (at - state.last_login) / DAY)
    recent = state.login_days << max(0, min(at // DAY - state.login_day, _MONTH_DAYS))
    known = _MONTH_DAYS
    if state.signed_up_at is not None:
        known = max(1, min(_MONTH_DAYS, (at - state.signed_up_at) // DAY + 1))
    share = min(1.0, (recent & _MONTH_MASK).bit_count() / known)
    lately = (recent & _WEEK_MASK).bit_count() / min(_WEEK_DAYS, known)
    return silence, 1 - share, share - min(1.0, lately)


def churn_probability(state: State, weights: Sequence[float], model: ChurnModel | None = None) -> float:
    """Probability 0..1 by the model (None: ours), to 4 decimals, as of the clock.

    It is `probability(churn_signals(state, weights))` without the dict: every change of level makes one.
    """
    intercept, of_signals = _default_weights() if model is None else _weights(model)
    values = signal_values(state, state.clock, weights)
    total = intercept
    for part in map(mul, of_signals, values):  # `sum` rounds in another way from Python 3.12 on
        total += part
    return _logistic(total)


@cache
def _default_weights() -> tuple[float, tuple[float, ...]]:
    return _weights(default_model())


def _weights(model: ChurnModel) -> tuple[float, tuple[float, ...]]:
    return model.intercept, tuple(model.weights.get(name, 0.0) for name in SIGNALS)


def probability(signals: Mapping[str, float], model: ChurnModel | None = None) -> float:
    """The probability, 0..1 to 4 decimals, that these signals (a snapshot's `churn_signals`) give."""
    model = model or default_model()
    weights = model.weights
    logit = model.intercept
    for name, value in signals.items():
        logit += weights.get(name, 0.0) * value
    return _logistic(logit)


def _logistic(logit: float) -> float:
    return round(1 / (1 + exp(-logit)), 4)


def explain(signals: Mapping[str, float], model: ChurnModel | None = None) -> list[Contribution]:
    """Each signal's (signal, value, weight), what raises the probability most first.

    `signals`: a snapshot's `churn_signals` (in Postgres `customer_health.facts -> 'churn_signals'`). The
    probability is the logistic function of `model.intercept` plus the sum of `value * weight`.
    """
    weights = (model or default_model()).weights
    parts = [Contribution(name, value, weights.get(name, 0.0)) for name, value in signals.items()]
    return sorted(parts, key=lambda part: -part.value * part.weight)
