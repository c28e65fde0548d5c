"""Processes of services for tests: the real `success worker` and its like, killed and stopped on purpose."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from runtime.settings import Settings

READY_S = 180.0
STOP_S = 40.0
READY = "success.worker: ready"
"""What a worker says."""


class ServiceProcess:
    """A supervised service, such as `success worker`, with its log."""

    def __init__(
        self,
        settings: Settings,
        log: Path,
        *command: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        self._ready_before = 0
        with log.open("ab") as output:
            self.supervisor = psutil.Popen(
                [sys.executable, "-c", "from cli.main import main; main()", *command],
                env={**os.environ, **settings.as_env(), **(environment or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no process behind."""
        for process in [*self._children(), self.supervisor]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.supervisor.wait()

    def _children(self) -> list[psutil.Process]:
        try:
            return list(self.supervisor.children())
        except psutil.NoSuchProcess:
            return []

    async def child(self) -> psutil.Process:
        """The process that does the work."""
        deadline = time.monotonic() + READY_S
        while not (children := self._children()):
            assert time.monotonic() < deadline, self.log()
            assert self.supervisor.poll() is None, self.log()
            await asyncio.sleep(0.02)
        return children[0]

    async def kill_child(self) -> None:
        """Kill -9; the supervisor starts another."""
        child = await self.child()
        child.kill()
        await self.gone(child)

    async def gone(self, child: psutil.Process) -> None:
        """Return when a child has ended; `ready` then waits for the next one."""
        deadline = time.monotonic() + READY_S
        while is_alive(child):
            assert time.monotonic() < deadline, self.log()
            await asyncio.sleep(0.01)
        self._ready_before = self.log().count(READY)

    def kill_for_good(self) -> None:
        """Kill -9 of supervisor and child."""
        children = self._children()
        self.supervisor.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        self.supervisor.wait()

    async def ready(self) -> None:
        """Return when the worker, or the child that followed the last killed one, is ready."""
        deadline = time.monotonic() + READY_S
        while self.log().count(READY) <= self._ready_before:
            assert time.monotonic() < deadline, self.log()
            assert self.supervisor.poll() is None, self.log()
            await asyncio.sleep(0.05)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.supervisor.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.supervisor.wait, STOP_S)

    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text(errors="replace")


class WorkerProcess(ServiceProcess):
    """A supervised `success worker`."""

    def __init__(self, settings: Settings, log: Path, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(settings, log, "worker", environment=environment)


def is_alive(process: psutil.Process) -> bool:
    """Whether a process has not ended; its supervisor may take it away between any two questions."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
