"""Recommendations against the machine: the points that are promised are those that the events bring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.advice.recommend import LONGEST_WAY, points_gained, recommend, way_up
from scoring.health.machine import advance, apply
from scoring.health.rules import SHIPPED
from scoring.health.snapshot import snapshot
from scoring.health.state import State, decode, encode
from scoring.time import DAY
from tests.forms import examples
from tests.reference.events import event
from tests.scoring.health.suppliers import MONDAY_9, SUPPLIER

Told = list[tuple[str, dict[str, Any]]]


def quiet_client(state: State) -> str:
    """A client without activity; the first one, if there is none at all."""
    return next(
        (client for client, last in state.clients.items() if not last), next(iter(state.clients), "new")
    )


EVENTS: dict[str, Callable[[State], Told]] = {
    "log_in": lambda _: [("supplier.logged_in", {})],
    "import_clients": lambda _: [("client.imported", {"client_ids": ["imported"]})],
    "import_the_rest": lambda _: [("client.imported", {"client_ids": ["imported"]})],
    "create_form": lambda _: [("form.created", {"form_id": "f"})],
    "use_template": lambda _: [("template.used", {"template_id": "t"})],
    "create_journey": lambda _: [("journey.created", {"journey_id": "j"})],
    "send_form": lambda state: [
        ("form.sent", {"form_id": "f"}),
        ("form.completed", {"form_id": "f", "client_id": quiet_client(state)}),
    ],
    "remind_about_form": lambda state: [
        ("form.completed", {"form_id": "f", "client_id": quiet_client(state)})
    ],
    "switch_on_journey": lambda state: [
        ("journey.activated", {"journey_id": "j"}),
        ("journey.email_sent", {"journey_id": "j", "message_id": "m"}),
        (
            "journey.email_opened",
            {"journey_id": "j", "message_id": "m", "client_id": quiet_client(state)},
        ),
    ],
    "reach_unopened": lambda state: [
        ("journey.email_opened", {"journey_id": "j", "message_id": "m", "client_id": quiet_client(state)})
    ],
}
"""The events that each action stands for."""


def do(state: State, action: str, at: int) -> State:
    """The state after an action; the one given stays as it is."""
    after = decode(encode(state))
    for number, (kind, data) in enumerate(EVENTS[action](after)):
        apply(after, SUPPLIER, event(kind, at, f"{action}{number}{at}{after.seq}", **data))
    return after


CLIENTS = st.sampled_from([f"c{number}" for number in range(12)])
STEPS = st.one_of(
    st.just(("supplier.logged_in", {})),
    st.builds(lambda who: ("client.imported", {"client_ids": [who]}), CLIENTS),
    st.builds(lambda who: ("client.active", {"client_id": who}), CLIENTS),
    st.builds(lambda who: ("form.completed", {"form_id": "f", "client_id": who}), CLIENTS),
    st.builds(
        lambda who: ("journey.email_opened", {"journey_id": "j", "message_id": "m", "client_id": who}),
        CLIENTS,
    ),
    st.just(("form.created", {"form_id": "f"})),
    st.just(("form.sent", {"form_id": "f"})),
    st.just(("template.used", {"template_id": "t"})),
    st.just(("journey.created", {"journey_id": "j"})),
    st.just(("journey.activated", {"journey_id": "j"})),
    st.just(("journey.email_sent", {"journey_id": "j", "message_id": "m"})),
    st.just(("plan.changed", {"plan": "free"})),
)


@st.composite
def lives(draw: st.DrawFn) -> State:
    """A supplier after up to 30 events in up to 60 days."""
    state, at = State(), MONDAY_9
    apply(state, SUPPLIER, event("supplier.signed_up", at, "signed up"))
    for number, (kind, data) in enumerate(draw(st.lists(STEPS, max_size=30))):
        at += draw(st.integers(0, 2 * DAY))
        apply(state, SUPPLIER, event(kind, at, str(number), **data))
    advance(state, SUPPLIER, at + draw(st.integers(0, 20 * DAY)))
    snapshot(state)
    return state


@settings(max_examples=examples(150))
@given(lives())
def test_the_points_are_those_that_the_actions_events_bring(state: State) -> None:
    for advice in recommend(snapshot(decode(encode(state)))):
        after = do(state, advice.id, state.clock)
        assert round(after.sum - state.sum, 9) == advice.points
        assert (after.level if after.level != state.level else None) == advice.reaches


@settings(max_examples=examples(100))
@given(lives())
def test_the_way_up_leads_where_it_says(state: State) -> None:
    way = way_up(snapshot(decode(encode(state))))
    if way is None:
        return
    here = state
    for step in way.steps:
        assert here.level == state.level, "the way goes on after the level is reached"
        there = do(here, step.id, here.clock)
        assert round(there.sum - here.sum, 9) == step.points
        here = there
    assert here.level == way.reaches != state.level
    assert round(here.sum - state.sum, 9) == way.points
    assert way.minutes == sum(step.minutes for step in way.steps)


def stuck(**given: Any) -> dict[str, Any]:
    """A snapshot at risk, at 65 points, that has just logged in."""
    return {
        "level": "at_risk",
        "sum": 65.0,
        "breakdown": {"loginFrequency": 30.0},
        "features": ["clients_imported", "forms_created"],
        "clients": {"known": 10, "active": 7},
        "forms": {"created": 1, "sent": 2, "completed": 1},
        "journeys": {"active": 0, "sent": 0, "opened": 0},
        "plan": "free",
    } | given


def test_the_cheapest_way_is_the_one_of_fewest_minutes() -> None:
    # 30 + 12.5 + 17.5 + 5 = 65; healthy is reached at 73
    way = way_up(stuck())
    assert way is not None
    assert way.reaches == "healthy"
    # the form that is out: 5 points and 2.5 for its client make 72.5; another form is quicker than a template
    assert {step.id for step in way.steps} == {"remind_about_form", "send_form"}
    assert way.minutes == 2 + 2


def test_who_was_away_logs_in_first() -> None:
    way = way_up(stuck(breakdown={"loginFrequency": 10.0}))
    assert way is not None
    assert way.steps[0].id == "log_in"
    assert way.steps[0].points == 20


def test_logging_in_is_not_recommended_to_who_is_reading_it() -> None:
    assert "log_in" not in {each.id for each in recommend(stuck(breakdown={"loginFrequency": 0.0}))}


def test_who_is_healthy_needs_no_way_up() -> None:
    assert way_up(stuck(level="healthy")) is None


def test_a_way_of_many_steps_is_none() -> None:
    far = stuck(clients={"known": 5000, "active": 0}, forms={"created": 1, "sent": 900, "completed": 0})
    assert way_up(far) is None
    assert LONGEST_WAY == 6


def test_an_action_that_reaches_healthy_says_so() -> None:
    near = stuck(clients={"known": 10, "active": 8})
    impact = {each.id: each.estimated_impact for each in recommend(near)}
    # 67.5 + 5 + 2.5 = 75
    assert impact["remind_about_form"] == "+8 points, reaches healthy"
    # 73.75: hysteresis asks for 73
    assert impact["use_template"] == "+6 points, reaches healthy"
    assert SHIPPED.next_level("at_risk", 67.5 + 6.25) == "healthy"


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (6.25, "+6 points"),
        (6.5, "+7 points"),
        (35.0, "+35 points"),
        (1.0, "+1 point"),
        (1.4, "+1 point"),
        (0.97, "+1 point"),
        (0.4, "+0.4 points"),
    ],
)
def test_points_are_said_as_people_do(points: float, said: str) -> None:
    assert points_gained(points) == said


def test_priority_follows_the_order() -> None:
    rank = {"high": 0, "medium": 1, "low": 2}
    found = [rank[each.priority] for each in recommend(stuck())]
    assert found == sorted(found)
