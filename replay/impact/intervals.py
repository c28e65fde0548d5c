"""How sure a share is: Wilson's interval for one, Newcombe's for the difference of two. Pure.

Both are good for small numbers and shares near 0, where the textbook's ± is not.

- E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927) 209-212.
- R. G. Newcombe, "Interval estimation for the difference between independent proportions: comparison of eleven
  methods", Statistics in Medicine 17 (1998) 873-890, method 10 (from two Wilson intervals).
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

Z95 = 1.959963984540054
"""Quantile of the normal distribution for intervals of 95 %."""


class Interval(NamedTuple):
    """A share or a difference with the ends of its interval."""

    value: float
    low: float
    high: float


def share(hits: int, total: int, z: float = Z95) -> Interval | None:
    """The share `hits / total` with Wilson's interval; None of nothing. ValueError unless 0 <= hits <= total."""
    if not 0 <= hits <= total:
        raise ValueError(f"{hits} of {total} is no share")
    if total == 0:
        return None
    observed = hits / total
    spread = z * z / total
    middle = (observed + spread / 2) / (1 + spread)
    half = z / (1 + spread) * sqrt(observed * (1 - observed) / total + spread / (4 * total))
    # At the ends the bound is the end itself; rounding must not put it beside it.
    return Interval(observed, 0.0 if hits == 0 else middle - half, 1.0 if hits == total else middle + half)


def difference(first: Interval, second: Interval) -> Interval:
    """`first - second` with Newcombe's interval, from the two shares' own."""
    value = first.value - second.value
    down = sqrt((first.value - first.low) ** 2 + (second.high - second.value) ** 2)
    up = sqrt((first.high - first.value) ** 2 + (second.value - second.low) ** 2)
    return Interval(value, value - down, value + up)


def verdict(lift: Interval) -> str:
    """What a difference of shares comes to, in words."""
    if lift.low > 0:
        return "better"
    return "worse" if lift.high < 0 else "not decided"
