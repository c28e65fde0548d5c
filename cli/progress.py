"""Progress of long commands: a line with a rate and an end on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from scoring.time import instant_text


class StepProgress:
    """Shows how many of `total` lines are played and what the clock says. A callable context manager."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} lines"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task: TaskID | None = None

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

    async def __call__(self, played: int, now_ms: int) -> None:
        """Note that `played` lines are done and the clock stands at `now_ms`."""
        if self._task is not None:
            self._progress.update(self._task, completed=played, description=instant_text(now_ms)[:16])
