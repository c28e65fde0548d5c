"""What `success demo` shows: the day, levels as bars, one supplier's story, messages, and why others were held back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from api.dashboard.words import LEVELS, REASONS
from replay.simulator.people import Person
from scoring.time import DAY
from store.queries import load
from store.times import to_time

SQL = load("summary")
PLAIN_EVERY_S = 5.0
BAR = 40
STYLES = {"healthy": "green", "new": "blue", "at_risk": "yellow", "critical": "red"}
STORY_LINES = 8
HELD_BACK = 4
Told = Sequence[tuple[int, str]]


class Screen:
    """A live view on a terminal; elsewhere the story's lines as they happen, and totals every few seconds."""

    def __init__(
        self, pool: AsyncConnectionPool[AsyncConnection[Any]], begins: int, days: int, protagonist: Person
    ) -> None:
        self._pool, self._begins, self._days, self._protagonist = pool, begins, days, protagonist
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._last_plain = 0.0
        self._said = 0
        self.events = 0
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

    async def refresh(self, now_ms: int, told: Told, *, is_live: bool) -> None:
        """Show how things stand at `now_ms`; `told`: (ms, words) of what the protagonist did."""
        async with self._pool.connection() as conn:
            levels = dict(await (await conn.execute(SQL["counted_as"], {"now": to_time(now_ms)})).fetchall())
            latest = await (await conn.execute(SQL["latest"])).fetchall()
            held = await (await conn.execute(SQL["held_back"])).fetchall()
            reached = await (
                await conn.execute(SQL["reached"], {"supplier": self._protagonist.id})
            ).fetchall()
        story = self._story(told, reached)
        head = self._head(now_ms, is_live=is_live)
        if self._live is not None:
            parts: list[RenderableType] = [
                Text(head, style="bold"),
                *_bars(levels),
                Text(),
                _listed(self._protagonist, story),
            ]
            parts += [Text(), _messages(latest), Text(), Text(held_back(held), style="dim")]
            self._live.update(Group(*parts), refresh=True)
            return
        for line in story[self._said :]:
            self._console.print(f"  {line}", soft_wrap=True, highlight=False)
        self._said = max(self._said, len(story))
        if time.monotonic() - self._last_plain >= PLAIN_EVERY_S:
            self._last_plain = time.monotonic()
            totals = ", ".join(f"{LEVELS[level].name.lower()} {levels.get(level, 0)}" for level in STYLES)
            self._console.print(f"{head} | {totals} | {held_back(held)}", soft_wrap=True, highlight=False)

    def _head(self, now_ms: int, *, is_live: bool) -> str:
        at = to_time(now_ms)
        day = min(self._days, (now_ms - self._begins) // DAY + 1)
        where = "now, in real time" if is_live else f"day {day} of {self._days}"
        return f"{where}  ·  {at:%A %d %B %H:%M} UTC  ·  {self.events:,} events"

    def _story(self, told: Told, reached: list[tuple[Any, ...]]) -> list[str]:
        """Everything of the protagonist so far, in order of time; once said, a line keeps its place."""
        lines = [(to_time(at), words) for at, words in told]
        for at, what, trigger in reached:
            lines.append((at, f"reaches: {what}" if trigger == "milestone" else f"gets “{what}” ({trigger})"))
        lines.sort(key=lambda line: line[0])
        return [f"day {self._day_of(at):>2}  {self._protagonist.first_name} {words}" for at, words in lines]

    def _day_of(self, at: datetime) -> int:
        return (int(at.timestamp() * 1000) - self._begins) // DAY + 1


def held_back(held: list[tuple[Any, ...]]) -> str:
    """Why messages were not sent, in one line."""
    if not held:
        return "nothing was held back yet"
    most = ", ".join(f"{number} because {REASONS.get(reason, reason)}" for reason, number in held[:HELD_BACK])
    return f"not sent: {most}" + (", …" if len(held) > HELD_BACK else "")


def _bars(levels: dict[str, int]) -> list[Text]:
    total = max(1, sum(levels.values()))
    bars = []
    for level, style in STYLES.items():
        number = levels.get(level, 0)
        line = Text(f"{LEVELS[level].shape} {LEVELS[level].name:<9}{number:>5} ")
        line.append("█" * round(BAR * number / total), style=style)
        bars.append(line)
    return bars


def _listed(protagonist: Person, story: list[str]) -> Group:
    title = Text(f"{protagonist.first_name}, {protagonist.business_name}", style="bold")
    return Group(title, *(Text(line) for line in story[-STORY_LINES:]))


def _messages(latest: list[tuple[Any, ...]]) -> Table:
    table = Table("when", "to", "message", "because of", box=None, pad_edge=False, header_style="bold")
    for at, name, business, template, channel, trigger in latest:
        to = f"{name} ({business})" if business else name
        table.add_row(f"{at:%d %b %H:%M}", to, f"{template} ({channel})", trigger)
    return table
