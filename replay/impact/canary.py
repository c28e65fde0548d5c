"""A version in force beside what a replay expected of it: does it behave as forecast? Pure.

Messages are counts in so many supplier-days. Of two Poisson counts the one is, given their sum, binomial, so Wilson's
interval of that share is one of the ratio of the rates; it holds with 0 on either side, and counts that the forecast
too is of a limited past.

- J. Przyborowski, H. Wilenski, "Homogeneity of results in testing samples from Poisson series", Biometrika 31 (1940)
  313-323.

Levels are shares of suppliers: Newcombe's interval of a difference (`intervals`). All lines are looked at together, so
each has the wider interval that has all of them hold in 95 % (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import ceil, inf, log
from statistics import NormalDist
from typing import Any, Literal

from replay.impact import intervals
from replay.impact.intervals import Interval
from scoring.decisions.forecast import Counts, Forecast

CONFIDENCE = 0.95
TOLERANCE = 1.25
"""So many times as many, or as few, is still as forecast: no past foretells better than that."""
POINTS = 0.05
"""So much of all suppliers more or fewer at a level is still as forecast."""
_FEWEST = (intervals.Z95 / log(TOLERANCE)) ** 2
"""Of fewer messages no forecast can be known to the tolerance."""
LEAST = 5
"""Where neither as many messages were expected nor came nothing is said: Wilson's interval is too narrow there."""
NAMED = 3
"""Lines that the sentence names."""

What = Literal["all", "sent", "held", "level"]
Stands = Literal["as forecast", "more", "fewer", "open"]
Verdict = Literal["as forecast", "too early", "not as forecast"]


@dataclass(frozen=True)
class Line:
    """One thing that was expected.

    `what`: `all` messages, a trigger's (`sent`), those held back for a reason (`held`), suppliers at a `level`.
    `expected`: for as many supplier-days, or suppliers, as were seen. `low`, `high`: of messages how many times as many
    as expected there are, of a level its share less the expected one; None: nothing is known, or there is no bound.
    `others`: what as many of the partitions that go on by what was before had; None: there are none.
    """

    what: What
    name: str
    expected: float
    seen: int
    low: float | None
    high: float | None
    stands: Stands
    others: float | None
    others_stand: Stands | None
    """The others beside what the replay says of what was in force."""

    @property
    def bounds(self) -> str:
        """The interval for people: how many times as many, or points of a share."""
        if self.low is None:
            return ""
        if self.what == "level":
            points = f"{self.low * 100:+.1f} to {(self.high or 0) * 100:+.1f} points"
            return points.replace("-", "\N{MINUS SIGN}")
        return f"{self.low:.2f} " + ("times and more" if self.high is None else f"to {self.high:.2f} times")

    @property
    def words(self) -> str:
        """How it stands, for people."""
        return {"open": "too few to tell"}.get(self.stands, self.stands)


@dataclass(frozen=True)
class Compared:
    """All lines, and in one sentence whether it behaves as forecast."""

    verdict: Verdict
    says: str
    lines: list[Line]
    suppliers: int
    supplier_days: float
    others: int | None
    """Suppliers on the other partitions; None: it is in force on all."""
    more_days: int | None
    """How many days more it takes at this rate, where it is too early; None: that can't be said."""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def compare(forecast: Forecast, seen: Counts, others: Counts | None, days: float) -> Compared:
    """Compare what was seen where a version is in force for `days`, and elsewhere, with its forecast.

    `others` None: it is in force everywhere.
    """
    names = list(_names(forecast, seen))
    # `all` stands by itself: it says when enough has been seen
    z = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / 2 / max(1, len(names)))
    everything = _messages("all", "", forecast, seen, others, intervals.Z95)
    lines = [everything, *(_line(what, name, forecast, seen, others, z) for what, name in names)]
    astray = [line for line in lines if line.stands in {"more", "fewer"}]
    more_days = None
    verdict: Verdict
    if astray:
        verdict, says = "not as forecast", _not_as_forecast(astray)
    elif everything.stands == "as forecast":
        verdict, says = "as forecast", f"it behaves as forecast: {_in_words(everything)}"
    else:
        more_days = _more_days(forecast, seen, days)
        verdict = "too early"
        says = f"it is too early to tell: {_in_words(everything)}{_wait(more_days, forecast)}"
    return Compared(
        verdict,
        says,
        lines,
        seen.suppliers,
        seen.supplier_days,
        None if others is None else others.suppliers,
        more_days,
    )


def ratio(seen: int, exposure: float, expected: int, expected_exposure: float, z: float) -> Interval | None:
    """How many times `expected / expected_exposure` the rate seen is; None where nothing is known of either."""
    share = intervals.share(seen, seen + expected, z)
    if share is None or exposure <= 0 or expected_exposure <= 0:
        return None
    scale = expected_exposure / exposure
    return Interval(*(scale * part / (1 - part) if part < 1 else inf for part in share))


def _names(forecast: Forecast, seen: Counts) -> Iterator[tuple[What, str]]:
    """What there is a line of; of each kind first that of which most was expected."""
    kinds: tuple[tuple[What, dict[str, int], dict[str, int]], ...] = (
        ("sent", forecast.draft.sent, seen.sent),
        ("held", forecast.draft.held, seen.held),
        ("level", forecast.draft.levels, seen.levels),
    )
    for what, expected, found in kinds:
        for name in sorted(expected.keys() | found.keys(), key=lambda name: (-expected.get(name, 0), name)):
            yield what, name


def _line(what: What, name: str, forecast: Forecast, seen: Counts, others: Counts | None, z: float) -> Line:
    if what == "level":
        return _level(name, forecast, seen, others, z)
    return _messages(what, name, forecast, seen, others, z)


def _messages(
    what: What, name: str, forecast: Forecast, seen: Counts, others: Counts | None, z: float
) -> Line:
    found, expected = _number(seen, what, name), _number(forecast.draft, what, name)
    interval = ratio(found, seen.supplier_days, expected, forecast.draft.supplier_days, z)
    stood: Stands | None = None
    as_many: float | None = None
    if others is not None:
        theirs, before = _number(others, what, name), _number(forecast.base, what, name)
        stood = _stands(
            ratio(theirs, others.supplier_days, before, forecast.base.supplier_days, z),
            1 / TOLERANCE,
            TOLERANCE,
        )
        as_many = _part(theirs, others.supplier_days, seen.supplier_days)
    foreseen = _part(expected, forecast.draft.supplier_days, seen.supplier_days)
    if max(found, foreseen) < LEAST:
        interval = None
    stands = _stands(interval, 1 / TOLERANCE, TOLERANCE)
    return Line(what, name, foreseen, found, *_bounds(interval), stands, as_many, stood)


def _level(name: str, forecast: Forecast, seen: Counts, others: Counts | None, z: float) -> Line:
    interval = _difference(name, seen, forecast.draft, z)
    asked = sum(seen.levels.values())
    stood: Stands | None = None
    as_many: float | None = None
    if others is not None:
        stood = _stands(_difference(name, others, forecast.base, z), -POINTS, POINTS)
        as_many = _part(others.levels.get(name, 0), sum(others.levels.values()), asked)
    return Line(
        "level",
        name,
        _part(forecast.draft.levels.get(name, 0), sum(forecast.draft.levels.values()), asked),
        seen.levels.get(name, 0),
        *_bounds(interval),
        _stands(interval, -POINTS, POINTS),
        as_many,
        stood,
    )


def _difference(name: str, seen: Counts, expected: Counts, z: float) -> Interval | None:
    shares = [
        intervals.share(counts.levels.get(name, 0), sum(counts.levels.values()), z)
        for counts in (seen, expected)
    ]
    first, second = shares
    return None if first is None or second is None else intervals.difference(first, second)


def _number(counts: Counts, what: What, name: str) -> int:
    if what == "all":
        return sum(counts.sent.values())
    return (counts.sent if what == "sent" else counts.held).get(name, 0)


def _part(number: float, whole: float, of: float) -> float:
    return round(number / whole * of, 2) if whole else 0.0


def _bounds(interval: Interval | None) -> tuple[float | None, float | None]:
    if interval is None:
        return None, None
    return round(interval.low, 4), None if interval.high == inf else round(interval.high, 4)


def _stands(interval: Interval | None, least: float, most: float) -> Stands:
    if interval is None:
        return "open"
    if interval.low > most:
        return "more"
    if interval.high < least:
        return "fewer"
    return "as forecast" if least <= interval.low and interval.high <= most else "open"


def _more_days(forecast: Forecast, seen: Counts, days: float) -> int | None:
    """How long it takes at this rate until the ratio of all messages is known to the tolerance, were it 1."""
    expected = _number(forecast.draft, "all", "")
    so_far = max(
        float(_number(seen, "all", "")), _part(expected, forecast.draft.supplier_days, seen.supplier_days)
    )
    if not expected or not so_far or days <= 0:
        return None
    left = (log(TOLERANCE) / intervals.Z95) ** 2 - 1 / expected
    return max(1, ceil((1 / left / so_far - 1) * days)) if left > 0 else None


def _in_words(line: Line) -> str:
    if line.what == "level":
        return f"{line.seen:,} suppliers are {line.name.replace('_', ' ')} where {line.expected:,.0f} were expected"
    what = {"all": "messages", "sent": f"messages of {line.name}", "held": f"held back as {line.name}"}[
        line.what
    ]
    times = ""
    if line.low is not None:
        bounds = f"{line.low:.2f} to {line.high:.2f}" if line.high is not None else f"at least {line.low:.2f}"
        times = f" ({bounds} times as many)"
    expected = f"{line.expected:,.0f}" if line.expected >= 10 or not line.expected else f"{line.expected:.1f}"  # noqa: PLR2004 - digits
    return f"{line.seen:,} {what} where {expected} were expected{times}"


def _not_as_forecast(astray: list[Line]) -> str:
    named = "; ".join(_in_words(line) for line in astray[:NAMED])
    more = f"; and {len(astray) - NAMED} more" if len(astray) > NAMED else ""
    says = f"it does not behave as forecast: {named}{more}"
    if all(line.others_stand == line.stands for line in astray):
        says += ". The other partitions are as far from what was expected of them: it is the times, or the forecast"
    return says


def _wait(more_days: int | None, forecast: Forecast) -> str:
    if more_days is not None:
        return f". At this rate it takes {more_days} more day{'s' if more_days != 1 else ''}"
    expected = _number(forecast.draft, "all", "")
    return f". The forecast is of too few messages, {expected:,}, to ever tell" if expected < _FEWEST else ""
