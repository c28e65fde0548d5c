"""One supplier through a log: the pure machine event by event, and what it brings about.

This is the function that every replay runs a supplier through, whether a process folds a whole partition or Spark
groups an archive by supplier. It has no way out: it gathers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from replay.again.outreach import Outreach
from replay.log.stream import Told
from runtime.configuration import knows
from scoring.decisions.policy import Policy
from scoring.health.events import too_many
from scoring.health.machine import advance, apply, next_due
from scoring.health.metrics import Level
from scoring.health.rules import SHIPPED, Rules
from scoring.health.rules_switch import switch
from scoring.health.signals import Signal
from scoring.health.snapshot import snapshot
from scoring.health.state import Change, State, forget_told
from scoring.time import NEVER


@dataclass(slots=True)
class Life:
    """A supplier's state and what has come of it so far; whoever takes the lists empties them.

    `until` (ms) is the moment that is looked at: `final` is the snapshot of the supplier as of then, and the
    simulated messages end there. Events behind it are still read: signals that bear their own times may belong before
    it. What comes late counts in `final` as long as the supplier's clock, at which it is evaluated, has not passed it.
    `rules`: what is scored by. `shows`: whether somebody reads `final`.
    `outreaches`: each simulates the messages of one policy; they share the score. `step_ms`: messages are decided on
    the state at the end of steps of this length, as `success run` does it, instead of that very moment's.
    """

    id: str
    state: State = field(default_factory=State)
    until: int = NEVER
    outreaches: tuple[Outreach, ...] = ()
    step_ms: int = 0
    rules: Rules = SHIPPED
    shows: bool = True
    signals: list[Signal] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    cancellations: list[tuple[int, int | None]] = field(default_factory=list)
    """(event time of a cancellation by a supplier who had not cancelled, that of their coming back if they did)"""
    first_at: int = 0
    final: dict[str, Any] | None = None
    final_level: Level | None = None
    """The level in `final`; None without an event by then."""
    _closed: bool = False

    def tell(self, told: Iterable[Told]) -> None:
        """Events in their order: let time pass up to each, then apply it."""
        state, supplier_id, rules, has_messages = self.state, self.id, self.rules, bool(self.outreaches)
        for event, fire_to in told:
            if not knows(rules, event) or too_many(state, event, rules.client_events) is not None:
                continue  # a dead letter for the live worker
            at = event.at
            limit = at if at > fire_to else fire_to  # noqa: FURB136 - twice as fast as max()
            if not self._closed:
                if limit > self.until:
                    self._reach_the_end(at, fire_to)
                elif has_messages:
                    self._live(limit)
            if not state.seq:
                self.first_at = at
            if state.due <= fire_to:
                self._hear(advance(state, supplier_id, fire_to, rules))
            was_cancelled = state.cancelled
            signals = apply(state, supplier_id, event, rules)
            if signals:
                self._hear(signals)
            if state.cancelled != was_cancelled:
                self._note_cancellation(at)
        self._take_changes()

    def switch(self, policy: Policy, through: int) -> None:
        """Go over to the rules of this policy, as a partition did that had let time pass up to `through` (ms)."""
        state, rules = self.state, policy.rules
        if state.seq and state.rules < rules.version:
            if through > self.until and not self._closed:
                self.close(self.until)
            elif not self._closed:
                self._live(through + 1)
            self._hear(switch(state, self.id, self.rules, rules, through))
            self._take_changes()
        self._go_over(policy)

    def begin_with(self, policy: Policy, signals: list[Signal]) -> None:
        """Go on by these rules from a state that was brought up to them, which these signals came of."""
        self._go_over(policy)
        self._hear(signals)
        self._take_changes()

    def _go_over(self, policy: Policy) -> None:
        self.rules = policy.rules
        for outreach in self.outreaches:
            outreach.go_over(policy)

    def _note_cancellation(self, at: int) -> None:
        if self.state.cancelled:
            self.cancellations.append((at, None))
        elif self.cancellations:
            self.cancellations[-1] = (self.cancellations[-1][0], at)

    def _reach_the_end(self, at: int, fire_to: int) -> None:
        """Close before what happens later than `until`; an event that is evaluated by then still counts."""
        self._live(self.until + 1)
        if at > self.until:
            self.close(self.until)
        else:
            self.pass_time(fire_to)

    def pass_time(self, to: int) -> None:
        """Fire what is due at or before `to` (ms), without messages; close first if that goes beyond `until`."""
        if to > self.until and not self._closed:
            self._hear(advance(self.state, self.id, self.until, self.rules))
            if next_due(self.state, self.rules) <= to:
                self.close(self.until)
        self._hear(advance(self.state, self.id, to, self.rules))
        self._take_changes()

    def forget(self) -> None:
        """Drop what has been gathered: it is not reported."""
        self.signals, self.changes, self.cancellations = [], [], []

    def close(self, until: int) -> None:
        """Let time pass up to `until` and note how the supplier is then; messages end."""
        if self._closed:
            return
        self.until = until
        state = self.state
        if state.seq:
            self._live(until + 1)
            for outreach in self.outreaches:
                outreach.end()
            self.pass_time(until)
            self.final = snapshot(state, self.rules) if self.shows else None
            self.final_level = state.level
        self._closed = True

    def _live(self, limit: int) -> None:
        """Let timers fire and messages be decided in their order, as far as no event before `limit` is missing."""
        outreaches, state = self.outreaches, self.state
        if not outreaches:
            return
        while self._first_due(state.due) < limit:
            moment = self._first_due(next_due(state, self.rules))
            end = self._end_of_step(moment)
            if end >= limit:
                return
            self._hear(advance(state, self.id, end, self.rules))
            for outreach in outreaches:
                while outreach.next_due <= end:
                    outreach.deliver(outreach.next_due, state)

    def _first_due(self, due: int) -> int:
        """When a timer that is due at `due`, or a message, comes first."""
        for outreach in self.outreaches:
            if outreach.next_due < due:  # noqa: PLR1730 - twice as fast as min()
                due = outreach.next_due
        return due

    def _end_of_step(self, moment: int) -> int:
        if not self.step_ms:
            return moment
        return min(-(-moment // self.step_ms) * self.step_ms, self.until)

    def _hear(self, signals: list[Signal]) -> None:
        self.signals += signals
        if signals and not self._closed:
            for outreach in self.outreaches:
                outreach.hear(signals, self.state)

    def _take_changes(self) -> None:
        state = self.state
        self.changes += state.changes
        forget_told(state)
