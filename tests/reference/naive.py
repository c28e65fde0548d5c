"""A deliberately naive second reading of contract sections 3 to 6: slow, and meant to be obviously right.

It keeps every accepted event of a supplier and works everything out from the complete list, again and
again. It shares no code with `scoring/` and was written from the contract alone, so that the two can be
compared. `churn_probability` is left out: it comes from a data file, not from the contract.
The facts and the score at a time are in `history.py`; here are the clock, the levels and the signals.
"""

from __future__ import annotations

import uuid
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

import xxhash

from tests.reference.history import COMPONENTS, DAY, HOUR, LOGIN_BANDS, History, newest, utc_date

MILESTONES = {
    "first_form": "form.created",
    "ten_clients": None,  # 10 known clients, whatever the event
    "first_automation": "journey.activated",
    "first_payment": "payment.received",
}
LEVELS = (("healthy", 70), ("at_risk", 40), ("critical", 0))  # best first, each from so many points
WORST_FIRST = ("critical", "at_risk", "healthy")
GOALS = (
    *("supplier.logged_in", "form.created", "form.sent", "client.imported", "journey.created"),
    *("journey.activated", "template.used", "payment.received", "plan.changed", "client.active"),
    "form.completed",
)
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://wedsync.example/success")


class Signal(NamedTuple):
    """What the supplier's events or their silence brought: type, id, time it stands for in ms, data."""

    type: str
    id: str
    at: int
    data: dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """The score as it stood at one moment: `cause` is an event's id or "time"."""

    at: int
    seq: int
    cause: str
    cause_key: str
    points: dict[str, Fraction]
    total: Fraction
    score: int
    level: str


def rfc3339(ms: int | None) -> str | None:
    """UTC with milliseconds, as the contract's times are written."""
    if ms is None:
        return None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def plain_level(total: Fraction) -> str:
    """The level of a sum without any history."""
    return next(level for level, threshold in LEVELS if total >= threshold)


def level_after(previous: str | None, total: Fraction) -> str:
    """Worse at once; better only at the better level's threshold plus 3."""
    rank = WORST_FIRST.index
    plain = plain_level(total)
    if previous is None or rank(plain) <= rank(previous):
        return plain
    reached = [level for level, threshold in LEVELS if total >= threshold + 3]
    better = [level for level in reached if rank(level) > rank(previous)]
    return better[0] if better else previous


class NaiveSupplier:
    """One supplier: `apply` their events in the order of arrival, `advance` through silence, `snapshot`."""

    def __init__(self, supplier_id: str) -> None:
        self.id = supplier_id
        self.clock: int | None = None
        self.history = History()
        self.evaluations: list[Evaluation] = []
        self.signals: list[Signal] = []
        self.applied: list[
            tuple[tuple[str, str], int]
        ] = []  # what was applied, and where the clock stood then
        self.seqs: list[tuple[Any, int]] = []  # by event and not by its id, which counts again once forgotten
        self.goals_taken = 0  # so many events have had their goals told by one
        self.taken = 0  # so many evaluations have had their changes told by a snapshot

    # -- what callers do -------------------------------------------------------------------------------

    def apply(self, event: Any) -> list[Signal]:
        """Fire what is due at or before the event, then count it; a repeated (source, id) does nothing."""
        if self._remembers(event):
            return []
        before = len(self.signals)
        self.advance(event.at)
        self.clock = event.at if self.clock is None else max(self.clock, event.at)
        self.applied.append(((event.source, event.id), self.clock))
        self.history.add(event)
        self._after_event(event)
        return self.signals[before:]

    def _remembers(self, event: Any) -> bool:
        """Forgotten when 256 later ones were applied, or the clock is 7 days past where it stood then.

        The clock is where the event finds it: what is due at its time has fired.
        """
        stood = [clock for identity, clock in self.applied[-256:] if identity == (event.source, event.id)]
        if not stood:
            return False
        found = deepcopy(self)
        found.advance(event.at)
        assert found.clock is not None
        return found.clock < max(stood) + 7 * DAY

    def advance(self, to_ms: int) -> list[Signal]:
        """Fire everything due at or before `to_ms`, in due order; the clock moves to due times only."""
        before = len(self.signals)
        while (due := self._next_due()) is not None and due <= to_ms:
            self._fire(due)
        return self.signals[before:]

    # -- time ------------------------------------------------------------------------------------------

    def metric_instants(self) -> list[int]:
        """Every instant after the clock at which silence may change a metric's points, in order."""
        instants = set()
        login = self.history.last("supplier.logged_in")
        if login is not None:
            instants |= {login + days * DAY for days, _ in LOGIN_BANDS}
        instants |= {last + 30 * DAY + 1 for last in self.history.clients().values() if last is not None}
        emails = self.history.of("journey.email_sent") + self.history.of("journey.email_opened")
        instants |= {(utc_date(event.at) + 30) * DAY for event in emails}
        return sorted(instant for instant in instants if self.clock is not None and instant > self.clock)

    def due_conditions(self) -> list[tuple[int, str]]:
        """Every (instant, condition) that will fire in silence; those of one instant in their order."""
        if self.clock is None:
            return []
        signed_up, login = self.history.signed_up_at(), self.history.last("supplier.logged_in")
        base = login if login is not None else signed_up
        due: list[tuple[int, str]] = []
        if base is not None:
            due += [(base + 7 * DAY * k, "no_login_7_days") for k in (1, 2, 3, 4)]
        if signed_up is not None:
            if not self.history.of("client.imported"):
                due += [(signed_up + 72 * HOUR * k, "zero_clients_imported") for k in (1, 2, 3)]
            if len(self.history.features()) <= 1:
                due.append((signed_up + 7 * DAY, "stuck_onboarding"))
            if 1 <= len(self.history.clients()) <= 9:
                due.append((signed_up + 14 * DAY, "low_client_adoption"))
            due.append((signed_up + 14 * DAY, "onboarding_ended"))
        return [(instant, name) for instant, name in due if instant > self.clock]

    def _next_due(self) -> int | None:
        return min([*self.metric_instants(), *(due for due, _ in self.due_conditions())], default=None)

    def _fire(self, due: int) -> None:
        conditions = [name for instant, name in self.due_conditions() if instant == due]
        key = f"time:{rfc3339(due)}"
        self.clock = due
        changed = bool(self.evaluations) and self.history.total(due) != self.evaluations[-1].total
        self._evaluate(due, "time", key, seq=self._seq() + changed)
        self._emit_risk_change(due, key)
        for name in conditions:
            self._emit_condition(name, due, key)

    # -- evaluations and the signals that follow -------------------------------------------------------

    def _seq(self) -> int:
        return self.evaluations[-1].seq if self.evaluations else 0

    def _evaluate(self, at: int, cause: str, key: str, seq: int) -> None:
        total = self.history.total(at)
        previous = self.evaluations[-1].level if self.evaluations else None
        self.evaluations.append(
            Evaluation(
                at=at,
                seq=seq,
                cause=cause,
                cause_key=key,
                points={name: round(points, 9) for name, points in self.history.points(at).items()},
                total=total,
                score=(total + Fraction(1, 2)).__floor__(),
                level=level_after(previous, total),
            )
        )

    def _after_event(self, event: Any) -> None:
        key = f"{event.source}|{event.id}"
        assert self.clock is not None
        self._evaluate(self.clock, event.id, key, seq=self._seq() + 1)
        self.seqs.append((event, self._seq()))
        for milestone in MILESTONES:
            if self._reaches(milestone, event) and not self._emitted("milestone", milestone):
                data = {"milestone": milestone, "seq": self._seq(), "cause_type": event.type}
                self._emit("success.milestone.achieved", milestone, "", event.at, data)
        self._emit_risk_change(event.at, key)
        if event.type == "supplier.signed_up" and len(self.history.of("supplier.signed_up")) == 1:
            self._emit_condition("signed_up", event.at, key)
        if self._high_usage():
            self._emit_condition("high_usage_free_tier", event.at, key)

    def _reaches(self, milestone: str, event: Any) -> bool:
        if event.type == "milestone.reported" and event.data.milestone == milestone:
            return True
        if milestone == "ten_clients":
            return len(self.history.clients()) >= 10
        return bool(event.type == MILESTONES[milestone])

    def _high_usage(self) -> bool:
        """On the free plan, near its limits, and not yet said in this stay on it."""
        near = len(self.history.clients()) >= 20 or len(self.history.of("form.created")) >= 4
        if self.history.plan() != "free" or not near:
            return False
        said = self._emitted("condition", "high_usage_free_tier")
        return not any(signal.data["seq"] >= self._stay_began() for signal in said)

    def _stay_began(self) -> int:
        """The seq of the event with which the present plan last became the plan."""
        began, plan = 0, None
        events = self.history.plan_events()
        for number, event in enumerate(events, start=1):
            holds = newest(events[:number]).data.plan
            if holds != plan:
                plan = holds
                began = next(seq for applied, seq in self.seqs if applied is event)
        return began

    def _emitted(self, kind: str, name: str) -> list[Signal]:
        return [signal for signal in self.signals if signal.data.get(kind) == name]

    def _emit(self, signal_type: str, name: str, cause_key: str, at: int, data: dict[str, Any]) -> None:
        self.signals.append(Signal(signal_type, self._id(signal_type, name, cause_key), at, data))

    def _emit_condition(self, name: str, at: int, key: str) -> None:
        occurrence = 1 + len(self._emitted("condition", name))
        level = self.evaluations[-1].level
        data = {"condition": name, "occurrence": occurrence, "seq": self._seq(), "level": level}
        self._emit("success.condition.met", name, key, at, data)

    def _emit_risk_change(self, at: int, key: str) -> None:
        changes = self._risk_changes()
        last = len(self.evaluations) - 1
        if last not in changes:
            return
        now = self.evaluations[last]
        data = {
            "previous": self.evaluations[last - 1].level if last else None,
            "level": now.level,
            "score": now.score,
            "sum": float(now.total),
            "breakdown": {name: float(points) for name, points in now.points.items()},
            "causes": self._causes(changes[-2] if last else None, last),
            "seq": now.seq,
            "signed_up_at": rfc3339(self.history.signed_up_at()),
        }
        self._emit("success.risk.changed", now.level, key, at, data)

    def _id(self, signal_type: str, name: str, cause_key: str) -> str:
        return str(uuid.uuid5(NAMESPACE, f"{self.id}|{signal_type}|{name}|{cause_key}"))

    def _risk_changes(self) -> list[int]:
        """The numbers of the evaluations that changed the level, the first one included."""
        levels = [None, *(evaluation.level for evaluation in self.evaluations)]
        return [number for number in range(len(self.evaluations)) if levels[number + 1] != levels[number]]

    def _visible_changes(self) -> list[int]:
        """The numbers of the evaluations that changed the displayed score or the level."""
        shown = [None, *((evaluation.score, evaluation.level) for evaluation in self.evaluations)]
        return [number for number in range(len(self.evaluations)) if shown[number + 1] != shown[number]]

    def _causes(self, since: int | None, until: int) -> list[dict[str, Any]]:
        """What changed in the evaluations after number `since` (all, if none) up to `until`."""
        entries: list[dict[str, Any]] = []
        for number in range(0 if since is None else since + 1, until + 1):
            after = self.evaluations[number]
            before = self.evaluations[number - 1].points if number else dict.fromkeys(COMPONENTS, Fraction(0))
            entries += [
                {
                    "component": name,
                    "before": float(before[name]),
                    "after": float(after.points[name]),
                    "event": after.cause,
                }
                for name in COMPONENTS
                if before[name] != after.points[name]
            ]
        return merge_oldest(entries)

    # -- the snapshot ----------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """The data of `success.health.updated`, as of the clock.

        Its `changes` and `goals` are those since the last snapshot; taking one means they are not owed again.
        """
        # A switch that leaves sum and level as they are leaves `seq`, too, with other points.
        now = next(evaluation for evaluation in reversed(self.evaluations) if evaluation.seq == self._seq())
        t = clock = self.clock if self.clock is not None else now.at
        metrics = {name: float(value) for name, value in self.history.metrics(t).items()}
        cancelled = self.history.cancelled()
        return {
            "seq": now.seq,
            "calculated_at": rfc3339(t),
            "conditions": dict(
                Counter(s.data["condition"] for s in self.signals if s.type == "success.condition.met")
            ),
            "score": now.score,
            "sum": float(now.total),
            "level": now.level,
            "breakdown": {name: float(points) for name, points in now.points.items()},
            "metrics": metrics | {"loginFrequency": self.history.login_days(t)},
            "features": self.history.features(),
            "clients": {"known": len(self.history.clients()), "active": self.history.active_clients(clock)},
            "forms": {
                "created": len(self.history.of("form.created")),
                "sent": len(self.history.of("form.sent")),
                "completed": len(self.history.of("form.completed")),
            },
            "journeys": {
                "active": self.history.active_journeys(),
                "sent": self.history.journey_emails("journey.email_sent", clock),
                "opened": self.history.journey_emails("journey.email_opened", clock),
            },
            "last_login": rfc3339(self.history.last("supplier.logged_in")),
            "signed_up_at": rfc3339(self.history.signed_up_at()),
            "plan": self.history.plan(),
            "consent": self._consents(),
            "cancelled": cancelled is not None,
            "cancelled_at": rfc3339(cancelled.at if cancelled else None),
            "last_goals": {name: rfc3339(self.history.last(name)) for name in GOALS if self.history.of(name)},
            "goals": self._take_goals(),
            **self._forecast(),
            "changes": self._take_changes(),
        }

    def _consents(self) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for scope in ("email", "all"):
            event = self.history.consent(scope)
            said[f"{scope}_opt_out"] = event is not None and event.type == "communication.opted_out"
            said[f"{scope}_at"] = rfc3339(event.at if event else None)
        return said

    def _forecast(self) -> dict[str, Any]:
        """What silence alone will change next: first the sum, later perhaps the level."""
        now = self.evaluations[-1]
        change_at, level, level_at = None, now.level, None
        for instant in self.metric_instants():
            total = self.history.total(instant)
            if change_at is None and total != now.total:
                change_at = instant
            level = level_after(level, total)
            if level != now.level:
                level_at = instant
                break
        return {
            "next_change_at": rfc3339(change_at),
            "next_level_if_silent": level if level_at is not None else None,
            "next_level_at": rfc3339(level_at),
        }

    def _take_goals(self) -> dict[str, list[str | None]]:
        """The times of the goal events since the last snapshot, as they came."""
        events, self.goals_taken = self.history.events[self.goals_taken :], len(self.history.events)
        return {
            name: [rfc3339(event.at) for event in events if event.type == name]
            for name in GOALS
            if any(event.type == name for event in events)
        }

    def _take_changes(self) -> list[dict[str, Any]]:
        numbers = self._visible_changes()
        owed = []
        for previous, number in zip([None, *numbers], numbers, strict=False):
            if number < self.taken:
                continue
            change = self.evaluations[number]
            owed.append(
                {
                    "id": change_id(self.id, change.seq),
                    "at": rfc3339(change.at),
                    "seq": change.seq,
                    "score": change.score,
                    "level": change.level,
                    "causes": self._causes(previous, number),
                }
            )
        self.taken = len(self.evaluations)
        return owed


def change_id(supplier_id: str, seq: int) -> str:
    """UUIDv8 of the XXH3 digest of supplier and seq (docs/scoring.md)."""
    digest = int.from_bytes(xxhash.xxh3_128_digest(f"{supplier_id}|{seq}".encode()))
    digest = digest & ~(0xF << 76) | 8 << 76
    digest = digest & ~(0x3 << 62) | 2 << 62
    return str(uuid.UUID(int=digest))


def merge_oldest(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most 20 entries: of more, as few of the oldest as will do become one entry a component, put first."""
    count = next(
        count
        for count in range(len(entries) + 1)
        if len({entry["component"] for entry in entries[:count]}) + len(entries) - count <= 20
    )
    older, kept = entries[:count], entries[count:]
    merged = []
    for name in COMPONENTS:
        of_component = [entry for entry in older if entry["component"] == name]
        if of_component and of_component[0]["before"] != of_component[-1]["after"]:
            first, last = of_component[0]["before"], of_component[-1]["after"]
            merged.append({"component": name, "before": first, "after": last, "event": "earlier"})
    return merged + kept
