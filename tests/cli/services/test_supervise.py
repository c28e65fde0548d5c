"""A worker's supervisor: when it starts a child again, how long it waits, what it returns."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from agents.engine.failure import EXIT_REFUSED
from cli.services import supervise
from cli.services.supervise import Supervisor, run_all

DEADLINE_S = 30.0
ROOT = Path(__file__).parents[3]

CHILD = """
import signal, sys, time
path, endings = sys.argv[1], sys.argv[2].split(",")
with open(path, "a+") as runs:
    runs.seek(0)
    ending = endings[min(len(runs.read()), len(endings) - 1)]
    runs.write(".")
if ending == "stays":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if ending == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if ending in ("stays", "deaf"):
    print("up", flush=True)
    time.sleep(60)
if ending == "killed":
    signal.raise_signal(signal.SIGKILL)
sys.exit(int(ending))
"""
"""Ends its nth run as the nth ending says, the last one for all that follow."""

SUPERVISOR = """
import sys
from cli.services.supervise import Supervisor
sys.exit(Supervisor(sys.argv[1:]).run())
"""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dot for each time that the child was started."""
    monkeypatch.setattr(supervise, "FIRST_DELAY_S", 0.01)
    return tmp_path / "runs"


def child(runs: Path, *endings: str) -> list[str]:
    return [sys.executable, "-c", CHILD, str(runs), ",".join(endings)]


def test_a_child_that_ends_well_is_not_started_again(runs: Path) -> None:
    assert Supervisor(child(runs, "0")).run() == 0
    assert runs.read_text() == "."


@pytest.mark.parametrize("code", [1, 2])
def test_what_a_first_child_could_not_start_with_is_returned(runs: Path, code: int) -> None:
    assert Supervisor(child(runs, str(code))).run() == code
    assert runs.read_text() == "."


def test_a_child_that_refuses_to_go_on_is_not_started_again(runs: Path) -> None:
    assert Supervisor(child(runs, "70", str(EXIT_REFUSED))).run() == 1
    assert runs.read_text() == ".."


def test_a_child_that_failed_or_was_killed_is_started_again(
    runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert Supervisor(child(runs, "70", "killed", "1", "0")).run() == 0
    assert runs.read_text() == "...."
    endings = [record.getMessage().partition(";")[0] for record in caplog.records]
    assert endings == [
        "the worker ended with exit code 70",
        "the worker ended with signal SIGKILL",
        "the worker ended with exit code 1",
    ]


class Supervised:
    """A supervisor in a process of its own, whose child says when it is up."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )

    def wait_until_up(self) -> psutil.Process:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "up\n"
        [running] = psutil.Process(self.process.pid).children()
        return running

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def code(self) -> int:
        return self.process.wait(DEADLINE_S)


def until_gone(process: psutil.Process) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while process.is_running():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_wish_to_stop_is_passed_on_and_a_graceful_end_is_0(runs: Path, number: int) -> None:
    supervised = Supervised(child(runs, "stays"))
    running = supervised.wait_until_up()
    supervised.signal(number)
    assert supervised.code() == 0
    until_gone(running)
    assert runs.read_text() == "."


def test_a_second_wish_ends_a_child_that_does_not_listen(runs: Path) -> None:
    supervised = Supervised(child(runs, "deaf"))
    running = supervised.wait_until_up()
    supervised.signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        supervised.process.wait(0.5)
    supervised.signal(signal.SIGTERM)
    assert supervised.code() == 1
    until_gone(running)


def test_a_wish_to_stop_between_two_children_ends_the_wait(runs: Path) -> None:
    supervised = Supervised(child(runs, "70", "stays"))
    deadline = time.monotonic() + DEADLINE_S
    while not (runs.exists() and runs.read_text()) or psutil.Process(supervised.process.pid).children():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    supervised.signal(signal.SIGTERM)
    assert supervised.code() == 0
    assert runs.read_text() == "."


def test_a_wish_to_stop_that_meets_the_end_of_a_child_is_a_wish_to_stop(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child has failed, and nobody has collected it yet, when the signal comes."""

    def collected_late(supervisor: Supervisor) -> int:
        supervisor._child = subprocess.Popen(supervisor._command)
        os.waitid(os.P_PID, supervisor._child.pid, os.WEXITED | os.WNOWAIT)
        signal.raise_signal(signal.SIGTERM)
        return supervisor._child.wait()

    monkeypatch.setattr(Supervisor, "_run_once", collected_late)
    assert Supervisor(child(runs, "70")).run() == 0
    assert runs.read_text() == "."


def test_one_that_it_is_no_use_to_start_again_ends_all(runs: Path) -> None:
    others = [Supervisor(child(runs, "stays")), Supervisor(child(runs, "2"))]
    assert run_all(others) == 2


def test_all_that_end_well_are_a_good_end(runs: Path) -> None:
    assert run_all([Supervisor(child(runs, "0")) for _ in range(2)]) == 0
    assert runs.read_text() == ".."
