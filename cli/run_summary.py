"""What a run came to: counts for machines, a table for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from rich.console import Console
from rich.table import Table

from scoring.signals import CONDITION_MET, MILESTONE_ACHIEVED, RISK_CHANGED
from store.queries import load
from topics.catalog import CONDITIONS, DEAD_LETTERS, MILESTONES, RISK_CHANGES

SQL = load("summary")

SIGNAL_TOPICS = {RISK_CHANGES: RISK_CHANGED, MILESTONES: MILESTONE_ACHIEVED, CONDITIONS: CONDITION_MET}
COUNTED_TOPICS = (*SIGNAL_TOPICS, DEAD_LETTERS)


@dataclass
class Summary:
    """Counts of one run; `messages` are (template, channel, status, reason) → number."""

    events: int
    suppliers: int
    levels: dict[str, int]
    signals: dict[str, int]
    dead_letters: int
    messages: dict[tuple[str, str, str, str | None], int] = field(default_factory=dict)

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
    pool: AsyncConnectionPool[AsyncConnection[Any]], events: int, records: dict[str, int]
) -> Summary:
    """Count what is in Postgres; `records` says how many each topic (catalogue name) has got."""
    async with pool.connection() as conn:
        suppliers = await (await conn.execute(SQL["suppliers"])).fetchone()
        levels = await (await conn.execute(SQL["levels"])).fetchall()
        messages = await (await conn.execute(SQL["messages"])).fetchall()
    return Summary(
        events=events,
        suppliers=suppliers[0] if suppliers else 0,
        levels=dict(levels),
        signals={kind: records[topic] for topic, kind in SIGNAL_TOPICS.items()},
        dead_letters=records[DEAD_LETTERS],
        messages={tuple(row[:4]): row[4] for row in messages},
    )


def print_summary(summary: Summary, addresses: dict[str, str]) -> None:
    """Print the table, and where to look further."""
    console = Console()
    console.print(
        f"{summary.events:,} events of {summary.suppliers:,} suppliers; {summary.dead_letters:,} dead letters"
    )
    console.print("levels   " + _line(summary.levels), soft_wrap=True)
    console.print("signals  " + _line(summary.signals), soft_wrap=True)
    table = Table("template", "channel", "status", "why not sent", "number", box=None, pad_edge=False)
    table.columns[-1].justify = "right"
    for (template, channel, status, reason), number in summary.messages.items():
        table.add_row(template, channel, status, reason or "", f"{number:,}")
    console.print(table)
    for name, address in addresses.items():
        if address:
            console.print(f"{name:<13} {address}", soft_wrap=True, highlight=False)


def _line(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items())) or "none"
