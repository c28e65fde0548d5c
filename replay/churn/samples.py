"""Moments of somebody's history with what was known then, and what came of it within the horizon.

The past and the future never meet: what is known at a moment is the state that the scoring machine has reached with the
events up to it; only the label looks ahead, exactly one horizon far.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np

from replay.log.activity_log import LEFT, ActivityLog, History
from scoring.health.churn import SIGNALS, signal_values
from scoring.health.machine import advance, apply
from scoring.health.rules import SHIPPED
from scoring.health.state import State
from scoring.time import DAY, WEEK

STEP_MS = WEEK
"""Days of the model between two looks at somebody."""
BASELINES = ("days since the last login", "health score", "event frequency")
"""What the model has to beat; each is turned so that more means likelier to leave."""
FREQUENCY_MS = 30 * DAY
UNKNOWN_SILENCE_DAYS = 999.0

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Samples:
    """A row a moment: whose, when (ms), the model's signals, the baselines, whether they left within the horizon."""

    users: Array
    at: Array
    signals: Array
    baselines: Array
    left: Array

    def __len__(self) -> int:
        return len(self.at)

    def where(self, chosen: Array) -> Samples:
        """Those for which `chosen` is true."""
        return Samples(
            self.users[chosen],
            self.at[chosen],
            self.signals[chosen],
            self.baselines[chosen],
            self.left[chosen],
        )


def take_samples(log: ActivityLog, horizon_ms: int) -> Samples:
    """Look at everybody every `STEP_MS` from half a horizon into the log up to one before its end.

    Left out: who had left at that moment. Where a log does not say leaving, that is who had been silent for a
    horizon, for whom there is nothing left to foresee.
    """
    moments = range(log.starts_at + horizon_ms // 2, log.ends_at - horizon_ms + 1, STEP_MS)
    rows: list[tuple[int, int, tuple[float, ...], tuple[float, ...], bool]] = []
    for number, history in enumerate(log.histories):
        for at, signals, baselines, left in _look(history, moments, horizon_ms, log.says_leaving):
            rows.append((number, at, signals, baselines, left))
    return Samples(
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=float).reshape(len(rows), len(SIGNALS)),
        np.array([row[3] for row in rows], dtype=float).reshape(len(rows), len(BASELINES)),
        np.array([row[4] for row in rows], dtype=bool),
    )


def _look(
    history: History, moments: range, horizon_ms: int, says_leaving: bool
) -> list[tuple[int, tuple[float, ...], tuple[float, ...], bool]]:
    events = history.events
    times = [event.at for event in events]
    departures = [event.at for event in events if event.type == LEFT]
    state, told, seen = State(), 0, []
    for at in moments:
        while told < len(events) and times[told] <= at:
            apply(state, history.id, events[told])
            told += 1
        if not told:
            continue
        advance(state, history.id, at)
        if says_leaving:
            if state.cancelled:
                continue
            left = _any_within(departures, at, horizon_ms)
        else:
            if times[told - 1] <= at - horizon_ms:
                continue
            left = not _any_within(times, at, horizon_ms)
        recent = told - bisect_right(times, at - FREQUENCY_MS)
        seen.append((at, signal_values(state, at, SHIPPED.weights), _baselines(state, at, recent), left))
    return seen


def _any_within(times: list[int], at: int, span: int) -> bool:
    """Whether one of the sorted times lies in (at, at + span]."""
    return bisect_right(times, at + span) > bisect_right(times, at)


def _baselines(state: State, at: int, recent: int) -> tuple[float, ...]:
    silence = UNKNOWN_SILENCE_DAYS if state.last_login is None else (at - state.last_login) / DAY
    return silence, -state.sum, -float(recent)
