"""An agent-based population for the question whether messages work: interest rises and falls, and some leave.

Made to test the estimate, so it shares nothing with what it tests: no score, band, level, trigger or policy appears
here. What an agent does follows from their interest, which nobody else sees; a message changes that interest by as much
as the caller says, and by nothing else. All agents live one day at a time, side by side, in arrays.

Two populations of the same seed draw the same chances, whatever messages they get: what differs between them is what
the messages did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SETUP = ("form.created", "client.imported", "template.used", "journey.created")
"""What they set up, in their order of interest; each once."""

PULL = 0.05  # of the way to their own level of interest a day
WAVER = 0.04  # standard deviation of a day's change
WANES = 0.004  # a day: a rival's offer, a business that goes badly; their interest then fades over weeks
LEFT_AFTER_WANING = 0.2  # of the level that their interest tends to
LEAVES_A_DAY = 0.035  # of those without any interest; a little interest keeps most
STEP_FORWARD = 0.3  # chance of a step of the setup on a day with a login, at full interest
CLIENT_VISITS = 0.05  # a client and day
FORMS_SENT = 0.5  # on a day with a login
FORMS_ANSWERED = 0.6
JOURNEY_EMAILS = 0.03  # a client and day
EMAILS_OPENED = 0.5
SETTLED_SETUP = 0.7  # of the steps, by those who joined long ago


@dataclass(frozen=True)
class Day:
    """What everybody does on a day; arrays by agent. Counts but for `joined`, `login`, `left` (bool) and `step`.

    `step` is an index of `SETUP`, -1 for none.
    """

    joined: Array
    login: Array
    step: Array
    client_visits: Array
    forms_sent: Array
    forms_answered: Array
    journey_emails: Array
    emails_opened: Array
    left: Array


class Agents:
    """`count` agents. A share of them is settled: there since long before; the others join on days `joining`, evenly.

    `interest` is 0 (none) to 1, `here` whether they have joined and not left, `day` how many days have been lived.
    """

    def __init__(
        self, count: int, seed: int, settled: float = 0.5, joining: tuple[int, int] = (0, 0)
    ) -> None:
        rng = np.random.default_rng(seed)
        self.count = count
        self._rng = rng
        self.settled = rng.random(count) < settled
        self.own_level = rng.beta(4.0, 2.0, count)
        """Where their interest tends to by itself: how well the product fits them."""
        self.pace = np.exp(rng.normal(np.log(0.8), 0.5, count))
        """Logins a day at full interest."""
        self.clients_to_bring = 3 + rng.poisson(12, count)
        eager = 0.55 + 0.45 * rng.random(count)
        self.interest = np.where(self.settled, self.own_level, eager)
        done = (rng.random((count, len(SETUP))) < SETTLED_SETUP) & self.settled[:, None]
        self.steps_done = done
        self.clients = np.where(done[:, 1], self.clients_to_bring, 0)
        self.here = np.zeros(count, dtype=bool)
        self.joins = np.where(self.settled, 0, rng.integers(joining[0], joining[1], count, endpoint=True))
        self.day = 0

    def live(self, lifts: Array) -> Day:
        """Live a day; `lifts`: what messages that came since the last one do to each, if they read them (0: none)."""
        chance = self._rng.random((10, self.count))
        waver = self._rng.normal(0.0, WAVER, self.count)
        joined = self.joins == self.day
        self.day += 1
        self._feel(lifts, chance[0], waver)
        self.here = self.here | joined
        here, interest = self.here, self.interest
        left = here & ~joined & (chance[1] < LEAVES_A_DAY * (1 - interest) ** 4)
        new = joined & ~self.settled
        login = here & ~left & (new | (chance[2] < 1 - np.exp(-self.pace * interest)))
        step = self._next_step(login & (chance[3] < STEP_FORWARD * interest))
        clients = self.clients * (here & ~left)
        visits = np.floor(clients * CLIENT_VISITS * (0.4 + 0.6 * interest) + chance[4])
        sent = login & self.steps_done[:, 0] & (clients > 0) & (chance[5] < FORMS_SENT)
        answered = sent & (chance[6] < FORMS_ANSWERED)
        emails = np.where(self.steps_done[:, 3], np.floor(clients * JOURNEY_EMAILS + chance[7]), 0)
        opened = np.floor(emails * EMAILS_OPENED + chance[8])
        self.here = here & ~left
        return Day(
            joined,
            login,
            step,
            np.where(clients > 0, visits, 0).astype(int),
            sent.astype(int),
            answered.astype(int),
            emails.astype(int),
            np.minimum(opened, emails).astype(int),
            left,
        )

    def _feel(self, lifts: Array, wanes: Array, waver: Array) -> None:
        self.own_level = np.where(
            self.here & (wanes < WANES), self.own_level * LEFT_AFTER_WANING, self.own_level
        )
        interest = self.interest + PULL * (self.own_level - self.interest) + waver
        interest = np.clip(interest + lifts * (1 - np.clip(interest, 0, 1)), 0, 1)
        self.interest = np.where(self.here, interest, self.interest)  # it begins as they join

    def _next_step(self, moves: Array) -> Array:
        """The first step of the setup that those who move have not done, which they then have; -1 for none."""
        open_steps = ~self.steps_done
        step = np.where(moves & open_steps.any(axis=1), open_steps.argmax(axis=1), -1)
        movers = np.flatnonzero(step >= 0)
        self.steps_done[movers, step[movers]] = True
        self.clients = np.where(step == 1, self.clients_to_bring, self.clients)
        return step
