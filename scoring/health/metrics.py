"""The score formula (contract section 5): five components, their points, the level with hysteresis.

Points are floats computed by one exact multiplication and one division each, so equal ratios give equal
floats; the sum is rounded to 9 decimals before it is compared or shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import Literal

from scoring.time import DAY

Level = Literal["critical", "at_risk", "healthy"]

COMPONENTS = ("loginFrequency", "featureAdoption", "clientActivity", "formCompletion", "journeyPerformance")
LOGIN, FEATURES, CLIENTS, FORMS, JOURNEYS = range(5)

NEVER_LOGGED_IN_DAYS = 999
ACTIVITY_WINDOW = 30 * DAY
JOURNEY_WINDOW_DAYS = 30

LEVELS: tuple[Level, ...] = ("critical", "at_risk", "healthy")
_RANK: dict[str, int] = {"critical": 0, "at_risk": 1, "healthy": 2}


def login_days(last_login: int | None, at: int) -> int:
    """Whole days since the last login, rounded down, at most 999; 999 if never."""
    if last_login is None:
        return NEVER_LOGGED_IN_DAYS
    return min(NEVER_LOGGED_IN_DAYS, (at - last_login) // DAY)


def login_points(last_login: int | None, at: int, bands: Sequence[tuple[int, float]]) -> float:
    """Points by the age of the last login: those of the first band that it is younger than; 0 beyond the last."""
    if last_login is not None:
        age = at - last_login
        for below, points in bands:
            if age < below:
                return points
    return 0.0


def feature_points(used: int, features: int, most: float) -> float:
    """0 to `most` points: so many of the key features used."""
    return most * used / features


def client_points(active: int, known: int, most: float) -> float:
    """0 to `most` points: the share of known clients that were active; 0 without clients."""
    return most * active / known if known else 0.0


def ratio_points(done: int, sent: int, most: float) -> float:
    """0 to `most` points: forms completed, or journey emails opened, a send, at most 1; 0 without sends."""
    return most * min(done, sent) / sent if sent else 0.0


def total(points: Sequence[float]) -> float:
    """The unrounded score: the sum of the points, to 9 decimals."""
    login, features, clients, forms, journeys = points
    exact = login + features + clients + forms + journeys
    # What round(exact, 9) gives, in half its time: where the nearest billionth is beyond doubt, dividing by
    # 1e9 is the one rounding that is left.
    billionths = exact * 1e9
    nearest = int(billionths + 0.5)
    return nearest / 1e9 if -0.49 < billionths - nearest < 0.49 else round(exact, 9)  # noqa: PLR2004


def displayed(score_sum: float) -> int:
    """The score as people see it: half up, never banker's rounding."""
    return floor(score_sum + 0.5)


def percent(ratio: float) -> int:
    """A ratio 0..1 as a percent column."""
    return floor(round(ratio * 100, 9) + 0.5)


def plain_level(score_sum: float, at_risk_from: float, healthy_from: float) -> Level:
    """The level without memory."""
    if score_sum < at_risk_from:
        return "critical"
    return "at_risk" if score_sum < healthy_from else "healthy"


def next_level(
    current: Level | None, score_sum: float, at_risk_from: float, healthy_from: float, margin: float
) -> Level:
    """The level with hysteresis: worse at once, better only `margin` points above the better level's threshold."""
    plain = plain_level(score_sum, at_risk_from, healthy_from)
    if current is None or _RANK[plain] <= _RANK[current]:
        return plain
    if score_sum >= healthy_from + margin:
        return "healthy"
    if current == "critical" and score_sum >= at_risk_from + margin:
        return "at_risk"
    return current


def is_worse(level: str, than: str) -> bool:
    """Whether `level` is further from healthy than `than`."""
    return _RANK[level] < _RANK[than]
