"""What `success demo` shows: events, levels, signals, and messages with their reasons."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import Any, Self

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.run_summary import COUNTED_TOPICS, SIGNAL_TOPICS
from cli.topic_ends import topic_ends
from runtime.settings import Settings
from store.queries import load
from topics.catalog import DEAD_LETTERS

SQL = load("summary")
RATE_WINDOW_S = 10.0
PLAIN_EVERY_S = 5.0
LEVEL_STYLES = {"healthy": "● green", "at_risk": "▲ yellow", "critical": "■ red"}


class Screen:
    """A live table on a terminal, a line every few seconds elsewhere. A context manager."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[Any]], settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._rates: deque[tuple[float, int]] = deque()
        self._last_plain = 0.0
        self.published = 0
        """Events published so far."""

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()

    async def refresh(self) -> None:
        """Read Postgres and the topics' ends, and show them."""
        async with self._pool.connection() as conn:
            levels = dict(await (await conn.execute(SQL["levels"])).fetchall())
            messages = await (await conn.execute(SQL["messages"])).fetchall()
            latest = await (await conn.execute(SQL["latest"])).fetchall()
        records = await topic_ends(self._settings, COUNTED_TOPICS)
        if self._live is not None:
            self._live.update(self._tables(levels, records, messages, latest), refresh=True)
        elif time.monotonic() - self._last_plain >= PLAIN_EVERY_S:
            self._last_plain = time.monotonic()
            self._console.print(self._plain(levels, records, messages), soft_wrap=True, highlight=False)

    def _rate(self) -> float:
        now = time.monotonic()
        self._rates.append((now, self.published))
        while now - self._rates[0][0] > RATE_WINDOW_S:
            self._rates.popleft()
        since, before = self._rates[0]
        return (self.published - before) / (now - since) if now > since else 0.0

    def _tables(
        self,
        levels: dict[str, int],
        records: dict[str, int],
        messages: list[tuple[Any, ...]],
        latest: list[tuple[Any, ...]],
    ) -> Group:
        head = Text(f"{self.published:,} events published, {self._rate():,.1f}/s now   ")
        for level, style in LEVEL_STYLES.items():
            mark, colour = style.split()
            head.append(f"{mark} {level} {levels.get(level, 0):,}   ", style=colour)
        signals = Text("signals: " + ", ".join(f"{kind} {records[t]:,}" for t, kind in SIGNAL_TOPICS.items()))
        signals.append(f"; dead letters {records[DEAD_LETTERS]:,}")
        counts = Table(
            "message", "channel", "status", "why not sent", "number", title="messages", title_justify="left"
        )
        counts.columns[-1].justify = "right"
        for template, channel, status, reason, number in messages:
            counts.add_row(template, channel, status, reason or "", f"{number:,}")
        recent = Table("at", "message", "status", "why", title="latest", title_justify="left")
        for at, template, status, reason in latest:
            recent.add_row(f"{at:%H:%M:%S}", template, status, reason or "")
        return Group(head, signals, counts, recent, Text("Ctrl-C ends the demo", style="dim"))

    def _plain(self, levels: dict[str, int], records: dict[str, int], messages: list[tuple[Any, ...]]) -> str:
        by_status: dict[str, int] = {}
        for _, _, status, reason, number in messages:
            name = f"{status} ({reason})" if reason else status
            by_status[name] = by_status.get(name, 0) + number
        parts = [
            f"{self.published} events ({self._rate():.1f}/s)",
            "levels " + ", ".join(f"{name} {number}" for name, number in sorted(levels.items())),
            "signals " + ", ".join(f"{kind} {records[topic]}" for topic, kind in SIGNAL_TOPICS.items()),
            "messages " + ", ".join(f"{name} {number}" for name, number in sorted(by_status.items())),
            f"dead letters {records[DEAD_LETTERS]}",
        ]
        return " | ".join(parts)
