"""Progress is shown without a thread: a replay that is watched forks like any other."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from cli.progress import CountProgress


class Terminal(io.StringIO):
    """Standard error that people look at."""

    def isatty(self) -> bool:
        return True


def test_progress_is_shown_and_has_no_thread_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    before = threading.active_count()

    with CountProgress(10, "records") as progress:
        progress.add(3)
        assert threading.active_count() == before

    assert "3/10 records" in terminal.getvalue()
