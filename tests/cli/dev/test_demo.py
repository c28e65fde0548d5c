"""The demo: a clock that catches up, people who react, and the story of one of them."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

from hypothesis import example, given
from hypothesis import strategies as st

from cli.dev.demo import LapseClock
from cli.dev.demo_people import People, Readers, call_times
from cli.dev.demo_screen import held_back
from cli.dev.demo_story import BEGINNING, SARAH, Sarah
from replay.simulator.simulate import life, population
from runtime.settings import Settings
from scoring.time import DAY, HOUR
from topics.time import parse_time

BEGINS = parse_time("2026-01-05T00:00:00Z")


@example(1, 5e-324, [0, 1])
@given(st.integers(1, 90), st.floats(0, 600), st.lists(st.integers(0, 100 * DAY), min_size=2))
def test_the_clock_never_runs_back_nor_ahead_of_the_wall_and_ends_as_the_wall_s(
    days: int, seconds: float, looks: list[int]
) -> None:
    started = BEGINS + days * DAY
    clock = LapseClock(BEGINS, days, seconds, started)
    shown = [(clock.at(started + look), started + look) for look in sorted(looks)]
    assert all(earlier <= later for (earlier, _), (later, _) in pairwise(shown))
    assert all(at <= wall for at, wall in shown)
    caught_up = started + int(seconds * 1000 / max(0.5, 1 - seconds / (days * 86_400))) + 1000
    assert clock.at(caught_up) == caught_up


def test_people_asked_hour_by_hour_live_as_they_do_in_a_file() -> None:
    """Nobody reacts to anything here: the demo's population is the simulator's."""
    days, count, seed = 12, 6, 3
    people = People(life(number, days, seed, BEGINS) for number in range(1, count + 1))
    hourly = [entry for hour in range(days * 24 + 1) for entry in people.entries_until(BEGINS + hour * HOUR)]
    at_once = People(life(number, days, seed, BEGINS) for number in range(1, count + 1))
    assert sorted(entry.value for entry in hourly) == sorted(
        entry.value for entry in at_once.entries_until(BEGINS + days * DAY)
    )
    assert len(hourly) == sum(1 for _ in population(count, days, seed, BEGINS))
    times = [entry.at for entry in hourly if entry.at is not None]
    assert times == sorted(times)


def test_a_message_brings_somebody_back_and_their_interest_fades_again() -> None:
    def logins(lift: float) -> list[int]:
        one = life(4, 60, 1, BEGINS)
        said = list(one.lines_until(BEGINS + 30 * DAY))
        if lift:
            one.come_back(BEGINS + 30 * DAY, lift)
        said += one.lines_until(BEGINS + 60 * DAY)
        return [at for at, line in said if line.get("type") == "supplier.logged_in"]

    without, lifted = logins(0), logins(0.9)
    assert BEGINS + 30 * DAY in lifted
    assert len(lifted) > len(without)


def test_sarah_begins_on_a_monday_morning_whenever_the_demo_does() -> None:
    for hours in range(0, 8 * 24, 5):
        sarah = Sarah(BEGINS + hours * HOUR)
        at = datetime.fromtimestamp(sarah.signed_up_at / 1000, UTC)
        assert (at.weekday(), at.hour) == (0, 9)
        assert sarah.signed_up_at >= BEGINS + hours * HOUR + 11 * DAY
        lines = list(sarah.lines_until(sarah.signed_up_at + 20 * DAY))
        assert len(lines) == len(BEGINNING) + 1  # the profile; and nothing more until somebody writes


def test_calls_are_asked_for_on_weekday_mornings_in_their_own_time() -> None:
    for day in range(7):
        times = call_times(SARAH, BEGINS + day * DAY + 13 * HOUR)
        assert times
        assert all(datetime.fromtimestamp(at / 1000, UTC).weekday() < 5 for at in times)
        assert {datetime.fromtimestamp(at / 1000, UTC).hour for at in times} == {10}  # January: UTC is theirs


def test_letters_of_a_demo_before_this_one_are_not_read_again(tmp_path: Path) -> None:
    people = People([Sarah(BEGINS)])
    letter = (
        f"To: {SARAH.profile('free', BEGINS)['profile']['email']}\r\nX-Success-Intervention: {uuid4()}\r\n"
        "X-Success-Template: grow_client_list\r\nContent-Type: text/plain\r\n\r\nhttp://127.0.0.1/e/c/token\r\n"
    )
    (tmp_path / "1.eml").write_text(letter, "ascii")
    readers = Readers(Settings(), tmp_path, people, SARAH.id)
    (tmp_path / "2.eml").write_text(letter, "ascii")
    assert readers.unread() == ["2.eml"]
    readers.look(BEGINS)
    assert readers.unread() == []


def test_what_was_held_back_is_one_line_in_words() -> None:
    assert held_back([]) == "nothing was held back yet"
    said = held_back([("weekly_cap", 12), ("healthy", 3)])
    assert said == "not sent: 12 because weekly cap reached, 3 because they are healthy again"
