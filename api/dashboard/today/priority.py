"""Whom to call first: risk x value x reachability. Pure; docs/dashboard.md gives the formula to agents.

`risk` is the churn probability, `value` the plan's worth relative to a free one, `reach` from 0 to 1 how likely a call
now comes to something. Each factor says why, so that nobody has to believe a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scoring.decisions.policy import Hours
from scoring.zones import zone_or

NIGHT, QUIET, MISSED, ASKED = 0.25, 0.7, 0.7, 1.5
"""Their night; no sign of life in `LATELY`; they missed the last call; they asked for one (reach stays at most 1)."""
LATELY = timedelta(days=21)
TALKED = timedelta(days=7)
"""Who was called this recently is left alone."""


@dataclass(frozen=True, slots=True)
class Priority:
    """How urgent a call is: `value x risk x reach`; `against` says why there is none to make now (reach 0)."""

    risk: float
    value: float
    reach: float
    why: tuple[str, ...]
    against: str | None = None

    @property
    def score(self) -> float:
        """What the list is ordered by, 0 to 10."""
        return self.risk * self.value * self.reach


def priority(facts: Mapping[str, Any], now: datetime, hours: Hours) -> Priority:
    """How urgent it is to call a supplier (a row of the query `call_facts`) at `now`."""
    risk, value = facts["churn_probability"] or 0.0, facts["value"]
    against = _against(facts, now)
    if against:
        return Priority(risk, value, 0.0, (), against)
    reach, why = 1.0, []
    for factor, words in _reach(facts, now, hours):
        reach *= factor
        why.append(words)
    return Priority(risk, value, min(1.0, reach), tuple(why))


def not_to_do(task: Mapping[str, Any], facts: Mapping[str, Any], now: datetime) -> str | None:
    """Why a call that is to be made makes no sense now; None if it does.

    What the engine asked for and nobody took over goes by the same grounds as every suggestion; what a person asked
    for, or took over, ends with who left.
    """
    if facts["cancelled"]:
        return "they have cancelled"
    if is_asked(task):
        return None
    if facts["all_opt_out"]:
        return "they opted out of everything"
    if task["added_by"] or facts["owner"]:
        return None
    return "they are healthy again" if facts["level"] == "healthy" else _against(facts, now)


def is_asked(task: Mapping[str, Any]) -> bool:
    """Whether the supplier asked for this call."""
    return bool(task["interaction_type"] != "churn_prevention")


def local_time(now: datetime, zone: str | None, fallback: str) -> datetime:
    """What their clock shows; in `fallback` where their zone is not known."""
    return now.astimezone(zone_or(zone, fallback))


def _against(facts: Mapping[str, Any], now: datetime) -> str | None:
    done, declined = facts["last_done"], facts["last_declined"]
    grounds = (
        (facts["cancelled"], "they have cancelled"),
        (facts["all_opt_out"], "they opted out of everything"),
        (facts["held_until"] is not None and now < facts["held_until"], "messages to them are held"),
        (facts["paused_until"] is not None and now < facts["paused_until"], "they asked for a break"),
        (facts["booked"] is not None, "a call is booked"),
        (done is not None and now - done < TALKED, "somebody talked to them this week"),
        (
            declined is not None and now - declined < TALKED,
            "somebody found this week that no call is needed",
        ),
    )
    return next((words for applies, words in grounds if applies), None)


def _reach(facts: Mapping[str, Any], now: datetime, hours: Hours) -> list[tuple[float, str]]:
    local = local_time(now, facts["timezone"], hours.zone)
    minute = local.hour * 60 + local.minute
    awake = hours.from_minute <= minute < hours.until_minute
    found = [(1.0, f"{local:%H:%M} their time") if awake else (NIGHT, f"{local:%H:%M} their time: night")]
    signs = [at for at in (facts["last_login"], facts["last_read"]) if at is not None]
    if not signs or now - max(signs) > LATELY:
        found.append((QUIET, "no sign of life in three weeks"))
    if facts["last_missed"] is not None:
        found.append((MISSED, "they missed the last call"))
    if facts["asked"] is not None:
        found.append((ASKED, "they asked for a call"))
    return found
