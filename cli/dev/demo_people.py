"""The people of the demo: they live on hour by hour, and some of them read the letters that reach them.

What a letter does is what the impact simulation assumes (replay/impact/effects.py, docs/impact.md): a share is read,
and what is read takes them a part of the way to full interest. Links are really followed, at the demo's own API.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parseaddr
from pathlib import Path
from typing import Any, Protocol

import httpx2
import orjson

from api.auth import sign
from api.tokens import Role
from cli.dev.recording import Entry, read_recording
from replay.impact.effects import Effects
from replay.simulator.people import Person
from runtime.settings import Settings
from scoring.decisions.experiments import share_of
from scoring.time import DAY, HOUR, MINUTE
from scoring.zones import zone_named
from topics.time import format_time, parse_time

CLICKED = 0.5
"""Share of those who read a letter who press its button: an assumption, as is the next."""
BOOKED = 0.4
"""Share of those who press a button beside which a call is offered who book it."""
CALL_LIFT = 0.5
FIRST_CALL_HOUR = 10
TOKEN_LASTS_S = 60
BROWSER = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
STEP_OF = {
    "import_clients_guide": "client.imported",
    "grow_client_list": "client.imported",
    "finish_setup": "form.created",
    "quick_win": "journey.created",
}
"""What the button of a letter begins."""
OFFERS_A_CALL = {"finish_setup", "grow_client_list"}
_LINK = re.compile(r'(?:href|src)="([^"]*/e/(click|open)/[^"]*)"')


class Life(Protocol):
    """One supplier who lives on."""

    person: Person

    def lines_until(self, until: int) -> Iterable[tuple[int, dict[str, Any]]]:
        """What they do before `until` (ms), and was not given before, in order of time."""

    def come_back(self, at: int, lift: float, step: str | None = None) -> None:
        """A visit at `at` because of a message or a call."""


class People:
    """All lives side by side, by id."""

    def __init__(self, lives: Iterable[Life]) -> None:
        self.by_id: dict[str, Life] = {life.person.id: life for life in lives}

    def entries_until(self, until: int) -> list[Entry]:
        """What all of them do before `until` (ms) and was not given before, in order of time."""
        lines = [said for life in self.by_id.values() for said in life.lines_until(until)]
        lines.sort(key=lambda said: said[0])
        return read_recording(orjson.dumps(line) for _, line in lines).entries


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """What somebody does at `at` (ms): read a letter, or have a call."""

    at: int
    number: int
    supplier_id: str
    letter: Letter | None
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter that was delivered: its template and the addresses in it that are followed."""

    id: str
    template: str
    opened: str | None
    button: str | None


class Readers:
    """Who reads what, presses what and books what. `always`: the supplier who reads everything."""

    def __init__(self, settings: Settings, mail_dir: Path, people: People, always: str) -> None:
        self._settings, self._mail_dir, self._people, self._always = settings, mail_dir, people, always
        self._effects = Effects()
        self._by_address = {
            life.person.profile("free", 0)["profile"]["email"]: known for known, life in people.by_id.items()
        }
        # What a demo before this one has sent is not read again: the folder outlives it.
        self._seen = {path.name for path in mail_dir.glob("*.eml")}
        self._due: list[Due] = []
        self._number = 0
        self.told: list[tuple[int, str]] = []
        """(ms, words) of what the one who reads everything did."""

    def unread(self) -> list[str]:
        """The names of the letters that came since, in their order."""
        return sorted({path.name for path in self._mail_dir.glob("*.eml")} - self._seen)

    def look(self, now: int) -> None:
        """Note the letters that came since, and who will read them when."""
        for name in self.unread():
            self._seen.add(name)
            mail = message_from_bytes((self._mail_dir / name).read_bytes(), policy=policy.default)
            supplier_id = self._by_address.get(parseaddr(str(mail["To"]))[1])
            letter = letter_of(mail)
            if supplier_id is None or letter is None:
                continue
            if supplier_id == self._always or share_of(f"read:{letter.id}") < self._effects.read:
                later = int(share_of(f"when:{letter.id}") * 20 * HOUR) + 20 * MINUTE
                self._add(now + later, supplier_id, letter)

    async def act(self, client: httpx2.AsyncClient, now: int) -> None:
        """Do what is due at `now` (ms), which is what the API's clock shows."""
        while self._due and self._due[0].at <= now:
            due = heapq.heappop(self._due)
            if due.call_id is not None:
                await self._have_call(client, due, due.call_id, now)
            elif due.letter is not None:
                await self._read(client, due.supplier_id, due.letter, now)

    async def _read(self, client: httpx2.AsyncClient, supplier_id: str, letter: Letter, now: int) -> None:
        if letter.opened:
            await client.get(letter.opened)
        is_protagonist = supplier_id == self._always
        if letter.button is None or not (is_protagonist or share_of(f"click:{letter.id}") < CLICKED):
            return
        await client.get(letter.button, follow_redirects=False)
        life = self._people.by_id[supplier_id]
        life.come_back(now, self._effects.of(letter.template), STEP_OF.get(letter.template))
        if is_protagonist:
            self.told.append((now, f"opens “{letter.template}” and presses its button"))
        if letter.template in OFFERS_A_CALL and (is_protagonist or share_of(f"book:{letter.id}") < BOOKED):
            await self._book(client, supplier_id, now)

    async def _book(self, client: httpx2.AsyncClient, supplier_id: str, now: int) -> None:
        wanted = [format_time(at) for at in call_times(self._people.by_id[supplier_id].person, now)]
        body = {
            "supplierId": supplier_id, "preferredTimes": wanted, "reason": "onboarding", "urgency": "medium"
        }  # fmt: skip
        answer = await client.post(
            "/api/support/schedule-call", json=body, headers=self._as("supplier", supplier_id)
        )
        if answer.is_error or not answer.json()["confirmed"]:
            return
        call = answer.json()
        begins = parse_time(call["scheduledAt"])
        self._add(begins + 20 * MINUTE, supplier_id, None, call["id"])
        if supplier_id == self._always:
            self.told.append(
                (now, f"books a call for {datetime.fromtimestamp(begins / 1000, UTC):%A %H:%M} UTC")
            )

    async def _have_call(self, client: httpx2.AsyncClient, due: Due, call_id: str, now: int) -> None:
        body = {"status": "completed", "outcome": "resolved", "durationMinutes": 15}
        await client.patch(f"/api/support/calls/{call_id}", json=body, headers=self._as("agent", "demo"))
        self._people.by_id[due.supplier_id].come_back(now, CALL_LIFT, "client.imported")
        if due.supplier_id == self._always:
            self.told.append((now, "has the call: fifteen minutes, and the client list goes in"))

    def _add(self, at: int, supplier_id: str, letter: Letter | None, call_id: str | None = None) -> None:
        self._number += 1
        heapq.heappush(self._due, Due(at, self._number, supplier_id, letter, call_id))

    def _as(self, role: Role, subject: str) -> Mapping[str, str]:
        now_s = int(datetime.now(UTC).timestamp())
        token = sign(self._settings, role, subject, TOKEN_LASTS_S, now_s)
        return {"Authorization": f"Bearer {token}"}


def letter_of(mail: EmailMessage) -> Letter | None:
    """What can be followed in a delivered message; None in one about a call."""
    html = mail.get_body(("html",))
    if mail["X-Success-Intervention"] is None or html is None:
        return None
    links: dict[str, str] = {}
    for address, kind in _LINK.findall(html.get_content()):
        links.setdefault(kind, address.replace("&amp;", "&"))
    return Letter(
        str(mail["X-Success-Intervention"]),
        str(mail["X-Success-Template"]),
        links.get("open"),
        links.get("click"),
    )


def call_times(person: Person, now: int) -> list[int]:
    """Three mornings from tomorrow on, in their own time (ms)."""
    zone = zone_named(person.place.timezone)
    today = datetime.fromtimestamp(now / 1000, UTC).astimezone(zone)
    first = today.replace(hour=FIRST_CALL_HOUR, minute=0, second=0, microsecond=0)
    days = [first + timedelta(days=number) for number in range(1, 5)]
    return [int(day.timestamp()) * 1000 for day in days if day.weekday() < 5][:3]  # noqa: PLR2004 - Saturday


def begins_at(now: int, days: int) -> int:
    """The full hour so many days before `now` (ms)."""
    return (now - days * DAY) // HOUR * HOUR
