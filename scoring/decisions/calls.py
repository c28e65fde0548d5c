"""Calls with a support agent: which time can be confirmed, what is free, and what may change of a call.

Pure: `now_ms` and what is taken come in, a decision with its reason goes out. Times are int ms, UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Literal

from scoring.decisions.hours import next_open
from scoring.decisions.policy import Calls, Hours
from scoring.time import DAY, HOUR, MINUTE
from scoring.zones import zone_named

Reason = Literal["onboarding", "technical_issue", "growth_consultation"]
Urgency = Literal["low", "medium", "high"]
Outcome = Literal["resolved", "escalated", "follow_up_needed"]
Status = Literal["scheduled", "completed", "cancelled", "no_show"]
Verdict = Literal["confirmed", "free", "past", "too_far", "outside_hours", "taken"]
Action = Literal["reschedule", "cancel", "complete", "no_show", "amend", "nothing"]

INTERACTION_TYPES: dict[Reason, str] = {
    "onboarding": "onboarding_call",
    "technical_issue": "technical_support",
    "growth_consultation": "check_in",
}
"""`interaction_type` of the row that a reason makes."""

FURTHEST = 365 * DAY
"""How far ahead a call can be booked."""
NOTICE = HOUR
"""Times that we propose are at least this far ahead, so that they can be there."""
APART = HOUR
"""Between two times that we propose: three quarters of an hour in a row are no choice."""
PROPOSALS = 3
LOOK_AHEAD_DAYS = 60

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)

Span = tuple[int, int]
"""A stretch of time, [start, end)."""


@dataclass(frozen=True, slots=True)
class Booking:
    """What became of preferred times: the confirmed start (None if none fits) and why, time by time."""

    confirmed: int | None
    verdicts: list[tuple[int, Verdict]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a change of a call is not made, in words."""

    why: str


def ends(start_ms: int, hours: Calls) -> int:
    """When a call that starts then is over."""
    return start_ms + hours.minutes * MINUTE


def book(preferred: Sequence[int], now_ms: int, taken: Sequence[Span], hours: Calls) -> Booking:
    """Confirm the first preferred time that is ahead, within agents' hours and not taken."""
    verdicts = [(start, judge(start, now_ms, taken, hours)) for start in preferred]
    confirmed = next((start for start, verdict in verdicts if verdict == "free"), None)
    first = preferred.index(confirmed) if confirmed is not None else -1
    return Booking(
        confirmed,
        [
            (start, "confirmed" if place == first else verdict)
            for place, (start, verdict) in enumerate(verdicts)
        ],
    )


def judge(start_ms: int, now_ms: int, taken: Sequence[Span], hours: Calls) -> Verdict:
    """Say whether a call can start then (`free`), or why not. The whole call must lie within agents' hours."""
    if start_ms <= now_ms:
        return "past"
    if start_ms - now_ms > FURTHEST:
        return "too_far"
    end_ms = ends(start_ms, hours)
    if not _within_hours(start_ms, end_ms, hours):
        return "outside_hours"
    overlaps = any(start_ms < other_end and other_start < end_ms for other_start, other_end in taken)
    return "taken" if overlaps else "free"


def propose(
    now_ms: int, taken: Sequence[Span], hours: Calls, zone: str | None, waking: Hours, count: int = PROPOSALS
) -> list[int]:
    """The next free times, an hour apart, those in which it is day where they live before all others.

    `zone` is theirs (None if not known: every time will do), `waking` the hours of their day. Agents in one place and
    a supplier on the other side of the world may share hardly an hour; then they get the agents' next times.
    """
    ahead = now_ms + NOTICE
    free = [start for start in _grid(ahead, hours) if judge(start, now_ms, taken, hours) == "free"]
    awake = [start for start in free if zone is None or _is_day(start, zone, waking)]
    by_day = _spread(awake, count)
    return by_day if len(by_day) == count else _spread(free, count)


def change(
    status: str, scheduled_at: int | None, wanted: str | None, new_time: int | None, now_ms: int
) -> Action | Refusal:
    """What a wanted status or new time means for a call as it stands; a Refusal says why it can't be.

    `wanted` is None where no status was given. Asking again for what is so already is `nothing`, not an error.
    """
    if new_time is not None and wanted not in {None, "scheduled"}:
        return Refusal("give a new time or a new status, not both")
    if status == "scheduled":
        return _change_open(scheduled_at, wanted, new_time, now_ms)
    if new_time is not None or wanted not in {None, status}:
        done = {"completed": "is completed", "cancelled": "is cancelled", "no_show": "was missed"}
        return Refusal(f"this call {done.get(status, status)} already; book another one")
    return "amend" if wanted is None or status == "completed" else "nothing"


def _change_open(
    scheduled_at: int | None, wanted: str | None, new_time: int | None, now_ms: int
) -> Action | Refusal:
    if new_time is not None:
        return "nothing" if new_time == scheduled_at else "reschedule"
    if wanted == "no_show":
        return _missed(scheduled_at, now_ms)
    match wanted:
        case "cancelled":
            return "cancel"
        case "completed":
            return "complete"
        case _:
            return "amend"


def _missed(scheduled_at: int | None, now_ms: int) -> Action | Refusal:
    if scheduled_at is None:
        return Refusal("a call without a time can't be missed")
    return "no_show" if scheduled_at <= now_ms else Refusal("a call that has not begun can't be missed")


def _within_hours(start_ms: int, end_ms: int, hours: Calls) -> bool:
    local_zone = zone_named(hours.zone)
    start, end = _local(start_ms, local_zone), _local(end_ms, local_zone)
    if _WEEKDAYS[start.weekday()] not in hours.days:
        return False
    midnight = datetime.combine(start.date(), time(), tzinfo=None)
    # Wall time from the day's midnight; the end may be the next midnight ("24:00").
    from_at = midnight + timedelta(minutes=hours.from_minute)
    until_at = midnight + timedelta(minutes=hours.until_minute)
    return from_at <= start.replace(tzinfo=None) and end.replace(tzinfo=None) <= until_at


def _grid(from_ms: int, hours: Calls) -> Iterator[int]:
    """Starts of calls back to back from the opening of each of the agents' days, from `from_ms` on."""
    local_zone = zone_named(hours.zone)
    today = _local(from_ms, local_zone).date()
    for offset in range(LOOK_AHEAD_DAYS):
        day = today + timedelta(days=offset)
        if _WEEKDAYS[day.weekday()] not in hours.days:
            continue
        last = hours.until_minute - hours.minutes
        for minute in range(hours.from_minute, last + 1, hours.minutes):
            start = _instant(day, minute, local_zone)
            if start >= from_ms:
                yield start


def _spread(starts: Sequence[int], count: int) -> list[int]:
    chosen: list[int] = []
    for start in starts:
        if len(chosen) == count:
            break
        if not chosen or start - chosen[-1] >= APART:
            chosen.append(start)
    return chosen


def _is_day(at_ms: int, zone: str, waking: Hours) -> bool:
    return next_open(at_ms, zone, waking.zone, waking.from_minute, waking.until_minute) == at_ms


def _local(at_ms: int, local_zone: tzinfo) -> datetime:
    return (_EPOCH + at_ms * _MS).astimezone(local_zone)


def _instant(day: date, minute: int, local_zone: tzinfo) -> int:
    wall = datetime.combine(day, time(minute // 60, minute % 60), local_zone)
    return (wall.astimezone(UTC) - _EPOCH) // _MS
