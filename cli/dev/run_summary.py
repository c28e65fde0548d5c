"""What a run came to: counts for machines, a table for people."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scoring.health.signals import CONDITION_MET, MILESTONE_ACHIEVED, RISK_CHANGED
from store.queries import load
from store.times import to_time
from topics.catalog import CONDITIONS, DEAD_LETTERS, MILESTONES, RISK_CHANGES

SQL = load("summary")
FULL_WIDTH = 160

SIGNAL_TOPICS = {RISK_CHANGES: RISK_CHANGED, MILESTONES: MILESTONE_ACHIEVED, CONDITIONS: CONDITION_MET}
COUNTED_TOPICS = (*SIGNAL_TOPICS, DEAD_LETTERS)
LISTED = 60
"""So many messages are listed one by one; a bigger run's are counted below."""


@dataclass(frozen=True)
class Decided:
    """One message, sent or not: its time (when it left, else when it was due), to whom, on what trigger, and why."""

    at: datetime
    name: str
    trigger: str
    channel: str
    template: str
    status: str
    reason: str | None
    why: str | None


@dataclass
class Summary:
    """Counts of one run; `messages` are (template, channel, status, reason) → number, `decided` the first `LISTED`.

    `levels` are by risk level; `counted_as` puts newcomers who aren't healthy under `new`, as all totals for people do.
    """

    events: int
    suppliers: int
    levels: dict[str, int]
    counted_as: dict[str, int]
    signals: dict[str, int]
    dead_letters: int
    messages: dict[tuple[str, str, str, str | None], int] = field(default_factory=dict)
    decided: list[Decided] = field(default_factory=list)

    def counts(self) -> dict[str, Any]:
        """The object that `--json` prints beside `addresses`."""
        interventions: Counter[str] = Counter()
        for (_, _, status, _), number in self.messages.items():
            interventions[status] += number
        return {
            "events": self.events,
            "suppliers": self.suppliers,
            "levels": self.levels,
            "signals": self.signals,
            "interventions": dict(interventions),
            "dead_letters": self.dead_letters,
        }


async def summarise(
    pool: AsyncConnectionPool[AsyncConnection[Any]], events: int, records: dict[str, int], now_ms: int
) -> Summary:
    """Count what is in Postgres as of `now_ms`; `records` says how many each topic (catalogue name) has got."""
    async with pool.connection() as conn:
        suppliers = await (await conn.execute(SQL["suppliers"])).fetchone()
        levels = await (await conn.execute(SQL["levels"])).fetchall()
        counted_as = await (await conn.execute(SQL["counted_as"], {"now": to_time(now_ms)})).fetchall()
        messages = await (await conn.execute(SQL["messages"])).fetchall()
        decided = await (await conn.execute(SQL["decided"], {"most": LISTED})).fetchall()
    return Summary(
        events=events,
        suppliers=suppliers[0] if suppliers else 0,
        levels=dict(levels),
        counted_as=dict(counted_as),
        signals={kind: records[topic] for topic, kind in SIGNAL_TOPICS.items()},
        dead_letters=records[DEAD_LETTERS],
        messages={tuple(row[:4]): row[4] for row in messages},
        decided=[Decided(*row) for row in decided],
    )


def print_summary(summary: Summary, addresses: dict[str, str]) -> None:
    """Print the table, and where to look further."""
    console = Console(width=None if sys.stdout.isatty() else FULL_WIDTH, highlight=False)
    console.print(
        f"{summary.events:,} events of {summary.suppliers:,} suppliers; {summary.dead_letters:,} dead letters"
    )
    console.print("levels   " + _line(summary.counted_as), soft_wrap=True)
    console.print("signals  " + _line(summary.signals) + "\n", soft_wrap=True)
    console.print(_each(summary.decided))
    total = sum(summary.messages.values())
    if total > len(summary.decided):
        console.print(f"… and {total - len(summary.decided):,} more\n")
        console.print(_counted(summary))
    console.print()
    for name, address in addresses.items():
        if address:
            console.print(f"{name:<13} {address}", soft_wrap=True)


def _each(decided: list[Decided]) -> Table:
    """Which message to whom, when and why, or why it was not sent."""
    table = Table(
        "when (UTC)", "to", "message", "for", "came of it", box=None, pad_edge=False, header_style="bold"
    )
    for each in decided:
        outcome = each.status if each.reason is None else f"not sent: {each.reason}"
        if each.why and each.status != "sent":
            outcome += f" ({each.why})"
        table.add_row(
            f"{each.at.astimezone(UTC):%Y-%m-%d %H:%M}",
            escape(each.name),
            f"{each.template} ({each.channel})",
            each.trigger,
            escape(outcome),
        )
    return table


def _counted(summary: Summary) -> Table:
    table = Table("template", "channel", "status", "why not sent", "number", box=None, pad_edge=False)
    table.columns[-1].justify = "right"
    for (template, channel, status, reason), number in summary.messages.items():
        table.add_row(template, channel, status, reason or "", f"{number:,}")
    return table


def _line(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items())) or "none"
