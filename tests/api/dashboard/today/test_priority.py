"""Whom to call first: risk, value and reach, and who must not be called."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.dashboard.today.priority import not_to_do, priority
from scoring.decisions.policy import Policy

NOON = datetime(2026, 1, 19, 12, 0, tzinfo=UTC)
HOURS = Policy.load().hours


def facts(**given_: Any) -> dict[str, Any]:
    """A supplier at risk, awake, who logged in yesterday; keywords replace facts."""
    return {
        "churn_probability": 0.5,
        "value": 4.0,
        "timezone": "Europe/London",
        "cancelled": False,
        "all_opt_out": False,
        "held_until": None,
        "paused_until": None,
        "booked": None,
        "asked": None,
        "last_done": None,
        "last_missed": None,
        "last_declined": None,
        "owner": None,
        "level": "at_risk",
        "last_login": NOON - timedelta(days=1),
        "last_read": None,
    } | given_


def test_urgency_is_risk_times_value_times_reach() -> None:
    urgency = priority(facts(), NOON, HOURS)
    assert (urgency.risk, urgency.value, urgency.reach) == (0.5, 4.0, 1.0)
    assert urgency.score == 2.0
    assert urgency.why == ("12:00 their time",)


@pytest.mark.parametrize(
    ("given_", "reach"),
    [
        ({"timezone": "Pacific/Auckland"}, 0.25),
        ({"timezone": None}, 1.0),
        ({"last_login": NOON - timedelta(days=30)}, 0.7),
        ({"last_login": None}, 0.7),
        ({"last_login": None, "last_read": NOON - timedelta(days=3)}, 1.0),
        ({"last_missed": NOON - timedelta(days=9)}, 0.7),
        ({"timezone": "Pacific/Auckland", "asked": NOON}, 0.375),
        ({"asked": NOON}, 1.0),
    ],
)
def test_reach_says_how_likely_a_call_comes_to_something(given_: dict[str, Any], reach: float) -> None:
    assert priority(facts(**given_), NOON, HOURS).reach == pytest.approx(reach)


@pytest.mark.parametrize(
    "given_",
    [
        {"cancelled": True},
        {"all_opt_out": True},
        {"held_until": NOON + timedelta(days=1)},
        {"paused_until": NOON + timedelta(days=1)},
        {"booked": NOON + timedelta(days=1)},
        {"last_done": NOON - timedelta(days=6)},
        {"last_declined": NOON - timedelta(days=6)},
    ],
)
def test_who_must_not_be_called_is_not_urgent_and_it_says_why(given_: dict[str, Any]) -> None:
    urgency = priority(facts(**given_), NOON, HOURS)
    assert urgency.score == 0
    assert urgency.against


def test_a_break_that_is_over_and_a_talk_last_week_stand_against_nothing() -> None:
    past = {"paused_until": NOON - timedelta(days=1), "last_done": NOON - timedelta(days=8)}
    assert priority(facts(**past), NOON, HOURS).against is None


OFFER = {"interaction_type": "churn_prevention", "added_by": None}
ADDED = OFFER | {"added_by": "emma"}
ASKED = {"interaction_type": "check_in", "added_by": None}


@pytest.mark.parametrize(
    ("given_", "offer", "added", "asked"),
    [
        ({}, True, True, True),
        ({"cancelled": True}, False, False, False),
        ({"all_opt_out": True}, False, False, True),
        ({"level": "healthy"}, False, True, True),
        ({"held_until": NOON + timedelta(days=1)}, False, True, True),
        ({"held_until": NOON + timedelta(days=1), "owner": "emma"}, True, True, True),
        ({"all_opt_out": True, "owner": "emma"}, False, False, True),
    ],
)
def test_what_the_engine_asked_for_ends_sooner_than_what_people_did(
    given_: dict[str, Any], offer: bool, added: bool, asked: bool
) -> None:
    found = [not_to_do(task, facts(**given_), NOON) is None for task in (OFFER, ADDED, ASKED)]
    assert found == [offer, added, asked]
