"""A command that started a stack leaves nothing behind, whoever ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

SECONDS = 60.0


def processes_of(folder: Path) -> list[str]:
    """The command lines of all running processes that name a folder, but the command's own."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(str(folder) in word for word in words) and "run" not in words:
            found.append(" ".join(words))
    return found


def wait_until(what: str, met: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not met():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("number", "background"),
    [
        (signal.SIGTERM, True),
        (signal.SIGHUP, False),
        pytest.param(signal.SIGTERM, False, marks=pytest.mark.long),
        pytest.param(signal.SIGHUP, True, marks=pytest.mark.long),
    ],
)
def test_a_run_that_is_terminated_stops_its_stack(
    tmp_path: Path, number: signal.Signals, background: bool
) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")
    folder = tmp_path / "a-stack"
    # A shell without job control makes what it starts with `&` deaf to Ctrl-C.
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); " if background else ""
    command = [sys.executable, "-c", f"{deaf}from cli.main import main; main()"]
    started = subprocess.Popen(
        [*command, "run", str(tmp_path / "empty.jsonl"), "--data", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until("no stack was started", lambda: processes_of(folder))
    started.send_signal(number)
    _, said = started.communicate(timeout=SECONDS)
    assert (started.returncode, said.splitlines()[-1]) == (130, "interrupted")
    wait_until("the stack is still there", lambda: not processes_of(folder))
