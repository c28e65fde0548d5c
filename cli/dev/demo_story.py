"""The demo's protagonist: Sarah of Golden Hour Weddings, a photographer who gets stuck, is helped and stays.

Until a letter reaches Sarah everything is written down here; what comes after depends on the letter that is sent.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

from cli.dev.demo_people import CALL_LIFT
from replay.simulator.people import PLACES, TRADES, Person
from replay.simulator.supplier_life import SOURCE
from scoring.time import DAY, HOUR, MINUTE
from topics.time import format_time

SARAH = Person(
    id="7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10",
    number=0,
    first_name="Sarah",
    business_name="Golden Hour Weddings",
    place=PLACES[0],
    trade=TRADES[0],
)
SIGNS_UP_AFTER = 12 * DAY
FIVE = [f"c{number}" for number in range(1, 6)]
NINE_MORE = [f"c{number}" for number in range(6, 15)]
BEGINNING: tuple[tuple[int, str, dict[str, Any], str | None], ...] = (
    (
        0,
        "supplier.signed_up",
        {"plan": "free"},
        "signs up: a photographer, alone in the business, on the free plan",
    ),
    (MINUTE, "supplier.logged_in", {}, None),
    (DAY + 2 * HOUR, "supplier.logged_in", {}, None),
    (DAY + 2 * HOUR + 6 * MINUTE, "form.created", {"form_id": "enquiry"}, "makes a first form"),
    (2 * DAY + 8 * HOUR, "supplier.logged_in", {}, None),
    (2 * DAY + 8 * HOUR + 12 * MINUTE, "client.imported", {"client_ids": FIVE}, "brings five clients"),
    (2 * DAY + 8 * HOUR + 30 * MINUTE, "form.sent", {"form_id": "enquiry", "client_id": "c1"}, None),
    (2 * DAY + 8 * HOUR + 36 * MINUTE, "form.sent", {"form_id": "enquiry", "client_id": "c2"}, None),
    (3 * DAY + HOUR, "form.completed", {"form_id": "enquiry", "client_id": "c1"}, None),
    (4 * DAY + HOUR, "client.active", {"client_id": "c2"}, None),
    (9 * DAY + 3 * HOUR, "supplier.logged_in", {}, "looks in once more, and then is not seen"),
)
"""(ms after sign-up, type, data, words for the terminal or None)."""
SETTING_UP: tuple[tuple[int, str, dict[str, Any], str | None], ...] = (
    (0, "supplier.logged_in", {}, None),
    (6 * MINUTE, "client.imported", {"client_ids": NINE_MORE}, "brings nine more: fourteen clients"),
    (15 * MINUTE, "template.used", {"template_id": "timeline"}, None),
    (25 * MINUTE, "journey.created", {"journey_id": "before-the-day"}, None),
    (27 * MINUTE, "journey.activated", {"journey_id": "before-the-day"}, "a first journey runs by itself"),
)
"""The same, after the call."""
HABIT_DAYS = 400
WORKS, ANSWERED, WRITES, OPENED = 0.8, 0.8, 0.5, 0.7
"""Of a day, of a form, of a day, of an email to a couple: chances."""


class Sarah:
    """A life as the demo's others (`cli.dev.demo_people.Life`)."""

    person = SARAH

    def __init__(self, begins: int) -> None:
        first = datetime.fromtimestamp((begins + SIGNS_UP_AFTER) / 1000, UTC)
        monday = begins + SIGNS_UP_AFTER + (7 - first.weekday()) % 7 * DAY
        self.signed_up_at = monday // DAY * DAY + 9 * HOUR
        self.told: list[tuple[int, str]] = []
        self._rng = Random("Sarah")  # noqa: S311 - a story, not a secret
        self._made = 0
        self._planned: list[tuple[int, int, dict[str, Any], str | None]] = []
        self._is_set_up = False
        self._plan_line(self.signed_up_at, SARAH.profile("free", self.signed_up_at), None)
        self._plan(self.signed_up_at, BEGINNING)

    def lines_until(self, until: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """What Sarah does before `until` (ms), and was not given before."""
        while self._planned and self._planned[0][0] < until:
            at, _, line, words = heapq.heappop(self._planned)
            if words is not None:
                self.told.append((at, words))
            yield at, line

    def come_back(self, at: int, lift: float, step: str | None = None) -> None:
        """A short visit because of a letter; the rest of the setup, and a habit, after the call."""
        del step
        if lift < CALL_LIFT or self._is_set_up:
            self._say(at, "supplier.logged_in")
            return
        self._is_set_up = True
        self._plan(at, SETTING_UP)
        for day in range(1, HABIT_DAYS):
            self._habit((at // DAY + day) * DAY)

    def _habit(self, day: int) -> None:
        """A working day: a visit, a form out and mostly back, couples who look in."""
        rng = self._rng
        at = day + 8 * HOUR + rng.randrange(4 * HOUR)
        if rng.random() < WORKS:
            self._say(at, "supplier.logged_in")
            sent = {"form_id": "enquiry", "client_id": rng.choice(FIVE + NINE_MORE)}
            self._say(at + 5 * MINUTE, "form.sent", **sent)
            if rng.random() < ANSWERED:
                self._say(at + rng.randrange(HOUR, 30 * HOUR), "form.completed", **sent)
        for client in rng.sample(FIVE + NINE_MORE, 2):
            self._say(at + rng.randrange(10 * HOUR), "client.active", client_id=client)
        if rng.random() < WRITES:
            mail = {
                "journey_id": "before-the-day",
                "message_id": f"m{self._made}",
                "client_id": rng.choice(FIVE),
            }
            self._say(at + HOUR, "journey.email_sent", **mail)
            if rng.random() < OPENED:
                self._say(at + rng.randrange(2 * HOUR, 9 * HOUR), "journey.email_opened", **mail)

    def _plan(self, begins: int, events: tuple[tuple[int, str, dict[str, Any], str | None], ...]) -> None:
        for after, kind, data, words in events:
            self._say(begins + after, kind, words, **data)

    def _say(self, at: int, kind: str, words: str | None = None, **data: Any) -> None:
        line = {
            "specversion": "1.0",
            "id": str(UUID(int=self._rng.getrandbits(128), version=4)),
            "source": SOURCE,
            "type": kind,
            "subject": SARAH.id,
            "time": format_time(at),
        }
        self._plan_line(at, line | ({"data": data} if data else {}), words)

    def _plan_line(self, at: int, line: dict[str, Any], words: str | None) -> None:
        self._made += 1
        heapq.heappush(self._planned, (at, self._made, line, words))
