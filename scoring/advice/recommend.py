"""What a supplier could do next, the exact points it would add to their score, and their cheapest way up.

Pure. The points come from putting an action through the score's own formula
(`what_if.py`); logging in, which every action begins with, is left out of all of them alike, and is a step of its
own on the way to the next level.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Literal

import msgspec

from scoring.advice.book import Action, book_of
from scoring.advice.circumstances import Snapshot
from scoring.advice.what_if import after, points_of, sum_of
from scoring.health.metrics import LOGIN, Level, displayed, is_worse
from scoring.health.rules import SHIPPED, Rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "Recommendation",
    "Snapshot",
    "WayUp",
    "best",
    "coming_back",
    "is_absence",
    "points_gained",
    "recommend",
    "way_up",
    "worth_saying",
]

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
    basic: bool = False

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


def recommend(snapshot: Snapshot, rules: Rules = SHIPPED) -> list[Recommendation]:
    """Everything that would add points (0.1 at least) for this supplier, most points a minute first."""
    actions = (action for action in book_of(rules).actions if not action.login)
    found = [made for made, _ in _recommendations(snapshot, actions, rules)]
    return sorted(found, key=lambda one: (-one.points / one.minutes, one.id))


def best(snapshot: Snapshot, rules: Rules = SHIPPED) -> Recommendation | None:
    """Pick the one worth most points (of equal ones the quickest); None if nothing would add any."""
    return max(recommend(snapshot, rules), key=lambda one: (one.points, -one.minutes), default=None)


def coming_back(snapshot: Snapshot, rules: Rules = SHIPPED) -> float:
    """The points that logging in adds, which every action begins with and `recommend` leaves out."""
    return round(rules.weights[LOGIN] - points_of(snapshot, rules)[LOGIN], 9)


def is_absence(snapshot: Snapshot, rules: Rules = SHIPPED) -> bool:
    """Whether nothing would do more than that they come back: absence is what brought their score down."""
    advice = best(snapshot, rules)
    return coming_back(snapshot, rules) >= max(LEAST_OF_LETTER, advice.points if advice else 0.0)


def worth_saying(snapshot: Snapshot, rules: Rules = SHIPPED) -> float:
    """The points of the best there is to say, coming back among them: what a letter of advice is worth."""
    advice = best(snapshot, rules)
    return max(coming_back(snapshot, rules), advice.points if advice else 0.0)


def way_up(snapshot: Snapshot, rules: Rules = SHIPPED) -> WayUp | None:
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
            gained = round(sum_of(here, rules) - sum_of(snapshot, rules), 9)
            return WayUp(steps, gained, minutes, steps[-1].reaches)
        place = _place(here, rules)
        if place in seen or length == LONGEST_WAY:
            continue
        seen.add(place)
        for step, there in _recommendations(here, _next_actions(here, rules), rules):
            entry = (minutes + step.minutes, length + 1, next(order), there, (*steps, step))
            heappush(waiting, entry)
    return None


def points_gained(points: float) -> str:
    """`+6 points`, `+1 point`; below one point with a decimal, since `+0` would say that it is worth nothing."""
    shown = f"{points:.1f}" if round(points, 1) < 1 else str(displayed(points))
    return f"+{shown} point" if shown == "1" else f"+{shown} points"


def _next_actions(snapshot: Snapshot, rules: Rules) -> tuple[Action, ...]:
    """Who has been away logs in first; nothing else can be done before it."""
    away = points_of(snapshot, rules)[LOGIN] < rules.weights[LOGIN]
    return tuple(action for action in book_of(rules).actions if action.login == away)


def _recommendations(
    snapshot: Snapshot, actions: Iterable[Action], rules: Rules
) -> Iterator[tuple[Recommendation, Snapshot]]:
    """Of these actions those that make sense and add anything, with their worth; and the snapshot after each."""
    book, now = book_of(rules), sum_of(snapshot, rules)
    known = book.facts(snapshot)
    for action in actions:
        if not book.hold(action.requires, known):
            continue
        there = after(snapshot, action, rules)
        then = sum_of(there, rules)
        gain = round(then - now, 9)
        if gain < LEAST_WORTH:
            continue
        made = Recommendation(
            id=action.id,
            type=action.type,
            title=action.title,
            description=action.description,
            action_text=action.action_text,
            action_path=action.action_path,
            points=gain,
            minutes=action.minutes,
            reaches=_better_level(snapshot.get("level"), then, rules),
            basic=action.basic,
        )
        yield made, there


def _better_level(level: Level | None, score_sum: float, rules: Rules) -> Level | None:
    reached = rules.next_level(level, score_sum)
    return reached if level is not None and is_worse(level, reached) else None


def _place(snapshot: Snapshot, rules: Rules) -> tuple[object, ...]:
    """What a snapshot's points and possible actions depend on."""
    counted = (snapshot["clients"], snapshot["forms"], snapshot["journeys"])
    login = points_of(snapshot, rules)[LOGIN]
    return (*snapshot["features"], *(tuple(each.values()) for each in counted), login)
