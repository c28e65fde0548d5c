"""What silence alone will do to a supplier's score and level, and when."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import chain

from scoring.activity import EXPIRY
from scoring.metrics import (
    FEATURES,
    FORMS,
    JOURNEY_WINDOW_DAYS,
    LOGIN,
    LOGIN_BANDS,
    Level,
    client_points,
    login_points,
    next_level,
    ratio_points,
    total,
)
from scoring.state import State
from scoring.time import DAY

Forecast = tuple[int | None, Level | None, int | None]
"""(when the sum next changes, the next other level, when that comes); None where silence changes nothing."""


class _Silence:
    """The score of one supplier at any later instant without events."""

    def __init__(self, state: State) -> None:
        self.last_login = state.last_login
        self.known = len(state.clients)
        many = state.many
        self.active = (
            sorted([last for last in state.clients.values() if last]) if many is None else many.active
        )
        self.fixed = state.points
        self.rolls, self.journeys_left = _journey_rolls(state)
        bands = [] if self.last_login is None else [self.last_login + below for below, _ in LOGIN_BANDS]
        self.breaks = sorted([at for at in {*bands, *self.rolls} if at > state.clock])

    def journey_points(self, at: int) -> float:
        """The points of journey emails once the days that have left the window by `at` are gone."""
        return self.journeys_left[bisect_right(self.rolls, at)]

    def expired(self, at: int) -> int:
        """How many of the now active clients are no longer active at `at`."""
        return bisect_right(self.active, at - EXPIRY)

    def expired_before(self, at: int | None) -> int:
        """How many are no longer active just before `at`; all of them when it is None."""
        return len(self.active) if at is None else bisect_left(self.active, at - EXPIRY)

    def sum_at(self, at: int) -> float:
        """The unrounded score at `at`."""
        return self.sum_with(login_points(self.last_login, at), self.journey_points(at), self.expired(at))

    def sum_with(self, login: float, journeys: float, expired: int) -> float:
        """The unrounded score with these parts and what silence leaves alone."""
        clients = client_points(len(self.active) - expired, self.known)
        return total((login, self.fixed[FEATURES], clients, self.fixed[FORMS], journeys))

    def level_is_final(self, level: Level, at: int) -> bool:
        """Whether no time after `at` can bring another level: neither the least nor the most there can be does."""
        least = self.sum_with(0.0, min(self.journeys_left), len(self.active))
        if next_level(level, least) != level:
            return False
        most = self.sum_with(login_points(self.last_login, at), max(self.journeys_left), 0)
        return next_level(level, most) == level


def _journey_rolls(state: State) -> tuple[list[int], list[float]]:
    """When journey days leave the window, and the points left after none, one, two … of them did."""
    days = sorted(state.journey_days)
    sent, opened = state.journey_sent, state.journey_opened
    left = [ratio_points(opened, sent)]
    for day in days:
        day_sent, day_opened = state.journey_days[day]
        sent, opened = sent - day_sent, opened - day_opened
        left.append(ratio_points(opened, sent))
    return [(day + JOURNEY_WINDOW_DAYS) * DAY for day in days], left


def forecast(state: State) -> Forecast:
    """What silence alone will change: when the sum does, and which other level comes next and when.

    Between two breaks (a login band's end, a midnight that drops a journey day) only clients expire, so the
    sum only falls: the level is looked at once a stretch and, where it fell, the instant is found by
    bisection.
    """
    if state.level is None or not (state.active_clients or state.journey_days or state.points[LOGIN]):
        return None, None, None
    silence = _Silence(state)
    level_at, level = _next_level(silence, state.level, state.clock)
    return _next_change(silence, state.sum), level, level_at


def _next_change(silence: _Silence, score_sum: float) -> int | None:
    breaks = iter(silence.breaks)
    next_break = next(breaks, None)
    for last in chain(silence.active, [None]):
        expiry = None if last is None else last + EXPIRY
        while next_break is not None and (expiry is None or next_break <= expiry):
            if silence.sum_at(next_break) != score_sum:
                return next_break
            next_break = next(breaks, None)
        if expiry is not None and silence.sum_at(expiry) != score_sum:
            return expiry
    return None


def _next_level(silence: _Silence, level: Level, clock: int) -> tuple[int | None, Level | None]:
    if silence.level_is_final(level, clock):
        return None, None
    since = clock
    for until in [*silence.breaks, None]:
        found = _falls_between(silence, level, since, until)
        if found is not None:
            return found, next_level(level, silence.sum_at(found))
        if until is not None:
            at_break = next_level(level, silence.sum_at(until))
            if at_break != level:
                return until, at_break
            since = until
    return None, None


def _falls_between(silence: _Silence, level: Level, since: int, until: int | None) -> int | None:
    """When clients' expiry alone brings another level in (since, until); None when it does not."""
    gone = silence.expired(since)
    gone_before = silence.expired_before(until)
    if gone == gone_before:
        return None
    login, journeys = login_points(silence.last_login, since), silence.journey_points(since)
    if next_level(level, silence.sum_with(login, journeys, gone_before)) == level:
        return None
    count = bisect_left(
        range(gone + 1, gone_before + 1),
        True,
        key=lambda expired: next_level(level, silence.sum_with(login, journeys, expired)) != level,
    )
    return silence.active[gone + count] + EXPIRY
