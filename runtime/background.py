"""Background tasks that a service lives by: none of them ends unseen."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from runtime.away import BackOff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

STABLE_AFTER_S = 60.0
"""A task that ran this long starts over with the shortest delay."""


class Background:
    """Keeps tasks going: one that ends by an error is started again with back-off, and `down` says so meanwhile.

    With `ended`, nothing is started again: it is told the task's name and error, and has to end the service.
    A task that waits for Kafka or Postgres waits by itself (`runtime.away.Wait`); what arrives here is unexpected.
    """

    def __init__(self, ended: Callable[[str, Exception], None] | None = None) -> None:
        self.down: dict[str, str] = {}
        """Tasks that do not run at this moment, and why: a service with one is not ready."""
        self._ended = ended
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run `work` in the background; the task ends when it returns, or by `aclose`."""
        task = asyncio.create_task(self._keep(name, work), name=name)
        self._tasks.append(task)
        return task

    async def aclose(self) -> None:
        """End all tasks and wait until they have."""
        tasks, self._tasks = self._tasks, []
        while running := [task for task in tasks if not task.done()]:
            # Again if need be: Python 3.11's `wait_for` forgets a cancellation that meets the event it waits for.
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=1)

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        back_off = BackOff(1.0, 30.0)
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await work()
            except Exception as error:  # whatever it is, somebody must see it
                self.down[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
                if self._ended is not None:
                    logger.exception("%s ended unexpectedly", name)
                    self._ended(name, error)
                    return
                if asyncio.get_running_loop().time() - started >= STABLE_AFTER_S:
                    back_off.reset()
                pause = back_off.next()
                logger.exception("%s ended unexpectedly; starting it again in %.0f s", name, pause)
                await asyncio.sleep(pause)
                del self.down[name]
            else:
                return
