"""The simulated population: deterministic, in order, believable, and everything the product can see occurs."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from functools import cache
from typing import Any

import orjson
import pytest

from replay.simulator.simulate import population
from scoring.health import machine
from scoring.health.state import State
from scoring.zones import zone_named
from tests.reference.events import FIELDS, event_of_line
from topics.decoding import decode
from topics.lines import read_line
from topics.outcome import ActivityEvent
from topics.profile import Profile
from topics.time import DAY_MS, parse_time

START = parse_time("2026-01-05T00:00:00Z")


@cache
def lines(suppliers: int = 150, days: int = 60, seed: int = 1) -> list[dict[str, Any]]:
    return list(population(suppliers, days, seed, START))


def events(of: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in of if "profile" not in line]


def test_same_seed_gives_the_same_lines() -> None:
    assert list(population(20, 30, 7, START)) == list(population(20, 30, 7, START))


def test_another_seed_gives_other_people() -> None:
    assert not {line["profile"]["id"] for line in population(5, 10, 7, START) if "profile" in line} & {
        line["profile"]["id"] for line in population(5, 10, 8, START) if "profile" in line
    }


def test_another_process_gives_the_same_lines() -> None:
    """Nothing depends on the process, such as the hashes of strings."""
    command = [
        sys.executable,
        "-c",
        "from cli.main import main; main()",
        "simulate",
        "--suppliers",
        "4",
        "--days",
        "20",
        "--seed",
        "9",
    ]
    written = subprocess.run(
        [*command, "--start", "2026-01-05", "--out", "-"], check=True, capture_output=True
    ).stdout
    assert [orjson.loads(line) for line in written.splitlines()] == list(population(4, 20, 9, START))


def test_more_suppliers_leave_the_first_ones_as_they_were() -> None:
    few, many = list(population(3, 30, 5, START)), list(population(6, 30, 5, START))
    known = {line["subject"] for line in events(few)}
    assert events(few) == [line for line in events(many) if line["subject"] in known]


def test_events_come_in_order_of_time_and_within_the_days() -> None:
    times = [parse_time(line["time"]) for line in events(lines())]
    assert all(earlier <= later for earlier, later in itertools.pairwise(times))
    assert times[0] >= START
    assert times[-1] < START + 60 * DAY_MS


def test_every_event_is_one_that_the_topics_accept() -> None:
    for line in events(lines(40)):
        topic, key, value = read_line(orjson.dumps(line))
        decoded = decode(key, value, [], START + 60 * DAY_MS)
        assert isinstance(decoded, ActivityEvent), (topic, line, decoded)


def test_ids_do_not_repeat() -> None:
    ids = [line["id"] for line in events(lines())]
    assert len(set(ids)) == len(ids)


def test_a_profile_stands_before_the_first_event_of_its_supplier_and_follows_the_plan() -> None:
    profiles: dict[str, dict[str, Any]] = {}
    plans: dict[str, str] = {}
    for line in lines():
        if "profile" in line:
            profiles[line["profile"]["id"]] = line["profile"]
        else:
            assert line["subject"] in profiles
            if line["type"] in {"plan.changed", "supplier.signed_up"}:
                plans[line["subject"]] = line["data"]["plan"]
    assert len(profiles) == 150
    assert all(profiles[supplier]["plan"] == plan for supplier, plan in plans.items())


def test_profiles_are_valid_and_their_mail_goes_nowhere() -> None:
    profiles = [line["profile"] for line in lines() if "profile" in line]
    for profile in profiles:
        Profile.model_validate(profile)
        zone_named(profile["timezone"])
        assert profile["email"].endswith("@example.com")
    addresses = {(profile["id"], profile["email"]) for profile in profiles}
    assert len({email for _, email in addresses}) == 150


def test_all_types_of_events_occur() -> None:
    assert {line["type"] for line in events(lines())} == set(FIELDS)


def test_the_seasons_show() -> None:
    """Couples of a European business look in more often in July than in January."""

    def activity_from(start: str) -> int:
        made = list(population(60, 25, 3, parse_time(start)))
        european = {
            line["profile"]["id"]
            for line in made
            if "profile" in line and line["profile"]["timezone"].startswith("Europe/")
        }
        return sum(line["type"] == "client.active" and line["subject"] in european for line in events(made))

    assert activity_from("2026-07-01T00:00:00Z") > 1.2 * activity_from("2026-01-02T00:00:00Z")


def test_saturdays_are_for_weddings() -> None:
    """Fewer log in on a Saturday than on a Monday."""
    logins = Counter(
        parse_time(line["time"]) // DAY_MS % 7
        for line in events(lines())
        if line["type"] == "supplier.logged_in"
    )
    saturday, monday = 2, 4  # 1970-01-01 was a Thursday
    assert logins[saturday] < 0.6 * logins[monday]


@pytest.fixture(scope="module")
def outcome() -> tuple[Counter[str], Counter[str]]:
    """Levels at the end, and how often each milestone, condition and worsening occurred."""
    states: dict[str, State] = {}
    names: Counter[str] = Counter()
    for line in lines():
        if (found := event_of_line(line)) is not None:
            supplier, event = found
            signals = machine.apply(states.setdefault(supplier, State()), supplier, event)
            names.update(map(name_of, signals))
    for supplier, state in states.items():
        names.update(map(name_of, machine.advance(state, supplier, START + 60 * DAY_MS)))
    return Counter(str(state.level) for state in states.values()), names


def name_of(signal: Any) -> str:
    data = signal.data
    return data.get("milestone") or data.get("condition") or f"{data['previous']} to {data['level']}"


def test_levels_are_believable(outcome: tuple[Counter[str], Counter[str]]) -> None:
    levels, _ = outcome
    assert 0.2 <= levels["healthy"] / 150 <= 0.65
    assert levels["at_risk"] >= 15
    assert levels["critical"] >= 15


@pytest.mark.parametrize(
    "name",
    [
        *("first_form", "ten_clients", "first_automation", "first_payment"),
        *("no_login_7_days", "zero_clients_imported", "stuck_onboarding", "low_client_adoption"),
        *("high_usage_free_tier", "signed_up", "onboarding_ended"),
        *("healthy to at_risk", "at_risk to critical", "critical to at_risk", "at_risk to healthy"),
    ],
)
def test_everything_that_is_signalled_occurs(name: str, outcome: tuple[Counter[str], Counter[str]]) -> None:
    _, names = outcome
    assert names[name] >= 3
