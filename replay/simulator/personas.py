"""How simulated suppliers use the product: a few kinds of people, none of whom knows about scores."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

FADED_CANCEL, LEAVERS_CANCEL, PAUSERS_CANCEL = 0.3, 0.8, 0.5  # shares of them who say so


@dataclass(frozen=True)
class Persona:
    """A kind of supplier.

    `share`: relative frequency. `logins_a_day`: sessions on an ordinary day. `drive`: the chance that they
    go on to the next step of their setup while they are logged in. `clients`: how many they bring at first.
    `new_clients`, `forms_sent`: a session. `client_days`: days between two visits of one client.
    `opens`: share of journey emails opened. `payments`: a day. `free`: the chance of the free plan.
    `fade`: how their interest goes on: stays, fades (within days), leaves (after weeks), pauses (and returns).
    """

    name: str
    share: int
    logins_a_day: float
    drive: float
    clients: tuple[int, int]
    new_clients: float
    forms_sent: float
    client_days: float
    opens: float
    payments: float
    free: float
    fade: str


PERSONAS = (
    Persona("thriving", 26, 1.0, 0.75, (12, 45), 0.5, 0.9, 16, 0.62, 0.12, 0.25, "stays"),
    Persona("quiet", 18, 0.2, 0.8, (15, 40), 1.2, 2.0, 18, 0.55, 0.08, 0.2, "stays"),
    Persona("small", 16, 0.4, 0.3, (1, 6), 0.04, 0.25, 22, 0.45, 0.02, 0.8, "stays"),
    Persona("stuck", 14, 0.5, 0.12, (3, 12), 0.05, 0.3, 35, 0.3, 0.0, 0.8, "fades"),
    Persona("never came", 7, 0.1, 0.05, (2, 6), 0.0, 0.0, 60, 0.3, 0.0, 0.9, "fades"),
    Persona("churns", 12, 0.7, 0.7, (8, 30), 0.4, 0.8, 20, 0.5, 0.06, 0.4, "leaves"),
    Persona("returns", 7, 0.65, 0.7, (8, 30), 0.4, 0.8, 20, 0.5, 0.06, 0.4, "pauses"),
)


@dataclass(frozen=True)
class Course:
    """How one supplier's interest goes: days after sign-up, None where it never happens."""

    fade: str
    away_day: float
    back_day: float | None
    cancel_day: float | None

    def interest(self, day: float) -> float:
        """Between 0 (gone) and 1 (as ever), so many days after sign-up."""
        if self.fade == "stays":
            return 1.0
        if self.fade == "fades":
            return max(0.0, 1.0 - day / self.away_day)
        if self.back_day is not None and day >= self.back_day:
            return 1.0
        if day < self.away_day:
            return 1.0
        return max(0.0, 1.0 - (day - self.away_day) / 10)  # ten days of losing interest


def draw_persona(rng: Random) -> Persona:
    """One of the personas by their shares."""
    return rng.choices(PERSONAS, [persona.share for persona in PERSONAS])[0]


def draw_course(rng: Random, persona: Persona, days: int) -> Course:
    """When this supplier fades, leaves or returns, within a simulation of so many days."""
    if persona.fade == "stays":
        return Course("stays", away_day=0, back_day=None, cancel_day=None)
    if persona.fade == "fades":
        cancels = rng.uniform(20, 50) if rng.random() < FADED_CANCEL else None
        return Course("fades", away_day=rng.uniform(4, 20), back_day=None, cancel_day=cancels)
    away = rng.uniform(0.15, 0.5) * max(days, 10)
    if persona.fade == "leaves":
        cancels = away + rng.uniform(6, 25) if rng.random() < LEAVERS_CANCEL else None
        return Course("leaves", away_day=away, back_day=None, cancel_day=cancels)
    cancels = away + rng.uniform(5, 15) if rng.random() < PAUSERS_CANCEL else None
    return Course("pauses", away_day=away, back_day=away + rng.uniform(16, 38), cancel_day=cancels)
