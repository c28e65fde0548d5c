"""What a what-if may change of the score: the components' weights, the levels' thresholds and the hysteresis.

The machine scores with the constants of `metrics.py` (contract section 5) unless it is given a `Scale`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from scoring.metrics import AT_RISK_FROM, COMPONENTS, HEALTHY_FROM, HYSTERESIS, Level, next_level

WEIGHTS = (30, 25, 25, 10, 10)
"""The most points of each component, in the order of `metrics.COMPONENTS`."""
NAMES = ("login", "features", "clients", "forms", "journeys")
"""What the components are called in `weights.<name>`."""
THRESHOLDS = ("at_risk", "healthy", "hysteresis")
"""What may be set as `levels.<name>`."""


class ScaleError(ValueError):
    """Weights or thresholds that make no score; the message says why."""


@dataclass(frozen=True)
class Scale:
    """Weights and thresholds. Points keep their shares: with a login weight of 15, 30 / 20 / 10 / 5 are halved.

    A sum isn't stretched to 100: with a login weight of 20 it reaches 90, and the thresholds stay where they are
    unless they are set too.
    """

    weights: tuple[float, ...] = WEIGHTS
    at_risk_from: float = AT_RISK_FROM
    healthy_from: float = HEALTHY_FROM
    hysteresis: float = HYSTERESIS

    def __post_init__(self) -> None:
        if len(self.weights) != len(WEIGHTS) or min(self.weights) < 0:
            raise ScaleError(f"weights.<name> is a number from 0 on, for {', '.join(NAMES)}")
        if not 0 <= self.at_risk_from < self.healthy_from:
            raise ScaleError("levels.at_risk must be at least 0 and below levels.healthy")
        if self.hysteresis < 0:
            raise ScaleError("levels.hysteresis can't be below 0")

    def points(self, component: int, usual: float) -> float:
        """A component's points, from those with the usual weights."""
        return usual * self.weights[component] / WEIGHTS[component]

    def next_level(self, current: Level | None, score_sum: float) -> Level:
        """The level with hysteresis, by these thresholds."""
        return next_level(current, score_sum, self.at_risk_from, self.healthy_from, self.hysteresis)

    def with_setting(self, name: str, value: float) -> Self:
        """The same scale but for `weights.<name>` or `levels.<name>`; ScaleError where there is no such."""
        table, _, field = name.partition(".")
        if table == "weights" and field in {*NAMES, *COMPONENTS}:
            index = NAMES.index(field) if field in NAMES else COMPONENTS.index(field)
            weights = (*self.weights[:index], value, *self.weights[index + 1 :])
            return replace(self, weights=weights)
        if table == "levels" and field in THRESHOLDS:
            return self._with_threshold(field, value)
        raise ScaleError(
            f"{name} can't be set: there are {', '.join(f'weights.{each}' for each in NAMES)} and "
            f"{', '.join(f'levels.{each}' for each in THRESHOLDS)}"
        )

    def _with_threshold(self, name: str, value: float) -> Self:
        if name == "at_risk":
            return replace(self, at_risk_from=value)
        return replace(self, healthy_from=value) if name == "healthy" else replace(self, hysteresis=value)
