"""Comparing two shares honestly: intervals for a difference and a ratio, and how many people it takes to see one.

- A share and the difference of two: `intervals`.
- Ratio of two shares: from the same two Wilson intervals by MOVER-R: A. Donner, G. Y. Zou, "Closed-form confidence
  intervals for functions of the normal mean and standard deviation", Statistical Methods in Medical Research 21 (2012)
  347-359.
- Number of people: J. L. Fleiss, B. Levin, M. C. Paik, "Statistical Methods for Rates and Proportions", 3rd ed. (2003),
  chapter 4, unequal groups, without the correction for continuity.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, sqrt
from statistics import NormalDist

from replay.impact import intervals
from replay.impact.intervals import Interval

CONFIDENCE = 0.95
POWER = 0.8
TARGET = 0.25
"""The reduction that the specification asks for."""
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Share:
    """`hits` of `n` people."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        """As a number; 0 of nobody."""
        return self.hits / self.n if self.n else 0.0

    def wilson(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Wilson's interval; everything is possible of nobody."""
        found = intervals.share(self.hits, self.n, _NORMAL.inv_cdf(0.5 + confidence / 2))
        return (found.low, found.high) if found else (0.0, 1.0)

    def interval(self, confidence: float) -> Interval:
        """The share with Wilson's interval."""
        return Interval(self.value, *self.wilson(confidence))


@dataclass(frozen=True)
class Comparison:
    """Treated against holdout: who left, the difference of the shares (treated less holdout) and the reduction.

    `reduction` is the part of the holdout's share that the treated were spared (0.25: a quarter less; negative: more
    left); None where nobody of the holdout left. Its interval and that of the difference are 95 %.
    """

    treated: Share
    holdout: Share
    difference: float
    interval: tuple[float, float]
    reduction: float | None
    reduction_interval: tuple[float, float] | None

    @property
    def says(self) -> str:
        """What may be said of it, and no more."""
        if not self.treated.n or not self.holdout.n:
            return "nothing to compare: one of the two groups is empty"
        low, high = self.interval
        if high < 0:
            return "fewer of the treated left"
        if low > 0:
            return "more of the treated left"
        return "no difference can be told from chance"


def compare(treated: Share, holdout: Share, confidence: float = CONFIDENCE) -> Comparison:
    """Compare the shares of two groups that chance made."""
    difference, low, high = intervals.difference(treated.interval(confidence), holdout.interval(confidence))
    reduction, reduction_interval = None, None
    if holdout.hits and treated.n:
        reduction = 1 - treated.value / holdout.value
        ratio_low, ratio_high = _ratio_interval(treated, holdout, confidence)
        reduction_interval = (1 - ratio_high, 1 - ratio_low)
    interval = (max(-1.0, low), min(1.0, high))
    return Comparison(treated, holdout, difference, interval, reduction, reduction_interval)


def _ratio_interval(top: Share, bottom: Share, confidence: float) -> tuple[float, float]:
    """MOVER-R; `bottom` has hits."""
    a, b = top.value, bottom.value
    (al, au), (bl, bu) = top.wilson(confidence), bottom.wilson(confidence)
    low = (a * b - sqrt(max(0.0, (a * b) ** 2 - al * bu * (2 * a - al) * (2 * b - bu)))) / (bu * (2 * b - bu))
    divisor = bl * (2 * b - bl)
    high = (a * b + sqrt(max(0.0, (a * b) ** 2 - au * bl * (2 * a - au) * (2 * b - bl)))) / divisor
    return max(0.0, low), high


def people_needed(
    base: float, reduction: float, holdout_share: float, confidence: float = CONFIDENCE, power: float = POWER
) -> float:
    """How many people, both groups together, to see a share of `base` fall by `reduction` (a part of it).

    `inf` where there is nothing to see: a base or reduction of 0, or an empty group.
    """
    fewer = base * (1 - reduction)
    if not 0 < holdout_share < 1 or not 0 < base < 1 or fewer == base or not 0 <= fewer < 1:
        return inf
    ratio = (1 - holdout_share) / holdout_share  # treated a held-out person
    mean = (base + ratio * fewer) / (1 + ratio)
    z_alpha, z_beta = _NORMAL.inv_cdf(0.5 + confidence / 2), _NORMAL.inv_cdf(power)
    spread = z_alpha * sqrt((1 + 1 / ratio) * mean * (1 - mean)) + z_beta * sqrt(
        base * (1 - base) + fewer * (1 - fewer) / ratio
    )
    held_out = (spread / (base - fewer)) ** 2
    return ceil(held_out * (1 + ratio))


def smallest_reduction(base: float, people: int, holdout_share: float) -> float | None:
    """The smallest reduction that so many people would show with power 0.8; None if not even a whole one."""
    if people_needed(base, 1.0, holdout_share) > people:
        return None
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if people_needed(base, middle, holdout_share) <= people else (middle, high)
    return high
