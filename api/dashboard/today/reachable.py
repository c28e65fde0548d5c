"""When a call can reach them and when it is due: agents' hours, their day and zone, the days of their work. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from scoring.decisions.calls import judge
from scoring.zones import zone_named, zone_or, zone_words
from store.times import to_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scoring.decisions.policy import Calls, Hours

LOOK_AHEAD = 8
"""Days: whom none of a week's hours reaches, none will."""
_STEP, _DAY = timedelta(minutes=30), timedelta(days=1)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether they can be called now, and in words: their time, or why not and from when on (`ever`: in a week)."""

    now: bool
    words: str
    ever: bool = True


def reach(now: datetime, zone: str | None, hours: Hours, calls: Calls, busy: Mapping[str, str]) -> Reach:
    """Whether somebody in `zone` (None: not known, agents' own) can be called now.

    `hours`: of their day; `calls`: when agents are there; `busy`: the days of their work (`Names.busy_days`).
    """
    local = now.astimezone(zone_or(zone, hours.zone))
    clock = f"{local:%H:%M} their time"
    against = _against(now, local, hours, calls, busy)
    if against is None:
        return Reach(True, clock)
    first = _next(now, zone, hours, calls, busy)
    again = f"from {_moment(first, calls)}" if first else "our hours are never their day: write"
    return Reach(False, f"Not now: {clock}, {against}; {again}", first is not None)


def channel(facts: Mapping[str, Any]) -> str:
    """How they are best reached: a row of the query `call_facts` in words."""
    if facts["phone"]:
        return "phone"
    if facts["email"] and not facts["email_opt_out"] and not facts["all_opt_out"]:
        return "email: no number is known"
    return "the coach: no number is known, and no email may go"


def due_day(task: Mapping[str, Any], calls: Calls) -> date:
    """The day on which a task is due, in agents' zone.

    What was put off, then; what an agent added, at once; what we or they asked for, on agents' next working day.
    """
    zone = zone_named(calls.zone)
    if task["snoozed_until"] is not None:
        until: datetime = task["snoozed_until"]
        return until.astimezone(zone).date()
    born: date = task["created_at"].astimezone(zone).date()
    return born if task["added_by"] else working_day(born + _DAY, calls)


def due_words(day: date, now: datetime, calls: Calls) -> str:
    """`Due today`, `Overdue by 2 days`, `Due Wed 7 Jan`."""
    ahead = (day - now.astimezone(zone_named(calls.zone)).date()).days
    if ahead < 0:
        return f"Overdue by {-ahead} {'day' if ahead == -1 else 'days'}"
    if ahead < 2:  # noqa: PLR2004 - today and tomorrow
        return ("Due today", "Due tomorrow")[ahead]
    return f"Due {_day(day)}"


def working_day(day: date, calls: Calls) -> date:
    """The first day from `day` on that agents work on."""
    return next(
        found for ahead in range(7) if _WEEKDAYS[(found := day + ahead * _DAY).weekday()] in calls.days
    )


def put_off_until(now: datetime, days: int, calls: Calls) -> datetime:
    """The beginning of agents' working day in so many days."""
    zone = zone_named(calls.zone)
    return datetime.combine(working_day(now.astimezone(zone).date() + days * _DAY, calls), time(), zone)


def put_off_words(now: datetime, days: int, calls: Calls) -> str:
    """What a button says that puts off by so many days: `Tomorrow`, `Mon 7 Dec`."""
    today = now.astimezone(zone_named(calls.zone)).date()
    day = working_day(today + days * _DAY, calls)
    return "Tomorrow" if day == today + _DAY else _day(day)


def _against(
    at: datetime, local: datetime, hours: Hours, calls: Calls, busy: Mapping[str, str]
) -> str | None:
    minute = local.hour * 60 + local.minute
    if (day := _WEEKDAYS[local.weekday()]) in busy:
        return busy[day]
    if not hours.from_minute <= minute < hours.until_minute:
        return "night"
    at_ms = to_ms(at)
    return None if judge(at_ms, at_ms - 1, (), calls) == "free" else "outside our hours"


def _next(
    now: datetime, zone: str | None, hours: Hours, calls: Calls, busy: Mapping[str, str]
) -> datetime | None:
    """The next half hour within agents' hours in which they can be called."""
    ours, theirs = zone_named(calls.zone), zone_or(zone, hours.zone)
    today = now.astimezone(ours).date()
    for ahead in range(LOOK_AHEAD):
        at = datetime.combine(
            today + ahead * _DAY, time(calls.from_minute // 60, calls.from_minute % 60), ours
        )
        for step in range((calls.until_minute - calls.from_minute) // 30 + 1):
            moment = at + step * _STEP
            if moment > now and _against(moment, moment.astimezone(theirs), hours, calls, busy) is None:
                return moment
    return None


def _moment(at: datetime, calls: Calls) -> str:
    return f"{at:%a %H:%M} {zone_words(calls.zone)}"


def _day(day: date) -> str:
    return f"{day:%a} {day.day} {day:%b}"
