"""The simulated experiment: agents on one side, the real scoring code and the real policy on the other.

A day of the agents becomes events; the events go through the scoring machine; its signals through the policy and the
live decision (`Outreach`); what is sent comes back to the agents as a lift of their interest the next day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np

from replay.again.outreach import Outreach
from replay.impact.agents import SETUP, Agents, Array, Day
from replay.impact.effects import Effects
from replay.log.activity_log import ActivityLog, Fields, PlainEvent, log_of
from replay.log.source import Addressee
from scoring.decisions.experiments import share_of
from scoring.decisions.policy import Policy
from scoring.health.events import Event
from scoring.health.machine import advance, apply, next_due
from scoring.health.state import State, decode, encode
from scoring.time import DAY, HOUR, MINUTE

SOURCE = "/wedsync/agents"
BEGINS = 1_767_571_200_000
"""Monday, 5 January 2026, 00:00 UTC."""
WARM_UP_DAYS = 45
"""So long the settled ones are watched, without messages, before the comparison begins."""
WINDOW_DAYS = 30
"""30-day churn: who leaves within so many days of the beginning."""
MORNING = 8 * HOUR
ADDRESSEE = Addressee(has_address=True, zone="Europe/London")


@dataclass(frozen=True)
class Sent:
    """A message of the simulation: to whom (index), of which trigger, on which day of the comparison."""

    agent: int
    trigger: str
    day: int


@dataclass
class Course:
    """How the comparison went under one policy; arrays by agent. `there`: who was there when it began, or joined then.

    `left`: who had left before its end. `first`: the trigger of the first message that would have left (held out or
    not), "" for none.
    """

    ids: list[str]
    there: Array
    left: Array
    sent: list[Sent] = field(default_factory=list)
    first: list[str] = field(default_factory=list)


class Side:
    """One agent as the product sees them: their state, and their messages once the comparison has begun."""

    __slots__ = ("id", "outreach", "state")

    def __init__(
        self, supplier_id: str, state: State | None = None, outreach: Outreach | None = None
    ) -> None:
        self.id = supplier_id
        self.state = state or State()
        self.outreach = outreach

    def hear(self, event: Event) -> None:
        """Let time pass up to the event, then apply it."""
        self.wait(event.at)
        signals = apply(self.state, self.id, event)
        if signals and self.outreach is not None:
            self.outreach.hear(signals, self.state)

    def wait(self, until: int) -> None:
        """Let timers fire and messages be decided up to `until` (ms), each at its moment."""
        state, outreach = self.state, self.outreach
        if outreach is None:
            advance(state, self.id, until)
            return
        while True:
            moment = min(next_due(state), outreach.next_due)
            if moment > until:
                return
            signals = advance(state, self.id, moment)
            if signals:
                outreach.hear(signals, state)
            if outreach.next_due <= moment:
                outreach.deliver(moment, state)


class World:
    """Agents and product on the morning on which a comparison begins; each `course` starts from there anew.

    Before it, the settled ones have lived `WARM_UP_DAYS` without messages; the others sign up on that day.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.ids = supplier_ids(count, seed)
        self._agents = Agents(count, seed, joining=(WARM_UP_DAYS, WARM_UP_DAYS))
        sides = [Side(supplier_id) for supplier_id in self.ids]
        nothing = np.zeros(count)
        for number in range(WARM_UP_DAYS):
            _pass_on(self._agents.live(nothing), number, self._agents, sides)
        self.there = self._agents.here | (self._agents.joins == WARM_UP_DAYS)
        self._states = [encode(side.state) for side in sides]

    def course(
        self,
        policy: Policy,
        effects: Effects,
        tell: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> Course:
        """Live the comparison once under a policy, holdout and all; `tell` hears how many days of how many are done."""
        agents = deepcopy(self._agents)
        sides = [
            Side(supplier_id, decode(state), Outreach(supplier_id, policy, ADDRESSEE))
            for supplier_id, state in zip(self.ids, self._states, strict=True)
        ]
        course = Course(self.ids, self.there, np.zeros(len(sides), dtype=bool), first=[""] * len(sides))
        lifts = np.zeros(len(sides))
        for number in range(WINDOW_DAYS):
            day = agents.live(lifts)
            _pass_on(day, WARM_UP_DAYS + number, agents, sides)
            course.left |= day.left
            lifts = np.zeros(len(sides))
            for agent, side in enumerate(sides):
                _listen(agent, side, number, effects, course, lifts)
            tell(number + 1, WINDOW_DAYS)
        return course


def supplier_ids(count: int, seed: int) -> list[str]:
    """Ids of simulated suppliers; another seed, other ids."""
    rng = np.random.default_rng([seed, 7])
    return [str(UUID(bytes=rng.bytes(16), version=4)) for _ in range(count)]


def agents_log(count: int, days: int, seed: int) -> ActivityLog:
    """A log of so many agents over so many days, without any message, as the churn model reads it."""
    agents = Agents(count, seed, settled=0.4, joining=(0, int(days * 0.75)))
    found: dict[str, list[Event]] = {supplier_id: [] for supplier_id in supplier_ids(count, seed)}
    histories = list(found.values())
    nothing = np.zeros(count)
    for number in range(days):
        day = agents.live(nothing)
        for agent in _busy(day):
            histories[agent] += events_of(agent, day, number, agents)
    name = f"{count} agents of replay/impact/agents.py over {days} days, seed {seed}"
    return log_of(name, {supplier_id: events for supplier_id, events in found.items() if events})


def _pass_on(day: Day, number: int, agents: Agents, sides: list[Side]) -> None:
    """Tell the product what everybody did, and let the day end."""
    for agent in _busy(day):
        side = sides[agent]
        for event in events_of(agent, day, number, agents):
            side.hear(event)
    ends = BEGINS + (number + 1) * DAY - 1
    for side in sides:
        outreach = side.outreach
        if side.state.due <= ends or (outreach is not None and outreach.next_due <= ends):
            side.wait(ends)


def _listen(agent: int, side: Side, day: int, effects: Effects, course: Course, lifts: Array) -> None:
    """What was decided for them that day: note it, and lift their interest by what they read."""
    outreach = side.outreach
    if outreach is None or not outreach.messages:
        return
    messages, outreach.messages = outreach.messages, []
    for message in messages:
        if message.status != "sent" and message.reason != "holdout":
            continue
        course.first[agent] = course.first[agent] or message.trigger
        if message.status == "sent":
            course.sent.append(Sent(agent, message.trigger, day))
            if share_of(f"read:{message.id}") < effects.read:
                lifts[agent] = 1 - (1 - lifts[agent]) * (1 - effects.of(message.trigger))


def _busy(day: Day) -> Iterator[int]:
    does = day.joined | day.login | day.left | (day.client_visits > 0) | (day.journey_emails > 0)
    yield from np.flatnonzero(does).tolist()


def events_of(agent: int, day: Day, number: int, agents: Agents) -> list[Event]:
    """What one agent does on a day, as events in order of time."""
    at = BEGINS + number * DAY + MORNING + agent % 600 * MINUTE
    said: list[tuple[str, Fields]] = []
    if day.joined[agent]:
        said.append(("supplier.signed_up", Fields(plan="starter")))
        if agents.settled[agent]:
            for step in np.flatnonzero(agents.steps_done[agent]).tolist():
                said += _setup(SETUP[step], agent, int(agents.clients_to_bring[agent]))
    if day.login[agent]:
        said.append(("supplier.logged_in", Fields()))
    if day.step[agent] >= 0:
        said += _setup(SETUP[day.step[agent]], agent, int(agents.clients_to_bring[agent]))
    said += [("form.sent", Fields())] * int(day.forms_sent[agent])
    known = max(1, int(agents.clients[agent]))
    said += [
        ("client.active", Fields(client_id=_client(agent, (number * 7 + visit * 3) % known)))
        for visit in range(int(day.client_visits[agent]))
    ]
    said += [("form.completed", Fields(client_id=_client(agent, number % known)))] * int(
        day.forms_answered[agent]
    )
    said += [("journey.email_sent", Fields())] * int(day.journey_emails[agent])
    said += [("journey.email_opened", Fields())] * int(day.emails_opened[agent])
    if day.left[agent]:
        said.append(("supplier.cancelled", Fields()))
    return [
        PlainEvent(kind, at + place * MINUTE, f"{agent}/{number}/{place}", SOURCE, data)
        for place, (kind, data) in enumerate(said)
    ]


def _setup(step: str, agent: int, clients: int) -> list[tuple[str, Fields]]:
    if step == "client.imported":
        return [(step, Fields(client_ids=tuple(_client(agent, number) for number in range(clients))))]
    if step == "journey.created":
        return [(step, Fields()), ("journey.activated", Fields(journey_id="journey"))]
    return [(step, Fields())]


def _client(agent: int, number: int) -> str:
    return f"c{agent}-{number}"
