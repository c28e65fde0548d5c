"""What rows a signal is worth: pure, so that every rule of a row's birth can be read and tested here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from agents.status_events import About, intervention_event
from topics.time import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agents.received import SignalRecord
    from scoring.policy import Policy, Trigger
    from store.outbox import Event


def rows_of(signals: Sequence[SignalRecord], policy: Policy, now_ms: int) -> dict[str, dict[str, Any]]:
    """The rows of `success_interventions` that `signals` call for, by id (the query `add` says which columns)."""
    return {
        row["id"]: row
        for signal in signals
        for trigger in policy.triggers_for(signal.type, signal.data)
        for row in [_row(signal, trigger, policy, now_ms)]
    }


def milestone_of(signal: SignalRecord) -> dict[str, Any]:
    """The row of `success_milestones` of a milestone signal."""
    return {
        "id": signal.id,
        "supplier_id": signal.supplier_id,
        "milestone": signal.data["milestone"],
        "at": format_time(signal.at),
        "data": {"signal_id": signal.id} | {key: signal.data[key] for key in ("seq", "cause_type")},
    }


def events_of(rows: Sequence[dict[str, Any]], now_ms: int) -> Iterator[Event]:
    """What is said about new rows on `success.interventions`."""
    for row in rows:
        about = About(
            intervention_id=row["id"],
            **{name: row[name] for name in About._fields if name != "intervention_id"},
        )
        yield intervention_event(about, about.status, about.status, now_ms)


def _row(signal: SignalRecord, trigger: Trigger, policy: Policy, now_ms: int) -> dict[str, Any]:
    signed_up_at = signal.data.get("signed_up_at")
    reason = policy.reason_at_birth(
        signal.type, signal.at, parse_time(signed_up_at) if signed_up_at else None, now_ms
    )
    metadata: dict[str, Any] = {"signal": {"type": signal.type, **signal.data}}
    if reason:  # decided already, on what the signal says
        metadata |= {"health_score": signal.data.get("score"), "risk_level": signal.data.get("level")}
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
