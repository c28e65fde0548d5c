"""Whether a version behaves as forecast: what is expected, how sure one can be, and what is said of it."""

from __future__ import annotations

import json

import pytest

from replay.impact.canary import compare, ratio
from replay.impact.intervals import Z95
from scoring.decisions.forecast import Counts, Forecast

DAYS = 7.0


def counts(suppliers: int, sent: int, *, days: float = DAYS, critical: int = 0, **held: int) -> Counts:
    """So many suppliers for so many days, with `sent` messages of one trigger."""
    levels = {"critical": critical, "healthy": suppliers - critical}
    return Counts(suppliers, suppliers * days, {"quick_win": sent} if sent else {}, held, levels)


def forecast(draft: Counts, base: Counts | None = None) -> Forecast:
    return Forecast("d", "2026-01-01T00:00:00.000Z", "2026-03-02T00:00:00.000Z", base or draft, draft)


YEAR = counts(1_000, 6_000, days=60.0, critical=100, weekly_cap=600)
"""What a replay of 60 days expects of 1,000 suppliers: a message a supplier each ten days."""


@pytest.mark.parametrize(
    ("seen", "verdict", "says"),
    [
        # 1,000 suppliers for 7 days: 700 messages are expected
        (
            counts(1_000, 715, critical=101, weekly_cap=70),
            "as forecast",
            "715 messages where 700 were expected",
        ),
        (counts(1_000, 1_000, critical=101, weekly_cap=70), "not as forecast", "1,000 messages where 700"),
        (counts(1_000, 420, critical=101, weekly_cap=70), "not as forecast", "420 messages where 700"),
        (counts(1_000, 0, critical=101, weekly_cap=70), "not as forecast", "0 messages where 700"),
        # 70 of all are expected to be critical as 100 are of 1,000
        (
            counts(1_000, 700, critical=200, weekly_cap=70),
            "not as forecast",
            "200 suppliers are critical where 100",
        ),
        (
            counts(1_000, 700, critical=100, weekly_cap=300),
            "not as forecast",
            "300 held back as weekly_cap where 70",
        ),
        # few suppliers, or a few hours
        (counts(20, 14, critical=2, weekly_cap=1), "too early", "14 messages where 14 were expected"),
        (counts(20, 0, days=0.1), "too early", "0 messages where 0.2 were expected"),
        (counts(0, 0), "too early", "0 messages where 0 were expected"),
    ],
)
def test_a_version_is_judged_by_what_its_forecast_expects_of_as_many_supplier_days(
    seen: Counts, verdict: str, says: str
) -> None:
    found = compare(forecast(YEAR), seen, None, DAYS)
    assert found.verdict == verdict
    assert says in found.says


def test_where_it_is_too_early_it_says_how_long_it_takes() -> None:
    found = compare(forecast(YEAR), counts(20, 14, critical=2, weekly_cap=1), None, DAYS)
    assert found.more_days is not None
    assert f"{found.more_days} more days" in found.says
    later = DAYS + found.more_days
    enough = counts(20, round(14 * later / DAYS), days=later, critical=2, weekly_cap=round(later / DAYS))
    assert compare(forecast(YEAR), enough, None, later).verdict == "as forecast"


def test_a_forecast_of_too_few_messages_says_so() -> None:
    few = counts(10, 6, days=60.0)
    found = compare(forecast(few), counts(1_000, 70, days=7.0), None, DAYS)
    assert found.verdict == "too early"
    assert "of too few messages, 6, to ever tell" in found.says


def test_what_nobody_expected_is_astray_and_a_single_one_of_it_is_not() -> None:
    for number, verdict in ((1, "as forecast"), (30, "not as forecast")):
        seen = counts(1_000, 700, critical=100, weekly_cap=70)
        seen = Counts(seen.suppliers, seen.supplier_days, seen.sent | {"odd": number}, seen.held, seen.levels)
        assert compare(forecast(YEAR), seen, None, DAYS).verdict == verdict


def test_where_the_other_partitions_are_as_far_off_it_is_not_the_version() -> None:
    many = counts(1_000, 1_400, critical=100, weekly_cap=70)
    usual = counts(3_000, 2_100, critical=300, weekly_cap=210)
    both = counts(3_000, 4_200, critical=300, weekly_cap=210)
    alone = compare(forecast(YEAR), many, usual, DAYS)
    together = compare(forecast(YEAR), many, both, DAYS)
    assert alone.verdict == together.verdict == "not as forecast"
    assert "the other partitions" not in alone.says.lower()
    assert "The other partitions are as far" in together.says
    assert (alone.lines[0].others, together.lines[0].others) == (700, 1_400)


def test_an_interval_holds_with_nothing_on_either_side() -> None:
    assert ratio(0, 1, 0, 1, Z95) is None
    assert ratio(5, 0, 5, 1, Z95) is None
    nothing, unexpected = ratio(0, 1, 20, 1, Z95), ratio(20, 1, 0, 1, Z95)
    assert nothing is not None
    assert unexpected is not None
    assert (nothing.low, unexpected.high) == (0, float("inf"))
    assert 0.15 < nothing.high < 0.25
    assert unexpected.low == pytest.approx(1 / nothing.high)


def test_it_is_json_whatever_has_no_bound() -> None:
    seen = counts(1_000, 700, critical=100, weekly_cap=70, stale=40)
    said = json.dumps(compare(forecast(YEAR), seen, None, DAYS).as_json(), allow_nan=False)
    assert [each["high"] for each in json.loads(said)["lines"] if each["name"] == "stale"] == [None]
