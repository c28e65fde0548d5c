"""When a call can reach them, and when it is due."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from api.dashboard.today.reachable import channel, due_day, due_words, put_off_until, put_off_words, reach
from scoring.decisions.policy import Policy

POLICY = Policy.load()
HOURS, CALLS = POLICY.hours, POLICY.calls
BUSY = {"sat": "Saturday, a wedding day"}
MONDAY = datetime(2026, 1, 19, 10, 20, tzinfo=UTC)
FRIDAY_EVENING = datetime(2026, 1, 23, 18, 0, tzinfo=UTC)
SATURDAY = datetime(2026, 1, 24, 10, 0, tzinfo=UTC)
TASK: dict[str, Any] = {"created_at": MONDAY, "snoozed_until": None, "added_by": None}


@pytest.mark.parametrize(
    ("now", "zone", "reached", "words"),
    [
        (MONDAY, "Europe/London", True, "10:20 their time"),
        (MONDAY, None, True, "10:20 their time"),
        (MONDAY, "America/New_York", False, "Not now: 05:20 their time, night; from Mon 13:00 London time"),
        (
            FRIDAY_EVENING,
            "Europe/London",
            False,
            "Not now: 18:00 their time, outside our hours; from Mon 09:00 London time",
        ),
        (
            SATURDAY,
            "Europe/London",
            False,
            "Not now: 10:00 their time, Saturday, a wedding day; from Mon 09:00 London time",
        ),
        # It is Friday here still, and Saturday there already.
        (
            datetime(2026, 1, 23, 12, 0, tzinfo=UTC),
            "Pacific/Auckland",
            False,
            "Not now: 01:00 their time, Saturday, a wedding day; our hours are never their day: write",
        ),
    ],
)
def test_it_says_whether_they_can_be_called_now_or_from_when_on(
    now: datetime, zone: str | None, reached: bool, words: str
) -> None:
    found = reach(now, zone, HOURS, CALLS, BUSY)
    assert (found.now, found.words) == (reached, words)


def test_a_saturday_is_a_wedding_day_even_if_agents_work() -> None:
    always = CALLS.model_copy(update={"days": (*CALLS.days, "sat", "sun")})
    found = reach(SATURDAY, "Europe/London", HOURS, always, BUSY)
    assert found.words.endswith("from Sun 09:00 London time")


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"phone": "+44 20 7946 0000"}, "phone"),
        ({"phone": None}, "email: no number is known"),
        ({"phone": None, "email_opt_out": True}, "the coach: no number is known, and no email may go"),
        ({"phone": None, "email": None}, "the coach: no number is known, and no email may go"),
    ],
)
def test_the_best_way_to_them_is_one_that_they_allow(known: dict[str, Any], words: str) -> None:
    facts = {"email": "a@example.com", "email_opt_out": False, "all_opt_out": False} | known
    assert channel(facts) == words


@pytest.mark.parametrize(
    ("task", "day"),
    [
        (TASK, date(2026, 1, 20)),
        (TASK | {"created_at": FRIDAY_EVENING}, date(2026, 1, 26)),
        (TASK | {"added_by": "emma"}, date(2026, 1, 19)),
        (TASK | {"snoozed_until": SATURDAY}, date(2026, 1, 24)),
    ],
)
def test_a_call_is_due_on_agents_next_working_day_or_when_they_said(task: dict[str, Any], day: date) -> None:
    assert due_day(task, CALLS) == day


@pytest.mark.parametrize(
    ("day", "words"),
    [
        (date(2026, 1, 17), "Overdue by 2 days"),
        (date(2026, 1, 18), "Overdue by 1 day"),
        (date(2026, 1, 19), "Due today"),
        (date(2026, 1, 20), "Due tomorrow"),
        (date(2026, 1, 23), "Due Fri 23 Jan"),
    ],
)
def test_what_is_overdue_says_so_in_words(day: date, words: str) -> None:
    assert due_words(day, MONDAY, CALLS) == words


def test_what_is_put_off_comes_back_on_a_working_day() -> None:
    assert put_off_words(MONDAY, 1, CALLS) == "Tomorrow"
    assert put_off_words(FRIDAY_EVENING, 1, CALLS) == "Mon 26 Jan"
    assert put_off_until(FRIDAY_EVENING, 1, CALLS) == datetime(2026, 1, 26, tzinfo=UTC)
