"""What a replay finds of a supplier, as rows of tables; needs no extra."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from agents.health.outgoing import TOPIC_OF_SIGNAL
from replay.again.life import Life
from replay.again.outreach import Message
from scoring.health.causes import as_json
from scoring.health.metrics import COMPONENTS
from scoring.health.signals import CONDITION_MET, MILESTONE_ACHIEVED, RISK_CHANGED, Signal
from scoring.health.state import Change
from scoring.identity import change_id
from topics.encoding import SOURCE, encode_event
from topics.time import parse_time

Rows = list[tuple[Any, ...]]
"""Rows of a table; each begins with the supplier and, but for `suppliers`, the time in ms."""
_NAME_IN = {RISK_CHANGED: "level", MILESTONE_ACHIEVED: "milestone", CONDITION_MET: "condition"}


class Sink(Protocol):
    """Takes the rows of one variant and partition."""

    def add(self, name: str, rows: Rows) -> None:
        """Take rows of a table."""
        ...

    def write_full(self) -> None:
        """A batch was read: make room."""
        ...

    def close(self) -> None:
        """All rows have come."""
        ...


class Nowhere:
    """Takes no rows, for those who only count."""

    def add(self, name: str, rows: Rows) -> None:
        """Nobody adds any."""

    def write_full(self) -> None:
        """There is nothing to write."""

    def close(self) -> None:
        """There is nothing to close."""


@dataclass(slots=True)
class Counts:
    """How much came of a log, where nobody reads what."""

    signals: Counter[str] = field(default_factory=Counter)
    """By type."""
    changes: int = 0
    levels: Counter[str] = field(default_factory=Counter)
    """Suppliers by their level in the end."""

    def take(self, life: Life, since: int, until: int) -> None:
        """Count what has come of a supplier in [since, until] (ms); they keep nothing of it."""
        if life.signals:
            self.signals.update(each.type for each in life.signals if since <= each.at <= until)
        if life.changes:
            self.changes += sum(since <= each.at <= until for each in life.changes)
        life.forget()

    def conclude(self, life: Life) -> None:
        """Count a life that has come to its end."""
        if life.final_level is not None:
            self.levels[life.final_level] += 1

    def add(self, other: Counts) -> None:
        """Count what somebody else has counted too."""
        self.signals += other.signals
        self.changes += other.changes
        self.levels += other.levels


def gathered(life: Life) -> Iterator[tuple[int, str, Rows]]:
    """What has come of a supplier since this was last asked for: (number of the policy, table, rows).

    What their score brought about is the same with every policy, and comes once for each. They keep nothing of it.
    """
    signals, changes = life.signals, life.changes
    policies = range(max(1, len(life.outreaches)))
    if signals:
        life.signals = []
        rows = [signal_row(life.id, signal) for signal in signals]
        yield from ((policy, "signals", rows) for policy in policies)
    if changes:
        life.changes = []
        rows = [_change_row(life.id, change) for change in changes]
        yield from ((policy, "changes", rows) for policy in policies)
    for policy, outreach in enumerate(life.outreaches):
        if outreach.messages:
            messages, outreach.messages = outreach.messages, []
            yield policy, "messages", [_message_row(message) for message in messages]


def concluded(life: Life, *, late: bool) -> Iterator[tuple[int, str, Rows]]:
    """The rows of a life that has come to its end, as `gathered` has them."""
    for policy in range(max(1, len(life.outreaches))):
        if life.cancellations:
            yield policy, "cancellations", [(life.id, at, again) for at, again in life.cancellations]
        if life.final is not None:
            yield policy, "suppliers", [_supplier_row(life, life.final, late)]


def signal_row(supplier_id: str, signal: Signal) -> tuple[Any, ...]:
    """A row of `signals`; `value` is the very record that the live worker sends."""
    data = signal.data
    return (
        supplier_id,
        signal.at,
        signal.type,
        data[_NAME_IN[signal.type]],
        signal.id,
        data["seq"],
        data.get("level"),
        data.get("previous"),
        TOPIC_OF_SIGNAL[signal.type],
        encode_event(signal.type, signal.id, SOURCE, supplier_id, signal.at, data),
    )


def _change_row(supplier_id: str, change: Change) -> tuple[Any, ...]:
    causes = orjson.dumps(as_json(change.causes)).decode()
    return (
        supplier_id,
        change.at,
        change.seq,
        change.score,
        change.level,
        change_id(supplier_id, change.seq),
        causes,
    )


def _message_row(message: Message) -> tuple[Any, ...]:
    return (
        message.supplier_id,
        message.at,
        message.id,
        message.trigger,
        message.channel,
        message.template,
        message.kind,
        message.status,
        message.reason,
        message.signal_id,
        message.signal_at,
        message.due_at,
        message.why,
    )


def _supplier_row(life: Life, final: dict[str, Any], late: bool) -> tuple[Any, ...]:
    points: Sequence[float] = [final["breakdown"][name] for name in COMPONENTS]
    return (
        life.id,
        life.first_at or None,
        parse_time(final["calculated_at"]),
        final["seq"],
        final["score"],
        final["sum"],
        final["level"],
        *points,
        _ms(final["signed_up_at"]),
        _ms(final["last_login"]),
        final["plan"],
        final["cancelled"],
        final["churn_probability"],
        late,
        orjson.dumps(final).decode(),
    )


def _ms(text: str | None) -> int | None:
    return None if text is None else parse_time(text)
