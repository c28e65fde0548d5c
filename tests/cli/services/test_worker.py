"""`success worker` where Kafka is away: it waits and says so, or exits if told to; and who restarts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from embedded.process import free_port, is_free

DEADLINE_S = 60.0
NOBODY = "127.0.0.1:1"
AWAY = {
    "SUCCESS_KAFKA": NOBODY,
    "SUCCESS_DATABASE_URL": f"postgresql://nobody@{NOBODY}/nothing",
    "SUCCESS_SECRET_KEY": "a secret of the tests, longer than 32 bytes",
}
COMMAND = [sys.executable, "-c", "from cli.main import main; main()", "worker"]


class Waiting:
    """A worker that waits for Kafka."""

    def __init__(self, *options: str) -> None:
        self._process = subprocess.Popen(
            [*COMMAND, *options], env={**os.environ, **AWAY}, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr is not None
        self.said = next(line for line in self._process.stderr if "waits for" in line)

    @property
    def children(self) -> list[psutil.Process]:
        return psutil.Process(self._process.pid).children()

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=DEADLINE_S)
        return self._process.returncode


def test_a_worker_waits_for_kafka_says_for_what_and_a_wish_to_stop_is_a_good_end() -> None:
    waiting = Waiting()
    assert "the worker waits for Kafka" in waiting.said
    [child] = waiting.children
    assert waiting.stop() == 0
    deadline = time.monotonic() + DEADLINE_S
    while child.is_running():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_with_no_restart_the_process_itself_does_the_work() -> None:
    waiting = Waiting("--no-restart")
    assert waiting.children == []
    assert waiting.stop() == 0


@pytest.mark.parametrize("options", [["--no-wait"], ["--no-wait", "--no-restart"]])
def test_with_no_wait_a_kafka_that_is_away_is_an_error(options: list[str]) -> None:
    ended = subprocess.run(
        [*COMMAND, *options],
        env={**os.environ, **AWAY},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("error: Kafka can't be reached: check SUCCESS_KAFKA")


def test_several_processes_are_several_workers_under_one_supervisor(free_ports: int) -> None:
    waiting = Waiting("--processes", "3")
    children = _children(waiting, 3)
    instances = {child.cmdline()[child.cmdline().index("--instance") + 1] for child in children}
    ports = {child.environ()["SUCCESS_METRICS_PORT"] for child in children}
    assert len(instances) == 3
    assert ports == {str(free_ports + number) for number in range(3)}

    children[1].kill()
    deadline = time.monotonic() + DEADLINE_S
    while children[1].pid in {child.pid for child in _children(waiting, 3)}:
        assert time.monotonic() < deadline

    assert waiting.stop() == 0
    assert not psutil.wait_procs([children[0], children[2]], timeout=DEADLINE_S)[1]


@pytest.mark.parametrize("wrong", ["0", "-1", "many"])
def test_a_number_of_processes_that_is_none_is_wrong_usage(wrong: str) -> None:
    done = subprocess.run([*COMMAND, "--processes", wrong], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "neither a number from 1 nor `auto`" in done.stderr


def test_processes_and_no_restart_exclude_each_other() -> None:
    done = subprocess.run(
        [*COMMAND, "--processes", "2", "--no-restart"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **AWAY},
    )
    assert done.returncode == 2
    assert "leaves processes to the platform" in done.stderr


@pytest.fixture
def free_ports(monkeypatch: pytest.MonkeyPatch) -> int:
    """The first of three ports in a row that nobody has; the environment names it."""
    while True:
        first = free_port()
        if all(is_free(first + number) for number in range(3)):
            monkeypatch.setenv("SUCCESS_METRICS_PORT", str(first))
            return first


def _children(waiting: Waiting, count: int) -> list[psutil.Process]:
    deadline = time.monotonic() + DEADLINE_S
    while len(waiting.children) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return waiting.children
