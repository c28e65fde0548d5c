"""One simulated supplier's life, a local day at a time: sessions, couples, journeys, money, leaving.

Nothing here knows how health is scored. What happens later (a couple answers a form next Tuesday) waits in
a heap, so that lines leave in the order of time.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any
from uuid import UUID

from replay.simulator.people import Person, in_season
from replay.simulator.personas import Course, Persona
from scoring.health.rules import SHIPPED
from scoring.zones import zone_named
from topics.time import format_time

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
SOURCE = "/wedsync/simulator"
MONDAY, TUESDAY, SATURDAY, SUNDAY = 0, 1, 5, 6
SETUP_STEPS = (
    "form.created",
    "client.imported",
    "form.sent",
    "template.used",
    "journey.created",
    "form.created",
)
MILESTONES = tuple(SHIPPED.milestones)
LEAVING_REASONS = ("too expensive", "not using it", "switched to another tool", "closing the business")
PAID_PLANS = ("starter", "starter", "professional", "scale")
MANY_CLIENTS = 20  # what makes their think that the free plan is too small
A_SESSION = {  # chances of what few sessions hold
    "another form": 0.03,
    "a template": 0.12,
    "a wedding is over": 0.05,
    "another journey": 0.03,
    "a journey is stopped": 0.02,
    "support reports a milestone": 0.004,
    "upgrade from a full free plan": 0.1,
    "upgrade to professional": 0.004,
    "downgrade to free": 0.006,
    "opt out": 0.002,
    "opt in again": 0.03,
}
SHUFFLED_SETUP = 0.35  # do not follow the guided order
STEPS_LEFT_OPEN = 0.8  # of an earlier setup, each
LIFT_FADES_DAYS = 14
ANSWERED_AT_LEAST = 0.35  # share of forms that even uninterested couples answer

Line = dict[str, Any]


def happenings(rng: Random, mean: float) -> int:
    """How often something happens that happens `mean` times on average (Poisson; Knuth's method)."""
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


class SupplierLife:
    """Lives one supplier between two instants (ms); `lines()` yields (ms, line) in order of time."""

    def __init__(
        self,
        rng: Random,
        person: Person,
        persona: Persona,
        course: Course,
        joined_ms: int,
        start_ms: int,
        end_ms: int,
    ) -> None:
        self.rng, self.person, self.persona, self.course = rng, person, persona, course
        self.joined_ms, self.start_ms, self.end_ms = joined_ms, start_ms, end_ms
        self.zone = zone_named(person.place.timezone)
        self.waiting: list[tuple[int, int, Line]] = []
        self.began = max(joined_ms, start_ms)
        self.made = 0
        self.plan = "free" if rng.random() < persona.free else rng.choice(PAID_PLANS)
        self.setup = self._setup_steps()
        self.forms: list[str] = []
        self.clients: list[str] = []
        self.journeys: list[str] = []
        self.cancelled = False
        self.opted_out: str | None = None
        self._tomorrow: date | None = None
        """The first local day that has not been lived; None before the first line."""
        self._lift, self._lifted_day = 0.0, 0.0

    def lines(self) -> Iterator[tuple[int, Line]]:
        """Everything from the sign-up (or the profile of one who joined before) to the end."""
        yield from self.lines_until(self.began)
        while self._tomorrow is not None and self._local_ms(self._tomorrow, 0) < self.end_ms:
            after = self._local_ms(self._tomorrow + timedelta(days=1), 0)
            yield from self.lines_until(after)

    def lines_until(self, until: int) -> Iterator[tuple[int, Line]]:
        """Live on, and give what happens before `until` (ms); nothing after the end."""
        if until < self.began:
            return
        if self._tomorrow is None:
            self._begin()
            self._tomorrow = datetime.fromtimestamp(self.began / 1000, UTC).astimezone(self.zone).date()
        while self._local_ms(self._tomorrow, 0) < min(until, self.end_ms):
            self._live(self._tomorrow)
            self._tomorrow += timedelta(days=1)
        yield from self._told_before(min(until, self.end_ms))

    def come_back(self, at: int, lift: float, step: str | None = None) -> None:
        """What a message does whose button they press: a visit at `at` (ms), `step` of their setup first if it is open.

        `lift` takes their interest that part of the way to full, and fades within weeks.
        """
        if self.cancelled or at < self.began:
            return
        days_since = (at - self.joined_ms) / DAY
        self._lift = 1 - (1 - self._lift_on(days_since)) * (1 - lift)
        self._lifted_day = days_since
        if step in self.setup:
            self.setup.remove(step)
            self._take_step(step, at + MINUTE)
        self._session(at, self._interest(days_since))

    def _interest(self, days_since: float) -> float:
        """Of 0 to 1: their own, and what messages made of it."""
        own = self.course.interest(days_since)
        return own + self._lift_on(days_since) * (1 - own) if self._lift else own

    def _lift_on(self, days_since: float) -> float:
        return self._lift * math.exp(-(days_since - self._lifted_day) / LIFT_FADES_DAYS)

    def _begin(self) -> None:
        began = self.began
        self._say_profile(began)
        if self.joined_ms >= self.start_ms:
            self._say(began, "supplier.signed_up", plan=self.plan)
            self._session(began + self.rng.randrange(MINUTE), 1.0)
        else:
            self._settled_before()

    # -- days ------------------------------------------------------------------------------------------

    def _live(self, today: date) -> None:
        """Decide what this local day brings."""
        noon = self._local_ms(today, 12 * HOUR)
        days_since = (noon - self.joined_ms) / DAY
        interest = self._interest(days_since)
        self._cancel_or_return(noon, days_since)
        if self.cancelled:
            return
        season = 1.3 if in_season(self.person.place, today.month) else 0.85
        for _ in range(happenings(self.rng, self.persona.logins_a_day * interest * self._weekday(today))):
            at = self._local_ms(today, int(self.rng.triangular(7, 23, 10 + self.rng.choice((0, 9))) * HOUR))
            if at > self.began:
                self._session(at + self.rng.randrange(MINUTE), interest)
        self._couples(today, season * max(interest, 0.25))

    def _weekday(self, today: date) -> float:
        """Busy on Saturdays, or at rest; the office is done on Mondays and Tuesdays."""
        if today.weekday() == SATURDAY:
            return 0.25 if self.person.trade.saturdays else 0.5
        if today.weekday() == SUNDAY:
            return 0.6
        return 1.3 if today.weekday() in {MONDAY, TUESDAY} else 1.1

    def _cancel_or_return(self, noon: int, days_since: float) -> None:
        course = self.course
        back = course.back_day is not None and days_since >= course.back_day
        if self.cancelled and back:
            self.cancelled = False
            self._say(noon, "supplier.reactivated")
        if noon > self.began and not self.cancelled and not back and _reached(course.cancel_day, days_since):
            self.cancelled = True
            self._say(noon, "supplier.cancelled", reason=self.rng.choice(LEAVING_REASONS))

    # -- sessions --------------------------------------------------------------------------------------

    def _session(self, at: int, interest: float) -> None:
        """One visit: they go on with their setup, then does their work."""
        rng, persona = self.rng, self.persona
        self._say(at, "supplier.logged_in")
        at += rng.randrange(20_000, 6 * MINUTE)
        while self.setup and rng.random() < persona.drive * interest:
            self._take_step(self.setup.pop(0), at)
            at += rng.randrange(MINUTE, 15 * MINUTE)
        if self.clients:
            for _ in range(happenings(rng, persona.new_clients)):
                self._say(at, "client.imported", client_id=self._new_client())
                at += rng.randrange(30_000, 5 * MINUTE)
            for _ in range(happenings(rng, persona.forms_sent) if self.forms else 0):
                self._send_form(at)
                at += rng.randrange(30_000, 5 * MINUTE)
        self._now_and_then(at)

    def _take_step(self, step: str, at: int) -> None:
        if step == "form.created":
            self._create_form(at)
        elif step == "client.imported":
            low, high = self.persona.clients
            count = max(1, round(self.rng.randint(low, high) * self.person.trade.clients))
            self._say(at, step, client_ids=[self._new_client() for _ in range(count)])
        elif step == "form.sent" and self.forms and self.clients:
            self._send_form(at)
        elif step == "template.used":
            self._say(at, step, template_id=f"template-{self.rng.randint(1, 30)}")
        elif step == "journey.created":
            self._create_journey(at)

    def _now_and_then(self, at: int) -> None:
        """What few sessions hold: another form, a template, a wedding that is over, another plan, enough mail."""
        rng = self.rng
        perhaps = self._perhaps
        if self.forms and perhaps("another form"):
            self._create_form(at + 1)
        if len(self.forms) > 1 and perhaps("a template"):
            self._say(at + 2, "template.used", template_id=f"template-{rng.randint(1, 30)}")
        if len(self.clients) > len(self.forms) and perhaps("a wedding is over"):
            gone = self.clients.pop(rng.randrange(len(self.clients)))
            self._say(at + 3, "client.removed", client_id=gone)
        if self.journeys and perhaps("another journey"):
            self._create_journey(at + 4)
        if len(self.journeys) > 1 and perhaps("a journey is stopped"):
            self._say(at + 5, "journey.deactivated", journey_id=self.journeys.pop())
        if perhaps("support reports a milestone"):
            milestone = rng.choice(MILESTONES)
            self._say(at + 6, "milestone.reported", milestone=milestone)
        self._perhaps_other_plan(at + 7)
        self._perhaps_consent(at + 8)

    def _perhaps(self, what: str) -> bool:
        return self.rng.random() < A_SESSION[what]

    def _perhaps_other_plan(self, at: int) -> None:
        outgrown = self.plan == "free" and len(self.clients) >= MANY_CLIENTS
        if outgrown and self._perhaps("upgrade from a full free plan"):
            self._change_plan(at, "starter")
        elif self.plan == "starter" and self._perhaps("upgrade to professional"):
            self._change_plan(at, "professional")
        elif self.plan == "starter" and self._perhaps("downgrade to free"):
            self._change_plan(at, "free")

    def _change_plan(self, at: int, plan: str) -> None:
        self.plan = plan
        self._say(at, "plan.changed", plan=plan)
        self._say_profile(at)

    def _perhaps_consent(self, at: int) -> None:
        if self.opted_out is None and self._perhaps("opt out"):
            self.opted_out = self.rng.choice(("email", "email", "email", "all"))
            self._say(at, "communication.opted_out", scope=self.opted_out)
        elif self.opted_out is not None and self._perhaps("opt in again"):
            self._say(at, "communication.opted_in", scope=self.opted_out)
            self.opted_out = None

    # -- couples ---------------------------------------------------------------------------------------

    def _couples(self, today: date, eagerness: float) -> None:
        """What the clients do that day without them: they look in, get journey emails, pay."""
        rng, known = self.rng, self.clients
        if not known:
            return
        for _ in range(happenings(rng, len(known) / self.persona.client_days * eagerness)):
            self._say(self._some_time(today), "client.active", client_id=rng.choice(known))
        for _ in range(happenings(rng, len(known) * 0.03 * min(len(self.journeys), 2))):
            self._journey_email(self._some_time(today))
        for _ in range(happenings(rng, self.persona.payments * eagerness)):
            amount = round(self.person.trade.deposit_minor * rng.lognormvariate(0, 0.4), -2)
            self._say(
                self._some_time(today),
                "payment.received",
                payment_id=self._id("pay"),
                amount_minor=int(amount),
                currency=self.person.place.currency,
            )

    def _journey_email(self, at: int) -> None:
        mail = {"journey_id": self.rng.choice(self.journeys), "message_id": self._id("msg")}
        mail["client_id"] = self.rng.choice(self.clients)
        self._say(at, "journey.email_sent", **mail)
        if self.rng.random() < self.persona.opens:
            self._say(at + self._later(9 * HOUR), "journey.email_opened", **mail)

    def _send_form(self, at: int) -> None:
        sent = {"form_id": self.rng.choice(self.forms), "client_id": self.rng.choice(self.clients)}
        self._say(at, "form.sent", **sent)
        if self.rng.random() < ANSWERED_AT_LEAST + self.persona.opens / 2:
            self._say(at + self._later(20 * HOUR), "form.completed", **sent)

    def _create_form(self, at: int) -> None:
        self.forms.append(self._id("form"))
        self._say(at, "form.created", form_id=self.forms[-1])

    def _create_journey(self, at: int) -> None:
        self.journeys.append(self._id("journey"))
        self._say(at, "journey.created", journey_id=self.journeys[-1])
        self._say(
            at + self.rng.randrange(MINUTE, 10 * MINUTE), "journey.activated", journey_id=self.journeys[-1]
        )

    def _new_client(self) -> str:
        self.clients.append(self._id("client"))
        return self.clients[-1]

    # -- the beginning, and telling --------------------------------------------------------------------

    def _setup_steps(self) -> list[str]:
        """The guided order, which not everyone follows; those who seldom get far begin anywhere."""
        steps = list(SETUP_STEPS)
        if self.rng.random() < SHUFFLED_SETUP:
            self.rng.shuffle(steps)
        return steps

    def _settled_before(self) -> None:
        """One who joined before the log began brings their forms, clients and journeys along, unsaid."""
        low, high = self.persona.clients
        self.forms = [self._id("form") for _ in range(2)]
        for _ in range(self.rng.randint(low, high)):
            self._new_client()
        self.journeys = [self._id("journey")]
        self.setup = [
            step for step in self.setup if step != "journey.created" and self.rng.random() < STEPS_LEFT_OPEN
        ]

    def _local_ms(self, day: date, into_day_ms: int) -> int:
        midnight = datetime.combine(day, time(), self.zone)
        return int(midnight.timestamp()) * 1000 + into_day_ms

    def _some_time(self, today: date) -> int:
        """A waking moment of that day."""
        at = self._local_ms(today, int(self.rng.triangular(7, 23.5, 20) * HOUR))
        return at + self.rng.randrange(MINUTE)

    def _later(self, median_ms: int) -> int:
        """A delay around the median: most within a day, a few of many days."""
        return int(median_ms * self.rng.lognormvariate(0, 1.2)) + 1

    def _id(self, kind: str) -> str:
        return f"{kind}-{self.rng.getrandbits(40):010x}"

    def _say(self, at: int, event_type: str, **data: Any) -> None:
        line: Line = {
            "specversion": "1.0",
            "id": str(UUID(int=self.rng.getrandbits(128), version=4)),
            "source": SOURCE,
            "type": event_type,
            "subject": self.person.id,
            "time": format_time(at),
        }
        if data:
            line["data"] = data
        self._wait(at, line)

    def _say_profile(self, at: int) -> None:
        self._wait(at, self.person.profile(self.plan, self.joined_ms))

    def _wait(self, at: int, line: Line) -> None:
        """Tell the line when its time comes; what would have been before they joined was not."""
        if at < self.began:
            return
        self.made += 1
        heapq.heappush(self.waiting, (at, self.made, line))

    def _told_before(self, until: int) -> Iterator[tuple[int, Line]]:
        while self.waiting and self.waiting[0][0] < until:
            at, _, line = heapq.heappop(self.waiting)
            yield at, line


def _reached(day: float | None, days_since: float) -> bool:
    return day is not None and days_since >= day
