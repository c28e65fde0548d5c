"""Recommendations: what makes sense for them, and exactly what it would add."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.advice.recommend import best, recommend


def snapshot(**given: Any) -> dict[str, Any]:
    return {
        "features": ["clients_imported", "forms_created"],
        "clients": {"known": 5, "active": 2},
        "forms": {"created": 1, "sent": 2, "completed": 1},
        "journeys": {"active": 0, "sent": 0, "opened": 0},
    } | given


def points(**given: Any) -> dict[str, float]:
    return {each.id: each.points for each in recommend(snapshot(**given))}


def test_the_points_are_what_the_action_adds_to_the_score() -> None:
    # one of two forms is back and 2 of 5 clients are active: one more form back is 5 points for forms, 5 for clients
    assert points() == {
        "remind_about_form": 10.0,
        "send_form": pytest.approx(10 * (2 / 3 - 1 / 2) + 5, abs=1e-9),
        "use_template": 6.25,
        "create_journey": 6.25,
    }


def test_an_active_client_is_not_counted_twice() -> None:
    assert points(clients={"known": 5, "active": 5})["remind_about_form"] == 5.0


def test_without_clients_the_first_one_counts_fully() -> None:
    empty = points(
        features=["forms_created"],
        clients={"known": 0, "active": 0},
        forms=dict.fromkeys(("created", "sent", "completed"), 0),
    )
    assert empty["import_clients"] == 6.25
    assert empty["send_form"] == 35.0


def test_what_is_done_or_makes_no_sense_is_not_recommended() -> None:
    assert "create_form" not in points()
    assert "switch_on_journey" not in points()
    assert "remind_about_form" not in points(forms={"created": 1, "sent": 2, "completed": 2})
    waiting = points(features=["forms_created", "journeys_created"])
    assert waiting["switch_on_journey"] == 15.0


def test_the_best_is_worth_most_and_the_list_begins_with_most_points_a_minute() -> None:
    found = recommend(snapshot())
    assert best(snapshot()) == next(each for each in found if each.id == "remind_about_form")
    worth = [each.points / each.minutes for each in found]
    assert worth == sorted(worth, reverse=True)


def test_who_has_everything_gets_no_advice() -> None:
    full = snapshot(
        features=["clients_imported", "forms_created", "journeys_created", "templates_used"],
        clients={"known": 3, "active": 3},
        forms={"created": 1, "sent": 3, "completed": 3},
        journeys={"active": 1, "sent": 3, "opened": 3},
    )
    assert recommend(full) == []
    assert best(full) is None


COUNTS = st.integers(0, 30)


@given(
    st.sets(st.sampled_from(["clients_imported", "forms_created", "journeys_created", "templates_used"])),
    *[COUNTS] * 7,
)
def test_whoever_is_not_perfect_gets_advice_that_adds_points(
    features: set[str],
    known: int,
    active: int,
    sent: int,
    completed: int,
    running: int,
    mailed: int,
    opened: int,
) -> None:
    found = recommend(
        snapshot(
            features=sorted(features),
            clients={"known": known, "active": min(known, active)},
            forms={"created": 1, "sent": sent, "completed": completed},
            journeys={"active": running, "sent": mailed, "opened": opened},
        )
    )
    assert all(0 < each.points <= 35 for each in found)
    if len(features) < 4 and "clients_imported" in features:
        assert found
