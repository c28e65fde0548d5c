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

KEY_FEATURES = ("forms_created", "clients_imported", "journeys_created", "templates_used")

LOGIN_BANDS = ((3 * DAY, 30), (7 * DAY, 20), (14 * DAY, 10), (30 * DAY, 5))
"""(age of the last login in ms below which, points)."""

NEVER_LOGGED_IN_DAYS = 999
ACTIVITY_WINDOW = 30 * DAY
JOURNEY_WINDOW_DAYS = 30

AT_RISK_FROM = 40
HEALTHY_FROM = 70
HYSTERESIS = 3
_RANK: dict[str, int] = {"critical": 0, "at_risk": 1, "healthy": 2}


def login_days(last_login: int | None, at: int) -> int:
    """Whole days since the last login, rounded down, at most 999; 999 if never."""
    if last_login is None:
        return NEVER_LOGGED_IN_DAYS
    return min(NEVER_LOGGED_IN_DAYS, (at - last_login) // DAY)


def login_points(last_login: int | None, at: int) -> float:
    """0 to 30 points by the age of the last login."""
    if last_login is not None:
        age = at - last_login
        for below, points in LOGIN_BANDS:
            if age < below:
                return float(points)
    return 0.0


def feature_points(features_used: int) -> float:
    """0 to 25 points: `features_used` of the four key features."""
    return 25 * features_used / len(KEY_FEATURES)


def client_points(active: int, known: int) -> float:
    """0 to 25 points: the share of known clients that were active; 0 without clients."""
    return 25 * active / known if known else 0.0


def ratio_points(done: int, sent: int) -> float:
    """0 to 10 points: forms completed, or journey emails opened, a send, at most 1; 0 without sends."""
    return 10 * min(done, sent) / sent if sent else 0.0


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


def plain_level(
    score_sum: float, at_risk_from: float = AT_RISK_FROM, healthy_from: float = HEALTHY_FROM
) -> Level:
    """The level without memory."""
    if score_sum < at_risk_from:
        return "critical"
    return "at_risk" if score_sum < healthy_from else "healthy"


def next_level(
    current: Level | None,
    score_sum: float,
    at_risk_from: float = AT_RISK_FROM,
    healthy_from: float = HEALTHY_FROM,
    hysteresis: float = HYSTERESIS,
) -> Level:
    """The level with hysteresis: worse at once, better only 3 points above the better level's threshold.

    Only a what-if gives other thresholds (`scale.Scale`).
    """
    plain = plain_level(score_sum, at_risk_from, healthy_from)
    if current is None or _RANK[plain] <= _RANK[current]:
        return plain
    if score_sum >= healthy_from + hysteresis:
        return "healthy"
    if current == "critical" and score_sum >= at_risk_from + hysteresis:
        return "at_risk"
    return current


def is_worse(level: Level, than: Level) -> bool:
    """Whether `level` is further from healthy than `than`."""
    return _RANK[level] < _RANK[than]
