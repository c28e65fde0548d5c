"""BG/NBD, what purchase logs are usually judged by: who comes again, from how often, how lately and how long ago.

P. S. Fader, B. G. S. Hardie, K. L. Lee, "“Counting your customers” the easy way: an alternative to the Pareto/NBD
model", Marketing Science 24 (2005) 275-284. Everybody comes at a rate of their own (gamma: r, alpha) until, after any
visit, they are gone for good, with a chance of their own (beta: a, b). A visit is a day with a login.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, gammaln

from replay.log.activity_log import ActivityLog
from scoring.health.events import Event
from scoring.time import DAY

LOGIN = "supplier.logged_in"
_START = (0.0, 0.0, 0.0, 0.0)
"""Logarithms of r, alpha (in units of the mean age), a and b to begin with."""
_PENALTY = 1e-3
"""Of the squared logarithms, a user: keeps what the log says nothing of from running away."""

Array = np.ndarray[Any, Any]


class NotFittedError(ValueError):
    """The log says too little for the four numbers; the message says what."""


@dataclass(frozen=True)
class Visits:
    """Per user: `repeats` after the first, days from the first to the `last`, and to the moment looked at (`age`)."""

    repeats: Array
    last: Array
    age: Array


@dataclass(frozen=True)
class BgNbd:
    """The fitted four; alpha in days."""

    r: float
    alpha: float
    a: float
    b: float

    def alive(self, visits: Visits) -> Array:
        """P(not gone yet); who never came again has had no visit to be gone after, and counts as alive."""
        x = visits.repeats
        log_odds = (
            (self.r + x) * np.log((self.alpha + visits.age) / (self.alpha + visits.last))
            + np.log(self.a)
            - np.log(self.b + np.maximum(x, 1) - 1)
        )
        return np.where(x > 0, 1 / (1 + np.exp(np.minimum(log_odds, 700))), 1.0)

    def silent(self, visits: Visits, days: float) -> Array:
        """P(no visit in the next `days`): gone, or alive and not coming."""
        since = self.alpha + visits.age
        none = (since / (since + days)) ** (self.r + visits.repeats)
        return np.asarray(1 - self.alive(visits) * (1 - none))


def fit(visits: Visits) -> BgNbd:
    """Maximum likelihood; NotFittedError where nobody came twice or the search fails."""
    if len(visits.age) == 0 or not (visits.repeats > 0).any():
        raise NotFittedError("nobody came twice")
    unit = float(visits.age.mean()) or 1.0
    x, last, age = visits.repeats, visits.last / unit, visits.age / unit

    def cost(logs: Array) -> float:
        r, alpha, a, b = np.exp(logs)
        shared = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        alive = betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + age)
        gone = betaln(a + 1, b + np.maximum(x, 1) - 1) - betaln(a, b) - (r + x) * np.log(alpha + last)
        likelihood = shared + np.where(x > 0, np.logaddexp(alive, gone), alive)
        return float(-likelihood.mean() + _PENALTY * (logs**2).sum() / len(x))

    found = minimize(cost, np.array(_START), method="L-BFGS-B", bounds=[(-12, 12)] * 4)
    if not np.isfinite(found.fun):
        raise NotFittedError(f"the search for the four numbers failed ({found.message})")
    r, alpha, a, b = np.exp(found.x)
    return BgNbd(float(r), float(alpha) * unit, float(a), float(b))


def visits_of(log: ActivityLog, users: Array, at: Array) -> Visits:
    """The visits of these users (their places in the log) as of these moments (ms), none before their first event.

    A visit is a day with a login; of who never logged in, that of their first event is one.
    """
    found = np.zeros((3, len(at)))
    order = np.argsort(users, kind="stable")
    changes = np.flatnonzero(np.diff(users[order])) + 1
    for chosen in np.split(order, changes) if len(order) else ():
        days = _days(log.histories[users[chosen[0]]].events)
        repeats = np.maximum(np.searchsorted(days, at[chosen] // DAY, side="right"), 1) - 1
        last, age = days[repeats] - days[0], at[chosen] / DAY - days[0]
        found[:, chosen] = repeats, last, np.maximum(age, last)
    return Visits(*found)


def _days(events: list[Event]) -> Array:
    days = {event.at // DAY for event in events if event.type == LOGIN} or {events[0].at // DAY}
    return np.array(sorted(days), dtype=float)
