"""The progress of reading a log: how much, how fast, how long still. Nothing where there is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class CountProgress:
    """A bar of so many `total` things; a context manager."""

    def __init__(self, total: int, things: str) -> None:
        self._total, self._done, self._things = total, 0, things
        self._began = time.monotonic()
        self._task: TaskID | None = None
        self._progress = Progress(
            BarColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )

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

    def add(self, count: int, what: str = "") -> None:
        """So many more are done; `what` is being worked on."""
        self._done += count
        rate = self._done / max(time.monotonic() - self._began, 1e-3)
        text = f"{what} {self._done:,}/{self._total:,} {self._things}, {rate:,.0f}/s".strip()
        if self._task is not None:
            self._progress.update(self._task, completed=self._done, description=text)
