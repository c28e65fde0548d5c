"""What rows a signal is worth: pure, so that every rule of a row's birth can be read and tested here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from agents.acts.events import About, intervention_event
from scoring.health.rules_switch import came_of_a_switch
from scoring.health.signals import RISK_CHANGED
from store.outbox import Note
from topics.time import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agents.interventions.received import SignalRecord
    from scoring.decisions.policy import Policy, Trigger
    from store.outbox import Event


def rows_of(
    signals: Sequence[SignalRecord], policy_of: Callable[[int], Policy], now_ms: int
) -> dict[str, dict[str, Any]]:
    """The rows of `success_interventions` that `signals` call for, by id (the query `add` says which columns).

    `policy_of`: the policy of a version; which rows a signal is worth follows from that of its own.
    """
    return {
        row["id"]: row
        for signal in signals
        for policy in [policy_of(version_of(signal))]
        for trigger in policy.triggers_for(signal.type, signal.data)
        for row in [_row(signal, trigger, policy, now_ms)]
    }


def version_of(signal: SignalRecord) -> int:
    """The version of the configuration that brought a signal about."""
    number: int = signal.data.get("config_version", 0)
    return number


def milestone_of(signal: SignalRecord) -> dict[str, Any]:
    """The row of `success_milestones` of a milestone signal."""
    return {
        "id": signal.id,
        "supplier_id": signal.supplier_id,
        "milestone": signal.data["milestone"],
        "at": format_time(signal.at),
        "data": {"signal_id": signal.id} | {key: signal.data[key] for key in ("seq", "cause_type")},
        "celebrated": came_of_a_switch(signal.data),
    }


def events_of(rows: Sequence[dict[str, Any]], now_ms: int) -> Iterator[Event]:
    """What is said about new rows on `success.interventions`."""
    for row in rows:
        about = About(
            intervention_id=row["id"],
            **{name: row[name] for name in About._fields if name != "intervention_id"},
        )
        yield intervention_event(about, about.status, about.status, now_ms)


def notes_of(
    signals: Sequence[SignalRecord], policy_of: Callable[[int], Policy], now_ms: int
) -> Iterator[Note]:
    """A note for each level that changed: not a first one, nor in onboarding, nor long ago, nor by other rules.

    `policy_of` is that of `rows_of`.
    """
    for signal in signals:
        if signal.type != RISK_CHANGED or signal.data["previous"] is None:
            continue
        if _reason_at_birth(signal, policy_of(version_of(signal)), now_ms) is not None:
            continue
        facts = {name: signal.data[name] for name in ("previous", "level", "score")}
        yield Note(signal.id, signal.supplier_id, "risk.changed", signal.at, facts)


def _row(signal: SignalRecord, trigger: Trigger, policy: Policy, now_ms: int) -> dict[str, Any]:
    reason = _reason_at_birth(signal, policy, now_ms)
    metadata: dict[str, Any] = {"signal": {"type": signal.type, **signal.data}}
    if reason:  # decided already, on what the signal says
        metadata |= {"health_score": signal.data.get("score"), "risk_level": signal.data.get("level")}
        metadata["decided_version"] = version_of(signal)
    return {
        "id": str(uuid5(UUID(signal.id), trigger.name)),
        "supplier_id": signal.supplier_id,
        "trigger": trigger.name,
        "channel": trigger.channel,
        "template": trigger.template,
        "kind": trigger.kind,
        "priority": trigger.priority,
        "status": "suppressed" if reason else "scheduled",
        "reason": reason,
        "due_at": format_time(signal.at + trigger.delay_ms),
        "signal_id": signal.id,
        "signal_at": format_time(signal.at),
        "seq": signal.data["seq"],
        "metadata": metadata,
        "created_at": format_time(now_ms),
    }


def _reason_at_birth(signal: SignalRecord, policy: Policy, now_ms: int) -> str | None:
    """Why nothing may follow from a signal at all; None if something may."""
    if came_of_a_switch(signal.data):
        return "rules_changed"
    signed_up_at = signal.data.get("signed_up_at")
    return policy.reason_at_birth(
        signal.type, signal.at, parse_time(signed_up_at) if signed_up_at else None, now_ms
    )
