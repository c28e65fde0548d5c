"""Levels over time, movement and cohorts, from what the database tallies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from api.dashboard.population import cohorts, movement, over_time

NOON = datetime(2026, 1, 19, 12, 0, tzinfo=UTC)


def move(day: int, previous: str, level: str, suppliers: int) -> dict[str, Any]:
    return {
        "day": (NOON + timedelta(days=day)).date(),
        "previous": previous,
        "level": level,
        "suppliers": suppliers,
    }


MOVES = [
    move(-5, "", "critical", 10),
    move(-3, "critical", "healthy", 4),
    move(-1, "healthy", "at_risk", 1),
    move(0, "critical", "", 2),
]


def test_levels_over_time_add_up_all_moves_also_those_before_the_chart() -> None:
    series = over_time(MOVES, (NOON - timedelta(days=2)).date(), NOON.date())
    assert [(day["critical"], day["at_risk"], day["healthy"]) for day in series] == [
        (6, 0, 4),
        (6, 1, 3),
        (4, 1, 3),
    ]


def test_movement_counts_what_lies_in_the_period() -> None:
    found = movement(MOVES, (NOON - timedelta(days=3)).date())
    assert found == {("critical", "healthy"): 4, ("healthy", "at_risk"): 1, ("critical", ""): 2}


def test_cohorts_come_newest_first_and_the_unknown_last() -> None:
    weeks = [NOON.date() - timedelta(days=7 * back) for back in (0, 1)]
    standing = [
        {"cohort": cohort, "level": "healthy", "band": 15, "suppliers": 2}
        for cohort in (None, weeks[1], weeks[0])
    ]
    assert [row["week"] for row in cohorts(standing)] == [*weeks, None]
