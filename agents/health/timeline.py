"""By which rules a partition folds: those it began with, and from each switch on those of another version."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from scoring.health.rules import Rules
from scoring.health.rules_switch import switch
from scoring.health.signals import Signal
from scoring.health.state import State
from scoring.time import NEVER


class UnknownVersionError(Exception):
    """A state was made by a version that nobody knows; the message says what to do."""


LookUp = Callable[[int], Rules | None]


def _nothing(_version: int) -> None:
    return None


class Step(NamedTuple):
    """From the offset on records are folded by `rules`; time up to `through` (ms) was fired by those before."""

    rules: Rules
    offset: int
    through: int


class Timeline:
    """The rules of one partition, which `take` moves on; states follow one by one (`bring_up`)."""

    def __init__(self, rules: Rules, steps: Iterable[Step] = ()) -> None:
        self.rules = rules
        """In force now."""
        self._steps = tuple(steps)
        self._taken = 0
        self._known = {each.version: each for each in (rules, *(step.rules for step in self._steps))}
        self._look_up: LookUp = _nothing

    def learn(self, steps: Iterable[Step], look_up: LookUp | None = None) -> None:
        """Know of more switches: all there are, those that were taken first.

        `look_up`: the rules of a version that this partition never had a switch to; a supplier who moved here from
        another may have been scored by them.
        """
        self._steps = tuple(steps)
        self._look_up = look_up or self._look_up
        self._known |= {step.rules.version: step.rules for step in self._steps}

    @property
    def next_offset(self) -> int:
        """Where the next switch is; NEVER if none is known."""
        return self._steps[self._taken].offset if self._taken < len(self._steps) else NEVER

    @property
    def newest(self) -> int:
        """The version of the last switch that is known, taken or not; that of the beginning without one."""
        return self._steps[-1].rules.version if self._steps else self.rules.version

    def take(self) -> Step:
        """Pass the next switch."""
        step = self._steps[self._taken]
        self._taken += 1
        self.rules = step.rules
        return step

    def rules_of(self, state: State) -> Rules:
        """Those that made a state, or, before its first event, will make it."""
        if not state.seq:
            return self.rules
        rules = self._known.get(state.rules) or self._look_up(state.rules)
        if rules is None:
            raise UnknownVersionError(
                f"a state was made by version {state.rules} of the rules, of which success.rules says nothing: was the "
                "topic deleted? Delete the state topic too to rebuild the state from the log"
            )
        return rules

    def bring_up(self, state: State, supplier_id: str) -> list[Signal]:
        """Take a state through the switches that it has not seen yet; the signals of that."""
        signals: list[Signal] = []
        if state.seq:
            for step in self._steps[: self._taken]:
                if step.rules.version > state.rules:
                    signals += switch(state, supplier_id, self.rules_of(state), step.rules, step.through)
        return signals
