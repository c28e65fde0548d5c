"""Intervals and sample sizes against published examples, and by counting."""

from __future__ import annotations

import random
from math import comb, inf

import pytest

from replay.impact.stats import Share, compare, people_needed, smallest_reduction


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [  # R. G. Newcombe, Statistics in Medicine 17 (1998), table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000),
        ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)
def test_the_difference_has_the_interval_that_newcombe_published(first, second, low, high):
    found = compare(Share(*first), Share(*second)).interval
    assert found == pytest.approx((low, high), abs=5e-5)


def test_wilsons_interval_of_a_share():
    # R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    assert Share(81, 263).wilson() == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert Share(15, 148).wilson() == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert Share(0, 20).wilson() == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert Share(1, 29).wilson() == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_two_groups_of_356_show_60_against_70_percent():
    """A textbook case: alpha 0.05, power 0.8."""
    assert people_needed(0.7, 1 - 6 / 7, 0.5) == pytest.approx(2 * 356, abs=2)


def test_the_number_needed_has_the_power_it_promises():
    """By exact counting: of all outcomes, those whose interval lies below zero."""
    base, reduction, share = 0.2, 0.5, 0.3
    people = int(people_needed(base, reduction, share))
    held_out = round(people * share)
    treated = people - held_out
    power = sum(
        chance(treated, base * (1 - reduction), left) * chance(held_out, base, left_without)
        for left in range(treated + 1)
        for left_without in range(held_out + 1)
        if compare(Share(left, treated), Share(left_without, held_out)).interval[1] < 0
    )
    assert 0.76 < power < 0.86


def chance(people: int, share: float, hits: int) -> float:
    """Of so many hits."""
    return float(comb(people, hits) * share**hits * (1 - share) ** (people - hits))


def test_more_people_show_smaller_reductions():
    assert smallest_reduction(0.1, 10_000, 0.5) < smallest_reduction(0.1, 2_000, 0.5)
    needed = people_needed(0.1, 0.25, 0.2)
    assert smallest_reduction(0.1, int(needed), 0.2) == pytest.approx(0.25, abs=1e-3)
    assert smallest_reduction(0.1, 5, 0.5) is None


def test_where_there_is_nothing_to_see_no_number_is_enough():
    assert people_needed(0.0, 0.25, 0.5) == inf
    assert people_needed(0.1, 0.0, 0.5) == inf
    assert people_needed(0.1, 0.25, 0.0) == inf


def test_a_reduction_never_stands_without_its_interval():
    found = compare(Share(30, 1000), Share(40, 1000))
    assert found.reduction == pytest.approx(0.25)
    low, high = found.reduction_interval
    assert low < 0
    assert 0.25 < high < 1
    assert found.says == "no difference can be told from chance"
    nobody = compare(Share(3, 10), Share(0, 10))
    assert nobody.reduction is None
    assert nobody.reduction_interval is None
    assert compare(Share(0, 0), Share(1, 10)).says.startswith("nothing to compare")


def test_the_interval_of_a_reduction_covers_the_true_one_at_its_nominal_rate():
    rng = random.Random(6)  # noqa: S311 - a simulation
    truth, base, people, covered, times = 0.25, 0.12, 800, 0, 500
    for _ in range(times):
        treated = sum(rng.random() < base * (1 - truth) for _ in range(people))
        held_out = sum(rng.random() < base for _ in range(people))
        low, high = compare(Share(treated, people), Share(held_out, people)).reduction_interval
        covered += low <= truth <= high
    assert 0.93 <= covered / times <= 0.975
