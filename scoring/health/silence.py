"""What silence alone will do to a supplier's score and level, and when."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import chain
from math import inf

from scoring.health.events import EXPIRY
from scoring.health.metrics import (
    CLIENTS,
    FEATURES,
    FORMS,
    JOURNEY_WINDOW_DAYS,
    JOURNEYS,
    LOGIN,
    Level,
    client_points,
    login_points,
    ratio_points,
    total,
)
from scoring.health.rules import SHIPPED, Rules
from scoring.health.state import State
from scoring.time import DAY

Forecast = tuple[int | None, Level | None, int | None]
"""(when the sum next changes, the next other level, when that comes); None where silence changes nothing."""


def edges(level: Level, rules: Rules) -> tuple[float, float]:
    """A level stays while the sum is at least the first and below the second: `next_level` in other words."""
    levels = rules.levels
    if level == "critical":
        return -inf, levels.at_risk + levels.margin
    return (levels.at_risk, levels.healthy + levels.margin) if level == "at_risk" else (levels.healthy, inf)


_SLACK = 1e-6
"""Far more than a sum is off that was not rounded: nearer to an edge the exact one is worked out."""


class _Silence:
    """The score of one supplier at any later instant without events."""

    def __init__(self, state: State, rules: Rules) -> None:
        self.rules = rules
        self.bands = rules.login_bands
        self.most_of_clients = rules.weights[CLIENTS]
        last_login, clock = state.last_login, state.clock
        self.clock = clock
        self.last_login = last_login
        self.known = len(state.clients)
        many = state.many
        self.active = (
            sorted([last for last in state.clients.values() if last]) if many is None else many.active
        )
        self.features, self.forms = state.points[FEATURES], state.points[FORMS]
        self.rolls, self.journeys_left = _journey_rolls(state, rules.weights[JOURNEYS])
        breaks = [at for at in self.rolls if at > clock]
        if last_login is not None:
            breaks += [
                at for below, _ in self.bands if (at := last_login + below) > clock and at not in breaks
            ]
            breaks.sort()
        self.breaks = breaks
        """When something else than the expiry of clients may change the sum."""

    def sum_at(self, at: int) -> float:
        """The unrounded score at `at`."""
        journeys = self.journeys_left[bisect_right(self.rolls, at)]
        return self.sum_with(
            login_points(self.last_login, at, self.bands), journeys, bisect_right(self.active, at - EXPIRY)
        )

    def sum_with(self, login: float, journeys: float, expired: int) -> float:
        """The unrounded score with these parts, so many clients expired, and what silence leaves alone."""
        clients = client_points(len(self.active) - expired, self.known, self.most_of_clients)
        return total((login, self.features, clients, self.forms, journeys))

    def next_change(self, score_sum: float) -> int | None:
        """When the sum is another for the first time."""
        breaks = iter(self.breaks)
        next_break = next(breaks, None)
        for last in chain(self.active, [None]):
            expiry = None if last is None else last + EXPIRY
            while next_break is not None and (expiry is None or next_break <= expiry):
                if self.sum_at(next_break) != score_sum:
                    return next_break
                next_break = next(breaks, None)
            if expiry is not None and self.sum_at(expiry) != score_sum:
                return expiry
        return None

    def next_level(self, level: Level) -> tuple[int | None, Level | None]:
        """When another level comes, and which.

        Between two breaks (a login band's end, a midnight that drops a journey day) only clients expire, so the sum
        only falls: the level is looked at once a stretch, first roughly. Where it fell, the instant is found by
        bisection.
        """
        low, high = edges(level, self.rules)
        low, high = low + _SLACK, high - _SLACK
        active, rolls, left, last_login = self.active, self.rolls, self.journeys_left, self.last_login
        a_client = client_points(1, self.known, self.most_of_clients)
        fixed = self.features + self.forms
        login = login_points(last_login, self.clock, self.bands)
        number = len(active)
        if low <= fixed + min(left) and login + fixed + a_client * number + max(left) < high:
            return None, None  # neither the least nor the most there can be is another level
        expired = bisect_right(active, self.clock - EXPIRY)
        journeys = left[bisect_right(rolls, self.clock)]
        for until in [*self.breaks, None]:
            before = number if until is None else bisect_left(active, until - EXPIRY, expired)
            if before > expired and login + fixed + a_client * (number - before) + journeys < low:
                found = self._falls_among(level, login, journeys, expired, before)
                if found is not None:
                    return found, self.rules.next_level(level, self.sum_at(found))
            if until is None:
                break
            login = login_points(last_login, until, self.bands)
            journeys = left[bisect_right(rolls, until)]
            expired = bisect_right(active, until - EXPIRY, before)
            if not low <= login + fixed + a_client * (number - expired) + journeys < high:
                at_break = self.rules.next_level(level, self.sum_at(until))
                if at_break != level:
                    return until, at_break
        return None, None

    def _falls_among(
        self, level: Level, login: float, journeys: float, expired: int, before: int
    ) -> int | None:
        """When the expiry of the clients between these two, in order, brings a lower level; None if none does."""
        if self.rules.next_level(level, self.sum_with(login, journeys, before)) == level:
            return None
        count = bisect_left(
            range(expired + 1, before + 1),
            True,
            key=lambda expired: (
                self.rules.next_level(level, self.sum_with(login, journeys, expired)) != level
            ),
        )
        return self.active[expired + count] + EXPIRY


def _journey_rolls(state: State, most: float) -> tuple[list[int], list[float]]:
    """When journey days leave the window, and the points left after none, one, two … of them did."""
    days = sorted(state.journey_days)
    sent, opened = state.journey_sent, state.journey_opened
    left = [ratio_points(opened, sent, most)]
    for day in days:
        day_sent, day_opened = state.journey_days[day]
        sent, opened = sent - day_sent, opened - day_opened
        left.append(ratio_points(opened, sent, most))
    return [(day + JOURNEY_WINDOW_DAYS) * DAY for day in days], left


def forecast(state: State, rules: Rules = SHIPPED) -> Forecast:
    """What silence alone will change: when the sum does, and which other level comes next and when."""
    if state.level is None or not (state.active_clients or state.journey_days or state.points[LOGIN]):
        return None, None, None
    silence = _Silence(state, rules)
    level_at, level = silence.next_level(state.level)
    return silence.next_change(state.sum), level, level_at
