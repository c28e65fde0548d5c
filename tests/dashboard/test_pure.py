"""What needs no database: intervals, the order of calls, the timeline, words, mended letters."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dashboard import words
from api.dashboard.intervals import Interval, difference, share, verdict
from api.dashboard.letters import Letter, Mended, judge
from api.dashboard.population import cohorts, movement, over_time
from api.dashboard.priority import priority
from api.dashboard.rendering import as_json, points, relative
from api.dashboard.timeline import timeline
from scoring.churn import SIGNALS
from scoring.decide import Reason
from scoring.metrics import COMPONENTS
from scoring.policy import Channel, Policy
from scoring.signals import MILESTONES
from store.dashboard_supplier import Happened
from topics.catalog import ACTIVITY, INTERVENTIONS, PROFILES
from topics.outcome import Refusal
from topics.time import parse_time

NOON = datetime(2026, 1, 19, 12, 0, tzinfo=UTC)
HOURS = Policy.load().hours
SARAH = "11111111-1111-4111-8111-111111111111"


# intervals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilsons_interval_is_the_published_one(hits: int, total: int, low: float, high: float) -> None:
    found = share(hits, total)
    assert found is not None
    assert found.value == hits / total
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_newcombes_interval_is_the_published_one() -> None:
    """56 of 70 against 48 of 80: Newcombe 1998, table II, method 10."""
    first, second = share(56, 70), share(48, 80)
    assert first is not None
    assert second is not None
    found = difference(first, second)
    assert (round(found.value, 4), round(found.low, 4), round(found.high, 4)) == (0.2, 0.0524, 0.3339)


@given(st.integers(0, 5000), st.integers(1, 5000))
def test_an_interval_holds_its_share_and_stays_within_0_and_1(hits: int, total: int) -> None:
    hits = min(hits, total)
    found = share(hits, total)
    assert found is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_of_nothing_there_is_no_share_and_of_less_than_nothing_an_error() -> None:
    assert share(0, 0) is None
    with pytest.raises(ValueError, match="no share"):
        share(3, 2)


def test_a_difference_is_decided_when_its_interval_leaves_zero_out() -> None:
    assert verdict(Interval(0.1, 0.01, 0.2)) == "better"
    assert verdict(Interval(-0.1, -0.2, -0.01)) == "worse"
    assert verdict(Interval(0.1, -0.01, 0.2)) == "not decided"


# whom to call ----------------------------------------------------------------------------------------


def facts(**given_: Any) -> dict[str, Any]:
    """A supplier at risk, awake, who logged in yesterday; keywords replace facts."""
    return {
        "churn_probability": 0.5,
        "value": 4.0,
        "timezone": "Europe/London",
        "cancelled": False,
        "all_opt_out": False,
        "held": False,
        "paused_until": None,
        "booked": None,
        "asked": None,
        "last_done": None,
        "last_missed": None,
        "last_login": NOON - timedelta(days=1),
        "last_read": None,
    } | given_


def test_urgency_is_risk_times_value_times_reach() -> None:
    urgency = priority(facts(), NOON, HOURS)
    assert (urgency.risk, urgency.value, urgency.reach) == (0.5, 4.0, 1.0)
    assert urgency.score == 2.0
    assert urgency.why == ("12:00 her time",)


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
        {"held": True},
        {"paused_until": NOON + timedelta(days=1)},
        {"booked": NOON + timedelta(days=1)},
        {"last_done": NOON - timedelta(days=6)},
    ],
)
def test_who_must_not_be_called_is_not_urgent_and_it_says_why(given_: dict[str, Any]) -> None:
    urgency = priority(facts(**given_), NOON, HOURS)
    assert urgency.score == 0
    assert urgency.against


def test_a_break_that_is_over_and_a_talk_last_week_stand_against_nothing() -> None:
    past = {"paused_until": NOON - timedelta(days=1), "last_done": NOON - timedelta(days=8)}
    assert priority(facts(**past), NOON, HOURS).against is None


# the timeline ----------------------------------------------------------------------------------------


def change(hours_ago: float, score: int, delta: float, previous: str | None = None) -> dict[str, Any]:
    cause = {"component": "clientActivity", "before": 0, "after": delta, "event": "time"}
    return {
        "at": NOON - timedelta(hours=hours_ago),
        "seq": int(1000 - hours_ago),
        "score": score,
        "level": "at_risk",
        "causes": [cause],
        "previous": previous,
        "new_level": previous is not None,
    }


def happened(**given_: list[dict[str, Any]]) -> Happened:
    empty: dict[str, list[dict[str, Any]]] = {name: [] for name in Happened._fields}
    return Happened(**(empty | given_))


def note(hours_ago: float, text: str) -> dict[str, Any]:
    return {"at": NOON - timedelta(hours=hours_ago), "noted_by": "emma", "note": text}


@pytest.mark.parametrize(
    ("actor", "role", "by"),
    [("emma", "agent", "emma"), ("11111111-1111-4111-8111-111111111111", "supplier", "herself")],
)
def test_what_she_did_herself_is_told_without_her_id(actor: str, role: str, by: str) -> None:
    act = {"at": NOON, "actor": actor, "actor_role": role, "action": "data.export", "details": {}}
    [entry], _ = timeline(happened(acts=[act]), 10)
    assert entry.by == by


def test_all_sources_are_one_column_newest_first() -> None:
    calls = {
        "interaction_type": "check_in",
        "status": "completed",
        "scheduled_at": None,
        "completed_at": NOON - timedelta(hours=2),
        "created_at": NOON - timedelta(hours=9),
        "notes": "talked",
        "outcome": "resolved",
    }
    entries, older = timeline(
        happened(changes=[change(1, 48, -10, "healthy")], calls=[calls], notes=[note(3, "hello")]), 10
    )
    assert [entry.title for entry in entries] == ["Healthy → At risk", "Check-in: completed", "Note"]
    assert entries[0].details == ("Client activity \N{MINUS SIGN}10 with time",)
    assert entries[2].by == "emma"
    assert older is None


def test_small_changes_in_a_row_are_told_as_one() -> None:
    changes = [change(1, 52, -1), change(30, 53, -1), change(60, 54, -1), change(61, 55, -9)]
    entries, _ = timeline(happened(changes=changes, notes=[note(62, "x")]), 10)
    assert [entry.title for entry in entries] == ["Score 54 → 52", "Score 55", "Note"]
    assert entries[0].details[0] == "Client activity \N{MINUS SIGN}3"


def test_a_page_never_parts_what_happened_at_the_same_moment() -> None:
    notes = [note(1, "a"), note(2, "b"), note(2, "c"), note(3, "d")]
    entries, older = timeline(happened(notes=notes), 2)
    assert [entry.details[0] for entry in entries] == ["a", "b", "c"]
    assert older == NOON - timedelta(hours=2)


# the population --------------------------------------------------------------------------------------


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


# words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "now"),
        (59, "now"),
        (-60, "in 1 min"),
        (3599, "59 min ago"),
        (7200, "2 h ago"),
        (3 * 86400, "3 d ago"),
    ],
)
def test_times_are_told_relative_to_now(seconds: int, said: str) -> None:
    assert relative(NOON - timedelta(seconds=seconds), NOON) == said


def test_points_carry_a_sign() -> None:
    assert [points(6.0), points(-2.54), points(0.04)] == ["+6", "\N{MINUS SIGN}2.5", "±0"]


def test_json_in_a_page_can_not_end_its_element() -> None:
    text = str(as_json({"name": "</script><b>"}))
    assert "<" not in text
    assert json.loads(text) == {"name": "</script><b>"}


def test_whatever_an_agent_may_read_has_words() -> None:
    assert set(SIGNALS) <= set(words.CHURN_SIGNALS)
    assert set(get_args(Reason)) <= set(words.REASONS)
    assert set(COMPONENTS) == set(words.COMPONENTS) == set(words.FULL_POINTS)
    assert set(get_args(Channel)) == set(words.CHANNELS)
    assert set(MILESTONES) == set(words.MILESTONES)


# dead letters ----------------------------------------------------------------------------------------


def event(**given_: Any) -> str:
    attributes = {
        "specversion": "1.0",
        "id": "1",
        "source": "/forms",
        "type": "form.created",
        "subject": SARAH,
        "time": "2026-01-19T09:00:00Z",
        "data": {"form_id": "f1"},
    } | given_
    return json.dumps(attributes)


def test_a_sound_letter_goes_to_its_topic_under_the_suppliers_id() -> None:
    mended = judge(ACTIVITY, event(), parse_time("2026-01-19T10:00:00Z"))
    assert isinstance(mended, Mended)
    assert (mended.topic, mended.key) == (ACTIVITY, SARAH)
    assert json.loads(mended.value)["data"] == {"form_id": "f1"}
    profile = judge(PROFILES, json.dumps({"id": SARAH, "first_name": "Sarah"}), 0)
    assert isinstance(profile, Mended)


@pytest.mark.parametrize(
    ("topic", "text", "code"),
    [
        (ACTIVITY, "{", "not_json"),
        (ACTIVITY, "[]", "not_json"),
        (ACTIVITY, event(subject=None), "missing_field"),
        (ACTIVITY, event(subject="sarah"), "subject_not_uuid"),
        (ACTIVITY, event(data={}), "missing_field"),
        (ACTIVITY, event(time="2027-01-01T00:00:00Z"), "future_time"),
        (ACTIVITY, event(type="form.eaten"), "wrong_field"),
        (PROFILES, json.dumps({"id": SARAH, "email": "no address"}), "wrong_field"),
        (INTERVENTIONS, event(), "wrong_field"),
    ],
)
def test_what_would_be_refused_again_is_not_published(topic: str, text: str, code: str) -> None:
    verdict_ = judge(topic, text, parse_time("2026-01-19T10:00:00Z"))
    assert isinstance(verdict_, Refusal)
    assert verdict_.code == code


def letter(value: bytes | None, **headers: bytes) -> Letter:
    return Letter(0, 1, NOON, SARAH, value, headers, "not_json: x", ACTIVITY, "supplier.activity[0]@1")


def test_a_binary_event_is_shown_as_a_structured_one() -> None:
    text = letter(b'{"form_id": "f1"}', ce_id=b"7", ce_type=b"form.created").editable()
    assert json.loads(text) == {"id": "7", "type": "form.created", "data": {"form_id": "f1"}}


def test_what_is_no_json_is_shown_as_it_came() -> None:
    assert letter(b"{oops").editable() == "{oops"
    assert letter(None).editable() == ""
    assert not letter(b"\xff\xfe").is_text
