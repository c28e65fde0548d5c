"""Keeping a child process alive: start it again with back-off, pass on the wish to stop."""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from types import FrameType

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
STABLE_AFTER_S = 60.0
"""A child that ran this long starts over with the shortest delay."""

WON_T_HELP = frozenset({1, 2})
"""Exit codes of a first child (wrong settings, no topics, no Kafka) that starting again would not mend."""

logger = logging.getLogger(__name__)


class BackOff:
    """How long to wait before a child is started again: twice as long each time, until one was stable."""

    def __init__(self) -> None:
        self._next = FIRST_DELAY_S

    def delay(self, ran_s: float) -> float:
        """Seconds to wait after a child that ran for `ran_s`."""
        delay = FIRST_DELAY_S if ran_s >= STABLE_AFTER_S else self._next
        self._next = min(2 * delay, LONGEST_DELAY_S)
        return delay


class Supervisor:
    """Runs `command` until it ends well or is told to stop (SIGTERM, Ctrl-C)."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    def run(self) -> int:
        """Return the exit code: 0 after a graceful end, that of a child that it is no use to start again."""
        handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            return self._keep_alive()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _keep_alive(self) -> int:
        back_off, restarts = BackOff(), 0
        while True:
            started = time.monotonic()
            code = self._run_once()
            if self._stopping.is_set():
                return 0 if code in {0, -signal.SIGTERM, -signal.SIGINT} else 1
            if code == 0 or (restarts == 0 and code in WON_T_HELP):
                return code
            delay = back_off.delay(time.monotonic() - started)
            logger.warning("the worker ended with %s; starting it again in %.0f s", _ending(code), delay)
            if self._stopping.wait(delay):
                return 0
            restarts += 1

    def _run_once(self) -> int:
        self._child = subprocess.Popen(self._command)  # noqa: S603 - our own command
        if self._stopping.is_set():
            self._child.terminate()
        return self._child.wait()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        """The first time ask the child to finish, the second time end it."""
        child = self._child
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGKILL if self._stopping.is_set() else signal.SIGTERM)
        self._stopping.set()


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
