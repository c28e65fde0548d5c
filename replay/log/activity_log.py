"""An activity log as the churn model looks at it: whose events, when it begins and ends, what leaving means.

Times are ms of the model's own days: a log of another rhythm is brought to ours by dividing its time by `scale`, so
that bands and windows (3, 7, 14, 30 days) hold as they are and mean `scale` times as many real days.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scoring.health.events import Event
from scoring.time import DAY
from topics.catalog import ACTIVITY
from topics.decoding import ActivityEvent, decode
from topics.lines import NotLinesError, checked, read_line

LEFT, CAME_BACK = "supplier.cancelled", "supplier.reactivated"
DEFAULT_HORIZON_DAYS = 30.0
_FAR_AHEAD = 1 << 60
"""An append time that no event's time is ahead of: a recorded file was accepted once."""


class LogError(ValueError):
    """A log can't be used; the message says what is wrong with it and what to do."""


@dataclass(frozen=True, slots=True)
class History:
    """One user's events, in order of time."""

    id: str
    events: list[Event]


@dataclass(frozen=True)
class ActivityLog:
    """Everybody's history. `starts_at`, `ends_at` in ms of the model's days.

    `says_leaving`: the log has events that say so (`supplier.cancelled`). Without any, leaving is no activity for a
    horizon. `scale`: real days a day of the model. `notes`: what was done to read it, for people.
    """

    name: str
    histories: list[History]
    starts_at: int
    ends_at: int
    says_leaving: bool
    scale: float = 1.0
    notes: tuple[str, ...] = ()

    @property
    def events(self) -> int:
        """How many there are."""
        return sum(len(history.events) for history in self.histories)

    @property
    def days(self) -> float:
        """How long it is, in real days."""
        return (self.ends_at - self.starts_at) / DAY * self.scale


@dataclass(frozen=True, slots=True)
class PlainEvent:
    """An event made from a row of somebody else's log; `data` has every field that a handler could ask for."""

    type: str
    at: int
    id: str
    source: str
    data: Any


@dataclass(frozen=True, slots=True)
class Fields:
    """Data of a `PlainEvent`."""

    client_id: str | None = None
    client_ids: tuple[str, ...] = ()
    plan: str | None = None
    journey_id: str | None = None


def read_lines(path: Path) -> ActivityLog:
    """A recorded file of ours: JSON Lines of CloudEvents (profiles and what can't be read are passed over)."""
    found: dict[str, list[Event]] = defaultdict(list)
    refused = 0
    try:
        with path.open("rb") as lines:
            for line in filter(None, (raw.strip() for raw in checked(lines, str(path)))):
                topic, key, value = read_line(line)
                event = decode(key, value, (), _FAR_AHEAD) if topic == ACTIVITY else None
                if isinstance(event, ActivityEvent):
                    found[event.subject].append(event)
                elif topic == ACTIVITY:
                    refused += 1
    except NotLinesError as error:
        raise LogError(str(error)) from error
    except OSError as error:
        raise LogError(f"can't read {path}: {error.strerror}") from error
    notes = (f"lines that could not be read as activity: {refused:,}",) if refused else ()
    return log_of(path.name, found, notes=notes)


def log_of(
    name: str, found: dict[str, list[Event]], *, scale: float = 1.0, notes: Iterable[str] = ()
) -> ActivityLog:
    """A log of these events by user; LogError if there are none."""
    if not found:
        raise LogError(f"{name}: no activity in it; a CSV file of another business needs --map")
    histories = [
        History(user, sorted(events, key=lambda event: event.at)) for user, events in sorted(found.items())
    ]
    starts = min(history.events[0].at for history in histories)
    ends = max(history.events[-1].at for history in histories)
    leaving = any(event.type == LEFT for history in histories for event in history.events)
    return ActivityLog(name, histories, starts, ends, leaving, scale, tuple(notes))


def usual_silence(times: Iterable[np.ndarray[Any, Any]], before: float) -> float | None:
    """The silence, in the times' unit of days, that 9 of 10 gaps between somebody's days of activity stay under.

    `times`: each user's days (whole numbers, sorted, none twice). Only what lies before `before` is looked at, lest the
    later part of a log decides how the earlier is read. Everybody counts alike, however often they came. None without
    any gap.
    """
    gaps, weights = [], []
    for days in times:
        between = np.diff(days[days < before])
        if between.size:
            gaps.append(between)
            weights.append(np.full(between.size, 1 / between.size))
    if not gaps:
        return None
    all_gaps, all_weights = np.concatenate(gaps), np.concatenate(weights)
    order = np.argsort(all_gaps)
    shares = np.cumsum(all_weights[order]) / all_weights.sum()
    return float(all_gaps[order][np.searchsorted(shares, 0.9)])
