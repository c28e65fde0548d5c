"""BG/NBD: the numbers that made a population are found again, and its chances come true there."""

from __future__ import annotations

import numpy as np
import pytest

from replay.churn.bgnbd import BgNbd, NotFittedError, Visits, fit, visits_of
from replay.log.activity_log import LEFT, Fields, PlainEvent, log_of
from scoring.time import DAY, HOUR

TRUTH = BgNbd(r=0.8, alpha=6.0, a=0.8, b=2.5)
SPAN = 120.0


def population(people: int, seed: int, more_days: float) -> tuple[Visits, np.ndarray, np.ndarray]:
    """Visits as the model has them come about, who is gone at the end, and who comes in the days after it."""
    rng = np.random.default_rng(seed)
    rates, chances = rng.gamma(TRUTH.r, 1 / TRUTH.alpha, people), rng.beta(TRUTH.a, TRUTH.b, people)
    rows, gone, comes = [], [], []
    for rate, chance in zip(rates, chances, strict=True):
        at, last, repeats, left, later = 0.0, 0.0, 0, False, False
        while not left:
            at += rng.exponential(1 / rate)
            if at > SPAN:
                later = at <= SPAN + more_days
                break
            last, repeats, left = at, repeats + 1, rng.random() < chance
        rows.append((repeats, last, SPAN))
        gone.append(left)
        comes.append(later)
    return Visits(*np.array(rows, dtype=float).T), np.array(gone), np.array(comes)


def test_the_numbers_of_a_population_are_found_again_and_its_chances_come_true():
    visits, gone, comes = population(6_000, 5, 30.0)
    found = fit(visits)
    assert found.r == pytest.approx(TRUTH.r, rel=0.15)
    assert found.alpha == pytest.approx(TRUTH.alpha, rel=0.2)
    assert found.a / (found.a + found.b) == pytest.approx(TRUTH.a / (TRUTH.a + TRUTH.b), rel=0.15)
    for chance, came_true in ((1 - TRUTH.alive(visits), gone), (TRUTH.silent(visits, 30.0), ~comes)):
        for part in np.array_split(np.argsort(chance), 4):
            assert chance[part].mean() == pytest.approx(came_true[part].mean(), abs=0.03)


def test_who_never_came_again_is_alive_and_nobody_to_fit_on():
    visits = Visits(*(np.array([number]) for number in (0.0, 0.0, 50.0)))
    assert TRUTH.alive(visits) == [1.0]
    with pytest.raises(NotFittedError, match="nobody came twice"):
        fit(visits)


def test_a_visit_is_a_day_with_a_login_and_what_comes_later_is_not_known():
    monday = 20_458 * DAY
    times = [monday + HOUR, monday + 5 * HOUR, monday + 3 * DAY, monday + 9 * DAY]
    told = [PlainEvent("supplier.logged_in", at, str(at), "/t", Fields()) for at in times]
    other = [PlainEvent(LEFT, monday + DAY, "x", "/t", Fields())]
    log = log_of("log", {"a": told, "b": other})
    places = np.array([0, 1, 0])
    found = visits_of(log, places, np.array([monday + 4 * DAY, monday + 2 * DAY, monday + 9 * DAY + HOUR]))
    assert found.repeats.tolist() == [1, 0, 2]
    assert found.last.tolist() == [3, 0, 9]
    assert found.age.tolist() == pytest.approx([4, 1, 9 + 1 / 24])
