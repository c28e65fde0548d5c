"""A believable population of wedding suppliers as recorded lines: CloudEvents and profiles in order of time.

Made for demos and tests. The people in it sign up over the first weeks (a few joined before the log began)
and live by their persona, trade, season and weekday; how health is scored plays no part.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from operator import itemgetter
from random import Random
from typing import Any

from replay.simulator.people import invent_person
from replay.simulator.personas import draw_course, draw_persona
from replay.simulator.supplier_life import DAY, SupplierLife

JOINED_BEFORE = 0.08  # share of suppliers whose sign-up the log does not hold
JOINING_DAYS = 0.6  # share of the days over which the others sign up


def population(suppliers: int, days: int, seed: int, start_ms: int) -> Iterator[dict[str, Any]]:
    """Yield the lines of so many suppliers over so many days from `start_ms` (ms, UTC), in order of time.

    The same arguments give the same lines. A line is a CloudEvent (dict) or `{"profile": {…}}`, as in the
    files of `success run` and `success publish`; a supplier's profile stands right before their first event.
    """
    lives = (life(number, days, seed, start_ms).lines() for number in range(1, suppliers + 1))
    for _, line in heapq.merge(*lives, key=itemgetter(0)):
        yield line


def life(number: int, days: int, seed: int, start_ms: int, goes_on_days: int = 0) -> SupplierLife:
    """The supplier of that number in `population`; with `goes_on_days` they live so much longer."""
    # a generator of their own for each supplier: more suppliers leave the first ones as they were
    rng = Random(f"{seed}/{number}")  # noqa: S311 - a simulation, not a secret
    person = invent_person(rng, number)
    persona = draw_persona(rng)
    if rng.random() < JOINED_BEFORE:
        joined = max(0, start_ms - int(rng.uniform(20, 400) * DAY))
    else:
        joined = start_ms + int(rng.random() ** 1.3 * JOINING_DAYS * days * DAY)
    course = draw_course(rng, persona, days)
    return SupplierLife(
        rng, person, persona, course, joined, start_ms, start_ms + (days + goes_on_days) * DAY
    )
