"""One supplier through a log: the pure machine event by event, and what it brings about.

This is the function that every replay runs a supplier through, whether a process folds a whole partition or Spark
groups an archive by supplier. It has no way out: it gathers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from replay.outreach import Outreach
from replay.stream import Told
from scoring.health import snapshot
from scoring.machine import advance, apply, breakdown, next_due
from scoring.scale import Scale
from scoring.signals import Signal
from scoring.state import Change, State
from scoring.time import NEVER, instant_text, optional_instant_text


@dataclass(slots=True)
class Life:
    """A supplier's state and what has come of it so far; whoever takes the lists empties them.

    `until` (ms) is the moment that is looked at: `final` is the snapshot of the supplier as of then, and the
    simulated messages end there. Events behind it are still read: what comes late may belong before it.
    `scale`: other weights, whose `final` is short, because a snapshot's forecasts are of the usual ones.
    `holds`: the state has everything up to this offset already. `step_ms`: messages are decided on the state at
    the end of steps of this length, as `success run` does it, instead of that very moment's.
    """

    id: str
    state: State = field(default_factory=State)
    until: int = NEVER
    holds: int = -1
    outreach: Outreach | None = None
    step_ms: int = 0
    scale: Scale | None = None
    signals: list[Signal] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    cancellations: list[tuple[int, int | None]] = field(default_factory=list)
    """(event time of a cancellation by a supplier who had not cancelled, that of her coming back if she did)"""
    first_at: int = 0
    final: dict[str, Any] | None = None
    _closed: bool = False

    def tell(self, told: Told) -> None:
        """Let time pass up to an event, then apply it."""
        event, fire_to, offset = told
        if offset <= self.holds:
            return
        state = self.state
        if event.at > self.until and not self._closed:
            self.close(self.until)
        if not state.seq:
            self.first_at = event.at
        if self.outreach is not None and not self._closed:
            self._live(max(event.at, fire_to))
        if state.due <= fire_to:
            self._gather(advance(state, self.id, fire_to, self.scale))
        was_cancelled = state.cancelled
        self._gather(apply(state, self.id, event, self.scale))
        if state.cancelled != was_cancelled:
            if state.cancelled:
                self.cancellations.append((event.at, None))
            elif self.cancellations:
                self.cancellations[-1] = (self.cancellations[-1][0], event.at)

    def close(self, until: int) -> None:
        """Let time pass up to `until` and note how the supplier is then; messages end."""
        if self._closed:
            return
        self.until = until
        state = self.state
        if state.seq:
            if self.outreach is not None:
                self._live(until + 1)
                self.outreach.end()
            self._gather(advance(state, self.id, until, self.scale))
            self.final = snapshot(state) if self.scale is None else brief(state)
        self._closed = True

    def _live(self, limit: int) -> None:
        """Let timers fire and messages be decided in their order, as far as no event before `limit` is missing."""
        outreach, state = self.outreach, self.state
        if outreach is None:
            return
        while min(state.due, outreach.next_due) < limit:
            moment = min(next_due(state), outreach.next_due)
            end = self._end_of_step(moment)
            if end >= limit:
                return
            self._gather(advance(state, self.id, end, self.scale))
            while outreach.next_due <= end:
                outreach.deliver(outreach.next_due, state)

    def _end_of_step(self, moment: int) -> int:
        if not self.step_ms:
            return moment
        return min(-(-moment // self.step_ms) * self.step_ms, self.until)

    def _gather(self, signals: list[Signal]) -> None:
        state = self.state
        if signals:
            self.signals += signals
            if self.outreach is not None and not self._closed:
                self.outreach.hear(signals, state)
        if state.changes:
            self.changes += state.changes
            state.changes = []


def live(life: Life, told: Iterable[Told], until: int) -> Life:
    """Run a supplier through all of her events, in order, and on to `until`."""
    life.until = until
    for each in told:
        life.tell(each)
    life.close(until)
    return life


def brief(state: State) -> dict[str, Any]:
    """How a supplier stands with other weights."""
    return {
        "seq": state.seq,
        "calculated_at": instant_text(state.evaluated_at),
        "score": state.score,
        "sum": state.sum,
        "level": state.level,
        "breakdown": breakdown(state),
        "last_login": optional_instant_text(state.last_login),
        "signed_up_at": optional_instant_text(state.signed_up_at),
        "plan": state.plan,
        "cancelled": state.cancelled,
        "churn_probability": None,
    }
