"""Random weeks of suppliers: signals, opt-outs, pauses, mail trouble and dying deliveries, and what must hold after.

A history is a list of steps drawn beforehand, so that hypothesis can shorten it; playing it needs a `World`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st

from agents.delivery.round import Claim, Delivery, Letter
from agents.letters.smtp import Mailer, Verdict
from scoring.decisions.policy import Policy
from scoring.time import DAY, HOUR, MINUTE
from scoring.zones import zone_named
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import World

POLICY = Policy.load()
TRIGGERS = tuple(trigger.name for trigger in POLICY.triggers)
CELEBRATIONS = {trigger.name for trigger in POLICY.triggers if trigger.celebration}
POSITIVE = {trigger.name for trigger in POLICY.triggers if trigger.kind == "positive"}
ZONES = ("Europe/London", "America/New_York", "Pacific/Auckland")
DEATHS = ("decided", "claimed", "accepted", "noted")
"""Where a delivery dies: before its decision is committed, behind it, after the server's yes, before the note of it."""
ANSWERS = (*["250 OK"] * 5, "451 later", "451 later", "554 5.6.0 not this message", "drop", "drop")
MOMENTS = (0, MINUTE, HOUR, 11 * HOUR, 20 * HOUR - 1, 20 * HOUR, DAY - 1, DAY, 72 * HOUR, 7 * DAY - 1)

Step = tuple[str, Any]


def steps() -> st.SearchStrategy[list[Step]]:
    """Up to sixteen rounds in the lives of two suppliers: signals, perhaps trouble, time that passes, deliveries."""
    return st.lists(_round(), min_size=5, max_size=16).map(
        lambda rounds: [one for each in rounds for one in each]
    )


@st.composite
def _round(draw: st.DrawFn) -> list[Step]:
    who = st.sampled_from((0, 0, 1))
    cause = st.sampled_from(("form.created", "client.active", "payment.received"))
    made: list[Step] = [
        ("signal", given)
        for given in draw(st.lists(st.tuples(who, st.sampled_from(TRIGGERS), cause), min_size=1, max_size=4))
    ]
    made += draw(st.sampled_from(([], [], [("again", 0)], [("again", 1)])))
    trouble = draw(st.integers(0, 11))
    if trouble == 0:
        made.append(("consent", (draw(who), draw(st.sampled_from(("email", "all"))), True)))
    elif trouble == 1:
        made.append(("hold", (draw(who), True)))
    elif trouble == 2:
        made.append(("level", (draw(who), draw(st.sampled_from(("healthy", "critical"))))))
    elif trouble < 7:
        for one in (0, 1):
            made += [("consent", (one, "email", False)), ("consent", (one, "all", False))]
            made += [("hold", (one, False)), ("level", (one, "at_risk"))]
    made.append(("wait", draw(st.one_of(st.sampled_from(MOMENTS), st.integers(0, 2 * DAY)))))
    deaths = draw(st.sampled_from((None, None, *DEATHS)))
    answers = draw(st.lists(st.sampled_from(ANSWERS), max_size=3))
    made.append(("deliver", (draw(st.integers(1, 3)), deaths, answers)))
    return made


class KilledError(BaseException):
    """The delivery is dead: nothing it would still do happens."""


class Mortal(Delivery):
    """A delivery that dies at a step, once, in the way a killed process does: its connections are cut."""

    dies_at: str | None = None
    is_dead = False

    async def _die(self, step: str) -> None:
        self.is_dead = self.is_dead or self.dies_at == step
        if self.is_dead:  # and so are its other workers, wherever they are
            raise KilledError(step)

    async def _decide(self, *given: Any) -> Claim:
        claim = await super()._decide(*given)
        await self._die("decided")
        return claim

    async def _hand_over(self, mailer: Mailer, letter: Letter) -> Verdict:
        await self._die("claimed")
        verdict = await super()._hand_over(mailer, letter)
        await self._die("accepted")
        return verdict

    async def _write_outcome(self, *given: Any) -> None:
        await super()._write_outcome(*given)
        await self._die("noted")


@dataclass(slots=True)
class Life:
    """One supplier: what a message to them must have kept to."""

    id: str
    zone: str
    barred: dict[str, bool] = field(default_factory=lambda: {"email": False, "all": False, "held": False})
    last_row: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """What reached somebody."""

    supplier: int
    trigger: str
    at: int
    row: str
    is_email: bool
    was_barred: bool


class Player:
    """Plays a history on a world, and remembers every email at the moment the server took it."""

    def __init__(self, world: World, mail_server: MailServer) -> None:
        self.world = world
        self.lives: list[Life] = []
        self.emails: list[Message] = []
        self._triggers: dict[str, str] = {}
        self._rows: dict[str, int] = {}
        self._answers: list[str] = []
        mail_server.data = self._answer

    async def play(self, history: list[Step]) -> None:
        """Play all steps, then deliver without trouble until nothing is left to wait for."""
        for number in range(2):
            zone = ZONES[number]
            supplier = await self.world.supplier(timezone=zone, email=f"{uuid4()}@example.com")
            self.lives.append(Life(supplier, zone))
            await self._level((number, "at_risk"))
        for name, given in history:
            await getattr(self, f"_{name}")(given)
        await self._finish()

    def _answer(self, message: EmailMessage) -> str:
        answer = self._answers.pop() if self._answers else "250 OK"
        row = str(message["X-Success-Intervention"])
        if (
            answer.startswith("250") or answer == "drop"
        ):  # of a dropped answer the server may have kept the message
            who = self._rows[row]
            barred = any(self.lives[who].barred.values())
            now = self.world.clock.now_ms()
            self.emails.append(Message(who, self._triggers[row], now, row, is_email=True, was_barred=barred))
        return answer

    async def _signal(self, given: tuple[int, str, str]) -> None:
        who, trigger, cause = given
        life = self.lives[who]
        milestone = trigger in CELEBRATIONS
        signal = {"cause_type": cause} if milestone else {}
        life.last_row = await self.world.row(life.id, trigger, signal=signal)
        self._triggers[life.last_row], self._rows[life.last_row] = trigger, who

    async def _again(self, who: int) -> None:
        """The same signal once more, as after a crash of the intervention agent."""
        row = self.lives[who].last_row
        if row is not None:
            await self.world.repeat(row)

    async def _wait(self, ms: int) -> None:
        self.world.clock.advance_to(self.world.clock.now_ms() + ms)

    async def _consent(self, given: tuple[int, str, bool]) -> None:
        who, scope, is_out = given
        self.lives[who].barred[scope] = is_out
        query = f"UPDATE suppliers SET {scope}_opt_out = %s WHERE id = %s"  # noqa: S608 - two words of ours
        await self.world.query(query, is_out, self.lives[who].id)

    async def _hold(self, given: tuple[int, bool]) -> None:
        who, is_held = given
        self.lives[who].barred["held"] = is_held
        await self.world.hold(self.lives[who].id, is_held=is_held)

    async def _level(self, given: tuple[int, str]) -> None:
        who, level = given
        await self.world.health(
            self.lives[who].id,
            level=level,
            features=[],
            clients={"known": 5, "active": 0},
            forms={"created": 4, "sent": 0, "completed": 0},
        )

    async def _deliver(self, given: tuple[int, str | None, list[str]]) -> None:
        processes, dies_at, answers = given
        self._answers = list(answers)
        deliveries = [
            Mortal(self.world.settings, self.world.pool, self.world.clock, POLICY, workers=2)
            for _ in range(processes)
        ]
        deliveries[0].dies_at = dies_at
        await asyncio.gather(*(self._until_dead(each) for each in deliveries))
        self._answers = []

    async def _until_dead(self, delivery: Mortal) -> None:
        try:
            await delivery.deliver_due()
        except KilledError:
            pass
        finally:
            await delivery.aclose()

    async def _finish(self) -> None:
        """Until the last row is decided: three days after the last signal at the latest."""
        delivery = self.world.delivery()
        for _ in range(200):
            await delivery.deliver_due()
            due = await delivery.next_due_ms()
            if due is None:
                return
            self.world.clock.advance_to(due)
        raise AssertionError("rows are still waiting")


async def check(player: Player) -> Counter[str]:
    """Assert what must hold after any history; returns how many rows came to which status or reason."""
    found = await player.world.query(
        "SELECT * FROM success_interventions WHERE supplier_id = ANY(%s::uuid[])",
        [life.id for life in player.lives],
    )
    _no_duplicate(player.emails)
    _every_row_says_why(found, {email.row for email in player.emails})
    messages = player.emails + [
        Message(
            player._rows[str(row["id"])],
            row["trigger_condition"],
            round(row["claimed_at"].timestamp() * 1000),
            str(row["id"]),
            is_email=False,
            was_barred=False,
        )
        for row in found
        if row["intervention_type"] != "email" and row["status"] == "sent"
    ]
    for number, life in enumerate(player.lives):
        _capped([each for each in messages if each.supplier == number])
        _by_day([each for each in player.emails if each.supplier == number], life.zone)
    assert not [email for email in player.emails if email.was_barred], (
        "a message after an opt-out or under a hold"
    )
    return Counter(row["reason"] or row["status"] for row in found)


def _no_duplicate(emails: list[Message]) -> None:
    twice = [row for row, count in Counter(email.row for email in emails).items() if count > 1]
    assert not twice, f"sent twice: {twice}"


def _every_row_says_why(rows: list[dict[str, Any]], reached: set[str]) -> None:
    for row in rows:
        status, metadata = row["status"], row["metadata"]
        assert status in {"sent", "suppressed", "failed", "unknown"}, row
        assert metadata["why"], row
        assert metadata["decided_at"], row
        assert "health_score" in metadata, row
        assert (status == "suppressed") == (row["reason"] is not None), row
        assert (status in {"failed", "unknown"}) <= bool(row["last_error"]), row
        assert (str(row["id"]) in reached) <= (status in {"sent", "unknown"}), row
        if row["intervention_type"] == "email" and status == "sent":
            assert str(row["id"]) in reached, row


def _capped(messages: list[Message]) -> None:
    for start in messages:
        week = [each for each in messages if start.at <= each.at < start.at + 7 * DAY]
        assert len(week) <= 3, f"a fourth message in a week: {week}"
        assert sum(each.trigger in POSITIVE for each in week) <= 2, f"a third positive one: {week}"
    emails = [each for each in messages if each.is_email]
    for mine, span in (
        ([each.at for each in emails if each.trigger not in CELEBRATIONS], 20 * HOUR),
        ([each.at for each in emails if each.trigger in CELEBRATIONS], DAY),
    ):
        assert all(later - sooner >= span for sooner, later in itertools.pairwise(sorted(mine))), emails


def _by_day(emails: list[Message], zone: str) -> None:
    for email in emails:
        local = datetime.fromtimestamp(email.at / 1000, UTC).astimezone(zone_named(zone))
        assert email.trigger in CELEBRATIONS or 8 <= local.hour < 20, (email, local)
