"""Keeping a child process alive: start it again with back-off, pass on the wish to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from agents.engine.failure import EXIT_FAILED, EXIT_REFUSED
from cli.children import success
from cli.errors import OURS
from runtime.away import BackOff, passing

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
STABLE_AFTER_S = 60.0
"""A child that ran this long starts over with the shortest delay."""

WON_T_HELP = frozenset({1, 2})
"""Exit codes of a first child (wrong settings, no topics, no Kafka) that starting again would not mend."""

PARENT_CHECK_S = 1.0
SIGNALS_HEARD_S = 0.5
CHILD = "--supervised"
"""The option of a command that says it is a supervisor's child."""

logger = logging.getLogger(__name__)


def supervised(name: str, arguments: Sequence[str]) -> int:
    """Run the command `success <name>` as a child that is started again when it fails; returns the exit code."""
    return Supervisor(success(name, CHILD, *arguments), name).run()


def in_child(work: Callable[[], None]) -> int:
    """Do a child's work; a failure that nobody foresaw ends it with an exit code after which it is started again."""
    try:
        work()
    except Exception as error:
        is_ours = type(error).__module__.partition(".")[0] in {*OURS, "click"}
        if is_ours or passing(error) is not None:  # says what to do, and is no use to start again
            raise
        logger.critical("ended unexpectedly", exc_info=error)
        return EXIT_FAILED
    return 0


async def stop_without_parent(parent: int, stop: asyncio.Event) -> None:
    """A child whose supervisor was killed stops too, lest nobody can stop it."""
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells of a parent's end
        await asyncio.sleep(PARENT_CHECK_S)
    stop.set()


class Supervisor:
    """Runs `command` until it ends well, refuses to go on, or is told to stop (SIGTERM, Ctrl-C).

    `name`: what people call it. `environment`: of the child, where it isn't ours.
    """

    def __init__(
        self, command: Sequence[str], name: str = "worker", environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = list(command)
        self._environment = environment
        self._name = name
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._ended_before = False
        """The child had ended by itself when the wish to stop came."""

    def run(self) -> int:
        """Return the exit code: 0 after a graceful end, that of a child that it is no use to start again."""
        with _told_by_signals(self.stop):
            return self.keep_alive()

    def keep_alive(self) -> int:
        """The same, where somebody else is told by signals and calls `stop`."""
        back_off, restarts = BackOff(FIRST_DELAY_S, LONGEST_DELAY_S, jitter=False), 0
        while True:
            started = time.monotonic()
            code = self._run_once()
            if self._stopping.is_set():
                well = self._ended_before or code in {0, -signal.SIGTERM, -signal.SIGINT}
                return 0 if well else 1
            if code == EXIT_REFUSED:
                return 1
            if code == 0 or (restarts == 0 and code in WON_T_HELP):
                return code
            if time.monotonic() - started >= STABLE_AFTER_S:
                back_off.reset()
            delay = back_off.next()
            logger.warning(
                "the %s ended with %s; starting it again in %.0f s", self._name, _ending(code), delay
            )
            if self._stopping.wait(delay):
                return 0
            restarts += 1

    def _run_once(self) -> int:
        self._child = subprocess.Popen(self._command, env=self._environment)  # noqa: S603 - our own command
        if self._stopping.is_set():
            self._child.terminate()
        return self._child.wait()

    def stop(self) -> None:
        """The first time ask the child to finish, the second time end it."""
        child = self._child
        if child is None:
            pass
        elif _has_ended(child):
            self._ended_before = not self._stopping.is_set()
        else:
            child.send_signal(signal.SIGKILL if self._stopping.is_set() else signal.SIGTERM)
        self._stopping.set()


def run_all(supervisors: Sequence[Supervisor]) -> int:
    """Run several at once; one that it is no use to start again ends them all. The exit code: that one's, or 0."""
    codes: queue.SimpleQueue[int] = queue.SimpleQueue()

    def stop() -> None:
        for each in supervisors:
            each.stop()

    def keep(each: Supervisor) -> None:
        codes.put(each.keep_alive())

    threads = [threading.Thread(target=keep, args=(each,), daemon=True) for each in supervisors]
    with _told_by_signals(stop):
        for thread in threads:
            thread.start()
        ended = [_next_of(codes)]
        if ended[0] != 0:
            stop()
        ended += [_next_of(codes) for _ in threads[1:]]
    return next((code for code in ended if code), 0)


def _next_of(codes: queue.SimpleQueue[int]) -> int:
    while True:  # a wait without an end would not hear signals
        with suppress(queue.Empty):
            return codes.get(timeout=SIGNALS_HEARD_S)


@contextmanager
def _told_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Within it SIGTERM and Ctrl-C call `stop`."""

    def told(_number: int, _frame: FrameType | None) -> None:
        stop()

    handlers = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    """Whether a child has ended; `poll` can't tell while somebody waits for it."""
    try:
        return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
