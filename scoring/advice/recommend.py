"""What a supplier could do next, the exact points it would add to their score, and their cheapest way up.

Pure but for reading its own data file once. The points come from putting an action through the score's own formula
(`what_if.py`); logging in, which every action begins with, is left out of all of them alike, and is a step of its
own on the way to the next level.
"""

from __future__ import annotations

import tomllib
from functools import cache
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import Literal

import msgspec

from scoring.advice.circumstances import Snapshot, check_names, hold
from scoring.advice.what_if import Action, after, points_of, sum_of
from scoring.health.metrics import LOGIN, Level, displayed, is_worse
from scoring.health.rules import SHIPPED

__all__ = [
    "Recommendation",
    "Snapshot",
    "WayUp",
    "action_ids",
    "best",
    "coming_back",
    "is_absence",
    "points_gained",
    "recommend",
    "way_up",
    "worth_saying",
]

DATA = Path(__file__).parents[1] / "recommendations.toml"

Priority = Literal["high", "medium", "low"]
HIGH_FROM, MEDIUM_FROM = 2.0, 0.6
"""Points a minute from which an action's priority is high, or medium."""
LEAST_WORTH = 0.1
"""Points below which nobody is bothered with an action."""
LEAST_OF_LETTER = 5.0
"""Points below which a step is not worth a letter of its own."""
LONGEST_WAY = 6
"""Steps of a way to the next level; a longer one helps nobody."""


class Recommendation(msgspec.Struct, frozen=True):
    """One piece of advice with its worth.

    `points`: what it adds to the sum; `minutes`: what it takes; `reaches`: the better level that it alone brings.
    """

    id: str
    type: Literal["feature_tip", "best_practice", "integration", "upgrade"]
    title: str
    description: str
    action_text: str
    action_path: str
    points: float
    minutes: int
    reaches: Level | None = None

    @property
    def estimated_impact(self) -> str:
        """`+6 points`, or `+6 points, reaches healthy`."""
        return points_gained(self.points) + (", reaches healthy" if self.reaches == "healthy" else "")

    @property
    def priority(self) -> Priority:
        """By gain over effort, as the list is ordered."""
        worth = self.points / self.minutes
        return "high" if worth >= HIGH_FROM else "medium" if worth >= MEDIUM_FROM else "low"


class WayUp(msgspec.Struct, frozen=True):
    """The cheapest way to the next level: each step's points are those that it adds after the steps before it."""

    steps: tuple[Recommendation, ...]
    points: float
    minutes: int
    reaches: Level


def recommend(snapshot: Snapshot) -> list[Recommendation]:
    """Everything that would add points (0.1 at least) for this supplier, most points a minute first."""
    found = [
        made for action in _actions() if not action.login and (made := _recommendation(snapshot, action)[0])
    ]
    return sorted(found, key=lambda one: (-one.points / one.minutes, one.id))


def best(snapshot: Snapshot) -> Recommendation | None:
    """Pick the one worth most points (of equal ones the quickest); None if nothing would add any."""
    return max(recommend(snapshot), key=lambda one: (one.points, -one.minutes), default=None)


def coming_back(snapshot: Snapshot) -> float:
    """The points that logging in adds, which every action begins with and `recommend` leaves out."""
    return round(SHIPPED.weights[LOGIN] - points_of(snapshot)[LOGIN], 9)


def is_absence(snapshot: Snapshot) -> bool:
    """Whether nothing would do more than that they come back: absence is what brought their score down."""
    advice = best(snapshot)
    return coming_back(snapshot) >= max(LEAST_OF_LETTER, advice.points if advice else 0.0)


def worth_saying(snapshot: Snapshot) -> float:
    """The points of the best there is to say, coming back among them: what a letter of advice is worth."""
    advice = best(snapshot)
    return max(coming_back(snapshot), advice.points if advice else 0.0)


def way_up(snapshot: Snapshot) -> WayUp | None:
    """The way to a better level that takes the fewest minutes (of equal ones the fewest steps).

    None for who is healthy, or where no few steps lead there.
    """
    level: Level = snapshot["level"]
    if level == "healthy":
        return None
    order = count()
    waiting: list[tuple[int, int, int, Snapshot, tuple[Recommendation, ...]]] = [
        (0, 0, next(order), snapshot, ())
    ]
    seen = set()
    while waiting:
        minutes, length, _, here, steps = heappop(waiting)
        if steps and steps[-1].reaches:
            gained = round(sum_of(here) - sum_of(snapshot), 9)
            return WayUp(steps, gained, minutes, steps[-1].reaches)
        place = _place(here)
        if place in seen or length == LONGEST_WAY:
            continue
        seen.add(place)
        for action in _next_actions(here):
            step, there = _recommendation(here, action)
            if step:
                entry = (minutes + step.minutes, length + 1, next(order), there, (*steps, step))
                heappush(waiting, entry)
    return None


def points_gained(points: float) -> str:
    """`+6 points`, `+1 point`; below one point with a decimal, since `+0` would say that it is worth nothing."""
    shown = f"{points:.1f}" if round(points, 1) < 1 else str(displayed(points))
    return f"+{shown} point" if shown == "1" else f"+{shown} points"


def _next_actions(snapshot: Snapshot) -> tuple[Action, ...]:
    """Who has been away logs in first; nothing else can be done before it."""
    away = points_of(snapshot)[LOGIN] < SHIPPED.weights[LOGIN]
    return tuple(action for action in _actions() if action.login == away)


def _recommendation(snapshot: Snapshot, action: Action) -> tuple[Recommendation | None, Snapshot]:
    """The action with its worth, None where it makes no sense or adds nothing; and the snapshot after it."""
    if not hold(action.requires, snapshot):
        return None, snapshot
    there = after(snapshot, action)
    gain = round(sum_of(there) - sum_of(snapshot), 9)
    if gain < LEAST_WORTH:
        return None, snapshot
    made = Recommendation(
        id=action.id,
        type=action.type,
        title=action.title,
        description=action.description,
        action_text=action.action_text,
        action_path=action.action_path,
        points=gain,
        minutes=action.minutes,
        reaches=_better_level(snapshot.get("level"), sum_of(there)),
    )
    return made, there


def _better_level(level: Level | None, score_sum: float) -> Level | None:
    reached = SHIPPED.next_level(level, score_sum)
    return reached if level is not None and is_worse(level, reached) else None


def _place(snapshot: Snapshot) -> tuple[object, ...]:
    """What a snapshot's points and possible actions depend on."""
    counted = (snapshot["clients"], snapshot["forms"], snapshot["journeys"])
    return (*snapshot["features"], *(tuple(each.values()) for each in counted), points_of(snapshot)[LOGIN])


def action_ids() -> frozenset[str]:
    """The ids of everything that can be recommended."""
    return frozenset(action.id for action in _actions())


@cache
def _actions() -> tuple[Action, ...]:
    raw = tomllib.loads(DATA.read_text("utf-8"))
    actions = msgspec.convert(raw["recommendation"], tuple[Action, ...])
    for action in actions:
        check_names(action.requires, f"{DATA.name}, recommendation {action.id}")
    return actions
