"""Which time is confirmed, which are proposed, and what may change of a call: the pure part."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.decisions.calls import Refusal, book, change, ends, judge, propose
from scoring.decisions.policy import Policy
from scoring.time import DAY, HOUR, MINUTE
from scoring.zones import zone_named
from topics.time import format_time, parse_time

POLICY = Policy.load()
HOURS = POLICY.calls
NOW = parse_time("2026-01-19T09:00:00Z")  # a Monday; London is on UTC


def at(text: str) -> int:
    return parse_time(text)


@pytest.mark.parametrize(
    ("time", "verdict"),
    [
        ("2026-01-19T09:00:00Z", "past"),  # now is too late
        ("2026-01-19T09:00:00.001Z", "free"),
        ("2026-01-18T10:00:00Z", "past"),
        ("2026-01-20T08:59:59.999Z", "outside_hours"),
        ("2026-01-20T09:00:00Z", "free"),
        ("2026-01-20T17:15:00Z", "free"),  # ends at 17:30
        ("2026-01-20T17:15:00.001Z", "outside_hours"),
        ("2026-01-20T17:30:00Z", "outside_hours"),
        ("2026-01-23T17:00:00Z", "free"),  # Friday
        ("2026-01-24T10:00:00Z", "outside_hours"),  # Saturday
        ("2026-01-25T10:00:00Z", "outside_hours"),
        ("2026-07-21T08:00:00Z", "free"),  # nine in British summer
        ("2026-07-21T16:30:00Z", "outside_hours"),
        ("2026-03-27T09:00:00Z", "free"),  # the Friday before the clocks go forward …
        ("2026-03-30T08:00:00Z", "free"),  # … and the Monday after
        ("2026-01-20T04:30:00-05:00", "free"),
        ("2027-01-19T09:00:00.001Z", "too_far"),
    ],
)
def test_a_time_is_judged_by_the_agents_hours_in_the_agents_zone(time: str, verdict: str) -> None:
    assert judge(at(time), NOW, [], HOURS) == verdict


def test_the_first_preferred_time_that_fits_is_confirmed_and_each_says_why() -> None:
    preferred = [
        at(f"2026-01-{day}")
        for day in ("17T10:00:00Z", "24T10:00:00Z", "20T10:00:00Z", "20T11:00:00Z", "20T12:00:00Z")
    ]
    taken = [(at("2026-01-20T10:10:00Z"), at("2026-01-20T10:25:00Z"))]
    booking = book(preferred, NOW, taken, HOURS)
    assert booking.confirmed == at("2026-01-20T11:00:00Z")
    assert [verdict for _, verdict in booking.verdicts] == [
        "past",
        "outside_hours",
        "taken",
        "confirmed",
        "free",
    ]


def test_the_same_time_named_twice_is_confirmed_once() -> None:
    start = at("2026-01-20T10:00:00Z")
    booking = book([start, start], NOW, [], HOURS)
    assert [verdict for _, verdict in booking.verdicts] == ["confirmed", "free"]


def test_without_any_preferred_time_nothing_is_confirmed() -> None:
    assert book([], NOW, [], HOURS).confirmed is None


@pytest.mark.parametrize(("offset", "verdict"), [(-15, "free"), (-14, "taken"), (14, "taken"), (15, "free")])
def test_calls_may_touch_and_not_overlap(offset: int, verdict: str) -> None:
    start = at("2026-01-20T10:00:00Z")
    assert judge(start + offset * MINUTE, NOW, [(start, ends(start, HOURS))], HOURS) == verdict


def test_proposals_are_the_next_free_times_an_hour_apart() -> None:
    taken = [(at("2026-01-19T10:00:00Z"), at("2026-01-19T10:15:00Z"))]
    proposed = propose(NOW, taken, HOURS, "Europe/London", POLICY.hours)
    assert [format_time(each) for each in proposed] == [
        "2026-01-19T10:15:00.000Z",
        "2026-01-19T11:15:00.000Z",
        "2026-01-19T12:15:00.000Z",
    ]


def test_on_friday_evening_monday_is_proposed() -> None:
    proposed = propose(at("2026-01-23T17:00:00Z"), [], HOURS, None, POLICY.hours)
    assert format_time(proposed[0]) == "2026-01-26T09:00:00.000Z"


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Kolkata", "Europe/London", "Africa/Nairobi"])
def test_nobody_is_proposed_a_time_at_night_if_there_is_one_by_day(zone: str) -> None:
    for start in propose(NOW, [], HOURS, zone, POLICY.hours):
        assert 8 <= datetime.fromtimestamp(start / 1000, zone_named(zone)).hour < 20


def test_who_shares_no_hour_with_the_agents_still_gets_their_next_times() -> None:
    narrow = HOURS.model_copy(update={"from_minute": 12 * 60, "until_minute": 14 * 60})
    assert len(propose(NOW, [], narrow, "Pacific/Auckland", POLICY.hours)) == 3


def test_who_shares_one_hour_two_months_from_now_does_not_wait_for_it() -> None:
    now = 1_801_177_200_000  # when the clocks of Sydney and London change, one hour in common lies ahead
    times = propose(now, [], HOURS, "Australia/Sydney", POLICY.hours)
    assert len(times) == 3
    assert times[-1] < now + 4 * DAY


@given(
    now=st.integers(NOW, NOW + 400 * DAY),
    zone=st.sampled_from(["Europe/London", "America/New_York", "Australia/Sydney", None]),
    busy=st.lists(st.integers(0, 200), max_size=40),
)
def test_what_is_proposed_can_always_be_booked(now: int, zone: str | None, busy: list[int]) -> None:
    taken = [(now + each * 20 * MINUTE, now + each * 20 * MINUTE + 15 * MINUTE) for each in busy]
    proposed = propose(now, taken, HOURS, zone, POLICY.hours)
    assert len(proposed) == 3
    for start in proposed:
        assert start >= now + HOUR
        assert judge(start, now, taken, HOURS) == "free"
        local = datetime.fromtimestamp(start / 1000, UTC).astimezone(zone_named(HOURS.zone))
        assert local.weekday() < 5
        assert (9, 0) <= (local.hour, local.minute) <= (17, 15)


START = at("2026-01-20T10:00:00Z")
LATER = at("2026-01-20T11:00:00Z")


@pytest.mark.parametrize(
    ("status", "scheduled_at", "wanted", "new_time", "action"),
    [
        ("scheduled", START, None, LATER, "reschedule"),
        ("scheduled", None, None, LATER, "reschedule"),
        ("scheduled", START, "scheduled", LATER, "reschedule"),
        ("scheduled", START, None, START, "nothing"),
        ("scheduled", START, "cancelled", None, "cancel"),
        ("scheduled", None, "cancelled", None, "cancel"),
        ("scheduled", START, "completed", None, "complete"),
        ("scheduled", None, "completed", None, "complete"),
        ("scheduled", START, None, None, "amend"),
        ("cancelled", START, "cancelled", None, "nothing"),
        ("no_show", START, "no_show", None, "nothing"),
        ("completed", START, "completed", None, "amend"),
        ("completed", START, None, None, "amend"),
    ],
)
def test_what_may_change(
    status: str, scheduled_at: int | None, wanted: str | None, new_time: int | None, action: str
) -> None:
    assert change(status, scheduled_at, wanted, new_time, NOW) == action


@pytest.mark.parametrize("status", ["completed", "cancelled", "no_show"])
@pytest.mark.parametrize(
    ("wanted", "new_time"),
    [(None, LATER), ("cancelled", None), ("completed", None), ("no_show", None), ("scheduled", None)],
)
def test_what_is_over_stays_so(status: str, wanted: str | None, new_time: int | None) -> None:
    if wanted != status:
        assert isinstance(change(status, START, wanted, new_time, NOW), Refusal)


def test_nobody_misses_a_call_that_has_not_begun_or_has_no_time() -> None:
    assert change("scheduled", START, "no_show", None, START) == "no_show"
    assert isinstance(change("scheduled", START, "no_show", None, START - 1), Refusal)
    assert isinstance(change("scheduled", None, "no_show", None, NOW), Refusal)


def test_a_new_time_and_an_end_at_once_contradict_each_other() -> None:
    assert isinstance(change("scheduled", START, "cancelled", LATER, NOW), Refusal)
