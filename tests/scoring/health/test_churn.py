"""What the churn model looks at, and that its answers explain themselves."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scoring
from replay.churn.bgnbd import BgNbd, Visits
from replay.log.activity_log import Fields
from scoring.health import churn
from scoring.health.churn import (
    ADDED,
    SIGNALS,
    ChurnModel,
    ModelError,
    churn_signals,
    default_model,
    explain,
    load_model,
    parse_model,
    probability,
)
from scoring.health.machine import advance, apply
from scoring.health.rules import SHIPPED
from scoring.health.snapshot import snapshot
from scoring.health.state import State, decode, encode
from scoring.time import DAY, HOUR

SUPPLIER = "11111111-1111-4111-8111-111111111111"
MONDAY = 20_458 * DAY + 9 * HOUR
MODEL = (Path(scoring.__file__).parent / "churn.toml").read_text("utf-8")


@dataclass
class Event:
    """An event of the day `day` (from Monday, 5 January 2026)."""

    day: float
    type: str = "supplier.logged_in"
    data: Any = field(default_factory=Fields)
    source: str = "/test"

    @property
    def at(self) -> int:
        return MONDAY + int(self.day * DAY)

    @property
    def id(self) -> str:
        return f"{self.type}{self.day}{self.data}"


def lived(*events: Event, until: float | None = None) -> State:
    state = State()
    for event in events:
        apply(state, SUPPLIER, event)
    if until is not None:
        advance(state, SUPPLIER, MONDAY + int(until * DAY))
    return state


def logins(*days: float) -> list[Event]:
    return [Event(0, "supplier.signed_up"), *(Event(day) for day in days)]


def at(state: State, day: float) -> dict[str, float]:
    return churn_signals(state, SHIPPED.weights, MONDAY + int(day * DAY))


def test_silence_counts_in_days_and_in_their_own_gaps():
    weekly, daily = lived(*logins(0, 7, 14, 21, 28)), lived(*logins(*range(29)))
    assert at(weekly, 35)["login_silence"] == at(daily, 35)["login_silence"] == round(7 / 30, 4)
    assert at(weekly, 35)["overdue"] == round(1 / 6, 4)  # one of their gaps, of at most six
    assert at(daily, 35)["overdue"] > 3 * at(weekly, 35)["overdue"]
    assert at(weekly, 35)["slow_rhythm"] == 0.5  # a gap of a week


def test_fewer_logins_lately_than_usual_is_a_fall():
    fading = lived(*logins(*range(21)))
    assert at(fading, 27)["rare_logins"] == 0.25
    assert at(fading, 27)["login_fall"] == 0.75  # 21 of 28 days, and none of the last 7
    assert at(lived(*logins(*range(20, 28))), 27)["login_fall"] < 0


def test_a_late_login_counts_on_its_own_day_and_once():
    in_order, late = lived(*logins(0, 1, 5)), lived(*logins(0, 5, 1, 1.1))
    assert at(in_order, 6) == at(late, 6)


def test_points_below_what_is_usual_for_them_are_a_fall_that_becomes_usual():
    client = Fields(client_id="c1")
    events = [Event(0, "supplier.signed_up"), Event(0.1, "client.active", client), Event(20)]
    state = lived(*events, until=31)
    assert state.points[2] == 0
    fallen, later = at(state, 31)["client_fall"], at(state, 80)["client_fall"]
    assert fallen > 0.9
    assert 0 < later < 0.1


def test_adopting_features_counts_as_the_opposite_of_a_fall():
    state = lived(*logins(0), Event(10, "form.created"), Event(10.1, "template.used"))
    assert at(state, 10.2)["feature_fall"] == -0.5
    assert at(state, 10.2)["unused_features"] == 0.5


def test_one_who_never_logged_in_is_as_silent_as_can_be():
    state = lived(Event(0, "supplier.signed_up"))
    found = at(state, 1)
    assert (found["login_silence"], found["overdue"], found["rare_logins"], found["few_logins"]) == (
        1,
        1,
        1,
        1,
    )


def test_silence_says_more_of_one_who_came_often():
    seldom, often = lived(*logins(0, 12, 24)), lived(*logins(*range(25)))
    unusual = [at(state, 31)["unusual_silence"] for state in (seldom, often)]
    # three days with a login, from the first to the last 24 days, to now 31.375 (the clock is at nine)
    evidence = 3 * math.log((7 + 31.375) / (7 + 24))
    assert unusual[0] == round(evidence / (1 + evidence), 4)
    assert unusual[1] > 1.5 * unusual[0]
    assert at(often, 24)["unusual_silence"] < 0.3


def test_how_unlikely_a_return_is_is_bgnbds_chance():
    paper = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426)
    for days in ((0,), (0, 12, 24), tuple(range(25))):
        visits = Visits(*(np.array([float(one)]) for one in (len(days) - 1, days[-1], 40.375)))
        expected = paper.silent(visits, 30.0)[0]
        assert at(lived(*logins(*days)), 40)["unlikely_return"] == pytest.approx(expected, abs=1e-4)


def test_a_model_fitted_before_they_were_there_weighs_nothing_of_added_signals():
    text = "".join(
        line for line in MODEL.splitlines(keepends=True) if not line.startswith(("unusual_", "unlikely_"))
    )
    before = parse_model(text, "x")
    assert ADDED.isdisjoint(before.weights)
    signals = at(lived(*logins(0, 1, 2)), 20)
    assert all(signals[name] for name in ADDED)
    assert probability(signals, before) == probability(signals | dict.fromkeys(ADDED, 0.0), before)
    assert {each.signal: each.weight for each in explain(signals, before)}["unusual_silence"] == 0


def test_the_memory_survives_encoding():
    state = lived(*logins(0, 3, 9), Event(9.5, "form.created"), until=12)
    assert at(decode(encode(state)), 12) == at(state, 12)


def test_explanations_add_up_to_the_probability():
    signals = at(lived(*logins(0, 2, 4)), 20)
    parts = explain(signals)
    logit = default_model().intercept + sum(part.value * part.weight for part in parts)
    assert round(1 / (1 + math.exp(-logit)), 4) == probability(signals)
    added = [part.value * part.weight for part in parts]
    assert added == sorted(added, reverse=True)
    assert {part.signal for part in parts} == set(SIGNALS)


def test_a_snapshot_carries_what_its_probability_came_from():
    data = snapshot(lived(*logins(0, 2)))
    assert data["churn_probability"] == probability(data["churn_signals"])
    assert set(data["churn_signals"]) == set(SIGNALS)


def test_the_default_model_says_that_it_was_fitted_on_a_simulation():
    model = default_model()
    assert "simulated" in model.origin
    assert "no real supplier" in model.origin
    assert model.days == 1.0
    assert set(model.provenance["auc"]) >= {"the model", "days since the last login", "health score"}


def test_a_model_file_that_does_not_fit_says_what_is_wrong(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere\.toml: can't be read"):
        load_model(tmp_path / "nowhere.toml")
    with pytest.raises(ModelError, match="one weight for each signal"):
        parse_model('origin = "x"\nintercept = 0.0\n[weights]\noverdue = 1.0\n', "mine.toml")
    with pytest.raises(ModelError, match=r"mine.toml: is no churn model"):
        parse_model('origin = "x"', "mine.toml")


def test_scoring_needs_no_numpy():
    heavy = ("numpy", "pandas", "sklearn")
    code = f"import scoring.health.snapshot, sys; print(any(name in sys.modules for name in {heavy}))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def test_a_probability_stays_a_probability_whatever_the_weights():
    wild = ChurnModel("wild", 0.0, dict.fromkeys(SIGNALS, 20.0))
    assert probability(at(lived(Event(0, "supplier.signed_up")), 30), wild) <= 1
    assert churn.signal_values(lived(Event(0)), MONDAY, SHIPPED.weights) is not None
