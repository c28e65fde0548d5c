"""Stopping a process of the stack: it ends, whatever it does with the signal."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from embedded import process
from embedded.process import Command, free_port, spawn, stop_process
from embedded.registry import ProcessRecord

DEAF = "signal.signal(signal.SIGQUIT, signal.SIG_IGN)"
"""As a shell starts what runs in the background."""


@pytest.fixture
def began(tmp_path: Path) -> Path:
    """A file that the process writes once it is as it is to be; its name is in its command line."""
    return tmp_path / "began"


def started(began: Path, does: str) -> tuple[ProcessRecord, subprocess.Popen[bytes]]:
    code = (
        f"import signal, sys, time\nsay = lambda what='x': open({str(began)!r}, 'a').write(what)\n"
        f"hear = lambda *_: (say('heard'), sys.exit())\n{does}"
    )
    record, child = spawn(
        Command(arguments=[sys.executable, "-c", code], log=began.with_name("log"), marker=str(began)),
        free_port(),
    )
    while not began.exists():
        assert child.poll() is None or began.exists()
    return record, child


def test_a_signal_that_it_was_deaf_to_when_it_began_is_sent_again(began: Path) -> None:
    record, child = started(
        began, f"{DEAF}; say(); time.sleep(2); signal.signal(signal.SIGQUIT, hear); time.sleep(600)"
    )
    assert stop_process("it", record, with_signal=signal.SIGQUIT)
    assert child.wait(10) is not None
    assert began.read_text("utf-8").endswith("heard")


def test_one_that_stays_deaf_is_killed_although_a_child_of_it_ends_meanwhile(
    began: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as short:
        gone = psutil.Process(short.pid)
    monkeypatch.setattr(process, "STOP_TIMEOUT_S", 2.0)
    monkeypatch.setattr(psutil.Process, "children", lambda *_, **__: [gone])
    record, child = started(began, f"{DEAF}; say(); time.sleep(600)")
    assert stop_process("it", record, with_signal=signal.SIGQUIT)
    assert child.wait(10) is not None
    assert record.find() is None


def test_one_that_has_ended_already_was_not_alive(began: Path) -> None:
    record, child = started(began, "say()")
    child.wait(10)
    assert not stop_process("it", record)
