"""The decision at the moment of sending: which of a supplier's due messages leave now, wait, or never leave.

Pure: everything known comes in, decisions with their reasons come out. Times are int milliseconds (UTC). All
windows are half-open: what happened exactly 7 x 24 h, 72 h, 24 h or 20 h ago no longer counts.

The due rows are looked at by priority (then the older signal, then the id), each against what was sent before
and what has just been decided to be sent. The first check that applies is the answer:

 1. erased, paused (the policy has no such trigger any more), opted_out, complained (which opts out of emails too),
    bounced, held, paused
 2. expired / no_address: its time is up
 3. wait for health as new as the signal
 4. cancelled_supplier, healthy (rescue), resolved, nothing_to_say
 5. superseded, trigger_cap, weekly_cap: a cap suppresses at once, also what would wait for the morning
 6. wait for an address, for the spacing between emails, for the hours in which emails leave
 7. holdout, last of all: only what would really have been sent is compared
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from scoring.decisions.experiments import HOLDOUT, Assignment, assign
from scoring.decisions.hours import next_open
from scoring.decisions.policy import Channel, Kind, Policy, Trigger
from scoring.decisions.resolved import Health, holds
from scoring.health.rules import REPORTED

Reason = Literal[
    "weekly_cap",
    "trigger_cap",
    "opted_out",
    "paused",
    "held",
    "healthy",
    "resolved",
    "nothing_to_say",
    "cancelled_supplier",
    "onboarding",
    "no_address",
    "bounced",
    "complained",
    "erased",
    "superseded",
    "holdout",
    "stale",
    "expired",
]
Waiting = Literal["health", "address", "spacing", "hours"]
_BARS = ("erased", "all_opt_out", "email_opt_out", "complained", "bounced", "held", "paused")
"""The facts that forbid a message; noted only where they hold."""
COUNTED = ("sending", "sent", "unknown")
"""The statuses that count towards caps and spacing, from the moment of the claim."""


@dataclass(frozen=True, slots=True)
class SupplierFacts:
    """What is known of a supplier at the moment of deciding."""

    supplier_id: str
    email: str | None = None
    zone: str | None = None
    """IANA name; None or an unknown one means the policy's zone."""
    email_opt_out: bool = False
    all_opt_out: bool = False
    bounced: bool = False
    complained: bool = False
    held: bool = False
    """An agent holds all messages to them."""
    paused: bool = False
    erased: bool = False
    health: Health | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row of `success_interventions`, as far as a decision needs it."""

    id: str
    trigger: str
    channel: Channel
    kind: Kind
    priority: int
    signal_at: int
    due_at: int
    seq: int = 0
    """The signal's `seq`: stored health must be at least as new."""
    status: str = "scheduled"
    claimed_at: int | None = None
    milestone: str | None = None
    cause_type: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one row, why (for people), and what it was decided on (for `metadata`)."""

    row_id: str
    action: Literal["send", "wait", "suppress"]
    why: str
    reason: Reason | None = None
    """Of a suppressed row."""
    waiting: Waiting | None = None
    """What a waiting row waits for."""
    until: int | None = None
    """When a waiting row is looked at again, at the latest."""
    inputs: dict[str, Any] = field(default_factory=dict)
    experiment: str | None = None
    variant: str | None = None
    """The group of the experiment that this message is part of, once it is sent or held out."""

    @property
    def template_variant(self) -> str | None:
        """The variant of the template to write it in; None where the template has none."""
        return None if self.experiment in {None, HOLDOUT} else self.variant


@dataclass(frozen=True, slots=True)
class _Case:
    """One row with everything its checks look at."""

    row: Row
    trigger: Trigger
    facts: SupplierFacts
    counted: Sequence[Row]
    now: int
    policy: Policy
    groups: Assignment

    @property
    def is_email(self) -> bool:
        return self.row.channel == "email"

    def within(self, window_ms: int) -> list[Row]:
        """Counted rows claimed less than `window_ms` ago."""
        return [row for row in self.counted if self.now - _left_at(row) < window_ms]

    def celebrates(self, row: Row) -> bool:
        """Whether a row is a celebration email."""
        trigger = self.policy.trigger(row.trigger)
        return row.channel == "email" and trigger is not None and trigger.celebration

    def suppress(self, reason: Reason, why: str) -> Decision:
        return Decision(self.row.id, "suppress", why, reason=reason)

    def wait(self, waiting: Waiting, until: int, why: str) -> Decision:
        until = min(until, self.row.due_at + self.policy.lifetime.expires_after_ms)
        return Decision(self.row.id, "wait", why, waiting=waiting, until=until)


def decide(
    supplier: SupplierFacts, due: Sequence[Row], history: Sequence[Row], now_ms: int, policy: Policy
) -> list[Decision]:
    """Decide all due rows of one supplier together: one decision a row, in the order of priority.

    `history`: the supplier's other rows; those in `COUNTED` statuses count.
    """
    counted = [row for row in history if row.status in COUNTED]
    decisions = []
    for row in sorted(due, key=lambda row: (-row.priority, row.signal_at, row.id)):
        decision = _decide_one(row, supplier, counted, now_ms, policy)
        decisions.append(decision)
        if decision.action == "send":
            counted.append(replace(row, status="sending", claimed_at=now_ms))
    return decisions


def _decide_one(row: Row, facts: SupplierFacts, counted: Sequence[Row], now: int, policy: Policy) -> Decision:
    trigger = policy.trigger(row.trigger)
    if trigger is None:
        why = f"the policy has no trigger {row.trigger!r} any more"
        return Decision(row.id, "suppress", why, reason="paused", inputs=_standing(facts, now))
    case = _Case(row, trigger, facts, counted, now, policy, assign(facts.supplier_id, trigger, policy))
    verdict = next((verdict for check in _CHECKS if (verdict := check(case)) is not None), None)
    verdict = verdict or Decision(row.id, "send", "nothing stands against it")
    verdict = replace(verdict, inputs=_inputs(case))
    return (
        _in_experiments(case, verdict) if verdict.action == "send" or verdict.reason == "holdout" else verdict
    )


def _in_experiments(case: _Case, verdict: Decision) -> Decision:
    """Note on a message that leaves, or would have but for the holdout, what it is compared with."""
    experiment, variant = case.groups.columns()
    groups = case.groups.groups()
    inputs = verdict.inputs | ({"experiments": groups} if groups else {})
    return replace(verdict, inputs=inputs, experiment=experiment, variant=variant)


def _standing(facts: SupplierFacts, now: int) -> dict[str, Any]:
    """What was known of them, for `metadata`: no address and no name, only that there is one."""
    health = facts.health
    barred = {name: True for name in _BARS if getattr(facts, name)}
    return {
        "health_score": health.score if health else None,
        "risk_level": health.level if health else None,
        "seq": health.seq if health else None,
        "has_address": bool(facts.email),
        "timezone": facts.zone,
        "decided_at": now,
        **barred,
    }


def _inputs(case: _Case) -> dict[str, Any]:
    recent = case.within(case.policy.caps.window_ms)
    emails = [_left_at(row) for row in case.counted if row.channel == "email"]
    return _standing(case.facts, case.now) | {
        "sent_in_window": len(recent),
        "positive_in_window": _positive(recent),
        "trigger_in_window": len(_of_trigger(case)),
        "last_email_at": max(emails, default=None),
    }


# 1 what no waiting changes ---------------------------------------------------------------------------


def _barred(case: _Case) -> Decision | None:
    facts = case.facts
    grounds: tuple[tuple[bool, Reason, str], ...] = (
        (facts.erased, "erased", "the supplier was erased"),
        (facts.all_opt_out, "opted_out", "they opted out of all messages"),
        (case.is_email and facts.complained, "complained", "they marked an email of ours as spam"),
        (case.is_email and facts.email_opt_out, "opted_out", "they opted out of emails"),
        (case.is_email and facts.bounced, "bounced", "their address does not take mail"),
        (facts.held, "held", "an agent holds messages to them"),
        (facts.paused, "paused", "messages to them are paused"),
    )
    return next((case.suppress(reason, why) for applies, reason, why in grounds if applies), None)


# 2, 3 time and knowledge -----------------------------------------------------------------------------


def _time_is_up(case: _Case) -> Decision | None:
    waited = case.now - case.row.due_at
    lifetime = case.policy.lifetime
    if case.is_email and not case.facts.email and waited >= lifetime.address_wait_ms:
        return case.suppress("no_address", f"no email address came within {_span(lifetime.address_wait_ms)}")
    if waited >= lifetime.expires_after_ms:
        return case.suppress(
            "expired", f"could not be delivered for {_span(lifetime.expires_after_ms)} after it fell due"
        )
    return None


def _health_is_behind(case: _Case) -> Decision | None:
    health = case.facts.health
    if health is not None and health.seq >= case.row.seq:
        return None
    stored = "none is stored" if health is None else f"stored is {health.seq}"
    why = f"waits for health as new as the signal (seq {case.row.seq}; {stored})"
    return case.wait("health", case.row.due_at + case.policy.lifetime.expires_after_ms, why)


# 4 is it still true? ---------------------------------------------------------------------------------


def _no_longer_true(case: _Case) -> Decision | None:
    health = _known(case)
    if health.cancelled:
        return case.suppress("cancelled_supplier", "the supplier has cancelled")
    if case.row.kind == "rescue" and health.level == "healthy":
        return case.suppress("healthy", f"a rescue message, and they are healthy (score {health.score})")
    if not any(holds(cause, health, case.now, case.policy.rules) for cause in case.trigger.on):
        return case.suppress("resolved", f"{' or '.join(case.trigger.on)} no longer holds")
    return None


def _nothing_to_say(case: _Case) -> Decision | None:
    least, worth_under = case.trigger.least_points, _known(case).worth
    if least is None or worth_under is None or (worth := worth_under(case.policy.rules)) >= least:
        return None
    return case.suppress("nothing_to_say", f"the best advice adds {worth:.1f} points, {least:g} are wanted")


# 5 caps ----------------------------------------------------------------------------------------------


def _superseded(case: _Case) -> Decision | None:
    if not (case.trigger.yields_to_rescue and case.is_email):
        return None
    span = case.policy.spacing.after_rescue_ms
    for row in case.within(span):
        if row.channel == "email" and row.kind == "rescue" and row.trigger != case.row.trigger:
            return case.suppress("superseded", f"{row.trigger} went out less than {_span(span)} ago")
    return None


def _trigger_cap(case: _Case) -> Decision | None:
    limit = case.trigger.most
    if limit is not None and len(_of_trigger(case)) >= limit:
        return case.suppress(
            "trigger_cap",
            f"{limit} of {case.trigger.name} already in the {_span(case.trigger.within_ms)} up to its signal",
        )
    if not case.celebrates(case.row):
        return None
    span = case.policy.spacing.celebrations_ms
    if any(case.celebrates(row) for row in case.within(span)):
        return case.suppress("trigger_cap", f"another celebration went out less than {_span(span)} ago")
    return None


def _weekly_cap(case: _Case) -> Decision | None:
    caps = case.policy.caps
    recent = case.within(caps.window_ms)
    if len(recent) >= caps.total:
        return case.suppress("weekly_cap", f"{len(recent)} messages in {_span(caps.window_ms)}")
    if case.row.kind == "positive" and _positive(recent) >= caps.positive:
        return case.suppress("weekly_cap", f"{caps.positive} positive messages in {_span(caps.window_ms)}")
    return None


# 6 not yet -------------------------------------------------------------------------------------------


def _no_address_yet(case: _Case) -> Decision | None:
    if not case.is_email or case.facts.email:
        return None
    return case.wait(
        "address", case.row.due_at + case.policy.lifetime.address_wait_ms, "no email address yet"
    )


def _too_soon(case: _Case) -> Decision | None:
    if not case.is_email or case.celebrates(case.row):
        return None
    span = case.policy.spacing.emails_ms
    others = [
        _left_at(row) for row in case.within(span) if row.channel == "email" and not case.celebrates(row)
    ]
    if not others:
        return None
    until = _open_from(case, max(others) + span)
    return case.wait("spacing", until, f"another email went out less than {_span(span)} ago")


def _out_of_hours(case: _Case) -> Decision | None:
    if not case.is_email or _leaves_at_once(case):
        return None
    until = _open_from(case, case.now)
    return None if until == case.now else case.wait("hours", until, "emails leave by day in their time zone")


def _leaves_at_once(case: _Case) -> bool:
    hours = case.policy.hours
    young = case.now - case.row.signal_at < hours.celebrate_at_once_ms
    return case.celebrates(case.row) and young and _own_act(case) in hours.own_acts


def _own_act(case: _Case) -> str | None:
    row = case.row
    if row.cause_type == REPORTED and row.milestone:
        return case.policy.rules.event_of_milestone(row.milestone)
    return row.cause_type


# 7 comparison ----------------------------------------------------------------------------------------


def _held_out(case: _Case) -> Decision | None:
    return case.suppress("holdout", "in the group for comparison") if case.groups.held_out else None


_CHECKS: tuple[Callable[[_Case], Decision | None], ...] = (
    _barred,
    _time_is_up,
    _health_is_behind,
    _no_longer_true,
    _nothing_to_say,
    _superseded,
    _trigger_cap,
    _weekly_cap,
    _no_address_yet,
    _too_soon,
    _out_of_hours,
    _held_out,
)


def _known(case: _Case) -> Health:
    if case.facts.health is None:
        raise AssertionError("checked by _health_is_behind")
    return case.facts.health


def _left_at(row: Row) -> int:
    """When a counted row was claimed; one without that note counts from when it fell due."""
    return row.due_at if row.claimed_at is None else row.claimed_at


def _positive(rows: Sequence[Row]) -> int:
    return sum(row.kind == "positive" for row in rows)


def _of_trigger(case: _Case) -> list[Row]:
    """Counted rows of this trigger with signal times in (t - within, t], t being this row's."""
    at, window = case.row.signal_at, case.trigger.within_ms
    return [
        row for row in case.counted if row.trigger == case.row.trigger and at - window < row.signal_at <= at
    ]


def _open_from(case: _Case, at: int) -> int:
    hours = case.policy.hours
    return next_open(at, case.facts.zone, hours.zone, hours.from_minute, hours.until_minute)


def _span(ms: int) -> str:
    """Name a duration for people: `7 days`, `20 h`."""
    hours = ms / 3_600_000
    return f"{hours / 24:g} days" if hours > 72 and hours % 24 == 0 else f"{hours:g} h"  # noqa: PLR2004
