"""The process that does a worker's work, as the child of a supervisor or by itself."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

from agents.failure import end_process
from agents.fold import GRACE_MS
from agents.inprocess import InProcessWorker, TopicsNotReadyError
from cli.errors import CommandError
from runtime.clock import SystemClock
from runtime.settings import Settings
from scoring.policy import Policy

STOP_WITHIN_S = 15.0
"""How long a graceful stop may take; the group's session is shorter, so that nobody waits longer for the partitions."""
PARENT_CHECK_S = 1.0

logger = logging.getLogger("success.worker")


async def serve(settings: Settings, policy: Policy, instance: str) -> int:
    """Run until told to stop; ends the process at once if anything goes wrong."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    in_process = InProcessWorker(
        settings,
        SystemClock(),
        grace_ms=GRACE_MS,
        policy=policy,
        instance_id=instance,
        snapshots=True,
        fail_stop=end_process,
    )
    watch = asyncio.create_task(stop_without_parent(os.getppid(), stop))
    starting = asyncio.create_task(in_process.start())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        try:
            starting.result()
        except TopicsNotReadyError as error:
            raise CommandError(str(error)) from error
        logger.info("ready")
        await stopped
    logger.info("stopping")
    starting.cancel()
    stopping = asyncio.create_task(in_process.stop())
    if not (await asyncio.wait({stopping}, timeout=STOP_WITHIN_S))[0]:
        # A stop in the middle of a rebalance can wait for ever (docs/engine.md). What was not flushed is read
        # again by the next owner, as after a crash, so that ending here loses and repeats nothing.
        logger.warning("not stopped after %.0f s: ending without leaving the group", STOP_WITHIN_S)
        os._exit(0)
    stopping.result()
    watch.cancel()
    return 0


async def stop_without_parent(parent: int, stop: asyncio.Event) -> None:
    """A worker whose supervisor was killed stops too, lest nobody can stop it."""
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells of a parent's end
        await asyncio.sleep(PARENT_CHECK_S)
    stop.set()
