"""Progress of long commands: a line with a rate and an end on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn

from scoring.time import instant_text

REFRESH_S = 0.1


class _ProgressLine:
    """A line of `columns` for `total` things, there while the context lasts. No thread: a replay forks beside it."""

    def __init__(self, total: int, *columns: ProgressColumn) -> None:
        self._total = total
        self._progress = Progress(
            *columns,
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            auto_refresh=False,
            disable=not sys.stderr.isatty(),
        )
        self._task: TaskID | None = None
        self._shown_at = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        self._progress.start()
        self._task = self._progress.add_task("starting", total=self._total)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Clear the line."""
        self._progress.stop()

    def _show(self, done: int, text: str) -> None:
        if self._task is not None:
            due = time.monotonic() - self._shown_at >= REFRESH_S
            self._shown_at = time.monotonic() if due else self._shown_at
            self._progress.update(self._task, completed=done, description=text, refresh=due)


class StepProgress(_ProgressLine):
    """Shows how many of `total` lines are played and what the clock says. A callable context manager."""

    def __init__(self, total: int) -> None:
        super().__init__(
            total,
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} lines"),
        )

    async def __call__(self, played: int, now_ms: int) -> None:
        """Note that `played` lines are done and the clock stands at `now_ms`."""
        self._show(played, instant_text(now_ms)[:16])


class CountProgress(_ProgressLine):
    """Shows how many of `total` `things` are read, and how many a second. A context manager."""

    def __init__(self, total: int, things: str) -> None:
        super().__init__(total, BarColumn(), TextColumn("{task.description}"))
        self._done, self._things = 0, things
        self._began = time.monotonic()

    def add(self, count: int, what: str = "") -> None:
        """So many more are done; `what` is being worked on."""
        self._done += count
        rate = self._done / max(time.monotonic() - self._began, 1e-3)
        self._show(self._done, f"{what} {self._done:,}/{self._total:,} {self._things}, {rate:,.0f}/s".strip())
