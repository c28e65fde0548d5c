"""Delivery as it would be: the live decision on simulated rows of one supplier, in memory. Nothing can leave here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID, uuid5

from replay.log.source import Addressee
from scoring.advice.recommend import worth_saying
from scoring.decisions.decide import Decision, Row, SupplierFacts, decide
from scoring.decisions.policy import Policy, Trigger
from scoring.decisions.resolved import Health
from scoring.health.rules import SHIPPED, Rules
from scoring.health.rules_switch import came_of_a_switch
from scoring.health.signals import Signal
from scoring.health.snapshot import standing
from scoring.health.state import State
from scoring.time import NEVER, WEEK

ON_FILE = "on file"
"""Stands for an address, which a replay never reads."""
SPARE = WEEK
"""What left is remembered so much longer than it counts: a row may be decided long after its signal."""


@dataclass(frozen=True, slots=True)
class Message:
    """What became of one row of `success_interventions`; times in ms.

    `at`: when that was decided; of a row that is still scheduled, the signal's time.
    """

    id: str
    supplier_id: str
    trigger: str
    channel: str
    template: str
    kind: str
    signal_id: str
    signal_at: int
    due_at: int
    status: str
    """`sent`, `suppressed`, or `scheduled` where the replay ended before it was decided."""
    reason: str | None
    at: int
    why: str


@dataclass(slots=True)
class _Waiting:
    row: Row
    trigger: Trigger
    signal_id: str
    not_before: int


class Outreach:
    """The rows of one supplier under a policy. `next_due` is when the next one is to be looked at (ms), or NEVER."""

    __slots__ = (
        "_addressee",
        "_policy",
        "_remembered",
        "_sent",
        "_supplier_id",
        "_waiting",
        "messages",
        "next_due",
    )

    def __init__(self, supplier_id: str, policy: Policy, addressee: Addressee) -> None:
        self._supplier_id = supplier_id
        self._policy = policy
        self._remembered = policy.counts_back_ms + policy.lifetime.expires_after_ms + SPARE
        self._addressee = addressee
        self._waiting: list[_Waiting] = []
        self._sent: list[Row] = []
        self.messages: list[Message] = []
        """What has been decided for good; whoever takes them empties the list."""
        self.next_due = NEVER

    def hear(self, signals: list[Signal], state: State) -> None:
        """Write the rows that signals call for, right when they come."""
        for signal in signals:
            for trigger in self._policy.triggers_for(signal.type, signal.data):
                self._add(signal, trigger, state)

    def go_over(self, policy: Policy) -> None:
        """Decide by another policy from here on."""
        self._policy = policy
        self._remembered = max(
            self._remembered, policy.counts_back_ms + policy.lifetime.expires_after_ms + SPARE
        )

    def deliver(self, now: int, state: State) -> None:
        """Decide everything that is due at `now` together, on the state of this moment."""
        due = {waiting.row.id: waiting for waiting in self._waiting if waiting.not_before <= now}
        rows = [waiting.row for waiting in due.values()]
        advises = any(waiting.trigger.least_points is not None for waiting in due.values())
        for decision in decide(self._facts(state, advises), rows, self._sent, now, self._policy):
            self._carry_out(due[decision.row_id], decision, now)
        self._sent = [row for row in self._sent if now - (row.claimed_at or 0) < self._remembered]
        self.next_due = min((waiting.not_before for waiting in self._waiting), default=NEVER)

    def end(self) -> None:
        """Note what is still scheduled."""
        for waiting in self._waiting:
            self._note(waiting, "scheduled", None, waiting.row.signal_at, "")
        self._waiting = []
        self.next_due = NEVER

    def _add(self, signal: Signal, trigger: Trigger, state: State) -> None:
        row = Row(
            id=str(uuid5(UUID(signal.id), trigger.name)),
            trigger=trigger.name,
            channel=trigger.channel,
            kind=trigger.kind,
            priority=trigger.priority,
            signal_at=signal.at,
            due_at=signal.at + trigger.delay_ms,
            seq=signal.data["seq"],
            milestone=signal.data.get("milestone"),
            cause_type=signal.data.get("cause_type"),
        )
        waiting = _Waiting(row, trigger, signal.id, row.due_at)
        now = max(state.clock, signal.at)
        reason: str | None = "rules_changed"
        if not came_of_a_switch(signal.data):
            reason = self._policy.reason_at_birth(signal.type, signal.at, state.signed_up_at, now)
        if reason is not None:
            self._note(waiting, "suppressed", reason, now, "")
            return
        self._waiting.append(waiting)
        self.next_due = min(self.next_due, row.due_at)

    def _carry_out(self, waiting: _Waiting, decision: Decision, now: int) -> None:
        if decision.action == "wait" and decision.until is not None:
            waiting.not_before = decision.until
            return
        self._waiting.remove(waiting)
        if decision.action == "send":
            self._sent.append(replace(waiting.row, status="sent", claimed_at=now))
        status = "sent" if decision.action == "send" else "suppressed"
        self._note(waiting, status, decision.reason, now, decision.why)

    def _note(self, waiting: _Waiting, status: str, reason: str | None, at: int, why: str) -> None:
        row, trigger = waiting.row, waiting.trigger
        self.messages.append(
            Message(
                row.id,
                self._supplier_id,
                row.trigger,
                row.channel,
                trigger.template,
                row.kind,
                waiting.signal_id,
                row.signal_at,
                row.due_at,
                status,
                reason,
                at,
                why,
            )
        )

    def _facts(self, state: State, advises: bool) -> SupplierFacts:
        return SupplierFacts(
            self._supplier_id,
            email=ON_FILE if self._addressee.has_address else None,
            zone=self._addressee.zone,
            email_opt_out=state.email_consent.opted_out,
            all_opt_out=state.all_consent.opted_out,
            health=health_of(state, self._policy.rules, advises=advises),
        )


def health_of(state: State, rules: Rules = SHIPPED, *, advises: bool = False) -> Health:
    """What a decision sees of a state: the same as of the snapshot that Postgres would hold. Reads only.

    `advises`: one of the messages is advice, which depends on what the best of it is worth.
    """
    if state.level is None:
        raise ValueError("a supplier without an event has no health")
    return Health(
        seq=state.seq,
        level=state.level,
        score=state.score,
        cancelled=state.cancelled,
        features=frozenset(name for name, bit in rules.features if state.features & bit),
        known_clients=len(state.clients),
        forms_created=state.counts.get("form.created", 0),
        last_login=state.last_login,
        signed_up_at=state.signed_up_at,
        plan=state.plan,
        numbers=rules.compared_numbers(state),
        worth=partial(worth_saying, standing(state, rules)) if advises else None,
    )
