"""Intervals of shares and of their difference, against what was published."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.impact.intervals import Interval, difference, share, verdict


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
