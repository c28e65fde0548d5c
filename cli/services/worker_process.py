"""The process that does a worker's work, as the child of a supervisor or by itself."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from agents.cluster.identity import TopicsNotReadyError
from agents.engine.failure import EXIT_REFUSED, RefusedError, end_process
from agents.health.fold import GRACE_MS
from agents.monitoring import Kafka, look_at_worker, postgres, worker_parts
from agents.worker import InProcessWorker
from cli.errors import CommandError
from cli.services.supervise import stop_without_parent
from runtime import metrics
from runtime.clock import SystemClock
from runtime.collector import tune_collector
from runtime.inside import monitored
from runtime.settings import Settings
from runtime.tracing import traced
from scoring.decisions.policy import Policy
from store.database import Role

STOP_WITHIN_S = 15.0
"""How long a graceful stop may take; the group's session is shorter, so that nobody waits longer for the partitions."""

logger = logging.getLogger("success.worker")


async def serve(
    settings: Settings,
    policy: Policy | None,
    instance: str,
    *,
    supervised: bool = True,
    waits: bool = True,
    made: Callable[[InProcessWorker], None] | None = None,
) -> int:
    """Run until told to stop; ends the process at once if anything goes wrong.

    `supervised`: by a parent process, whose end is a wish to stop. `waits`: for what is away at the start. For
    measurements, which look at the worker that was `made`: without a `policy` it scores and writes no interventions.
    """
    tune_collector()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as closing:
        closing.enter_context(traced("worker"))
        in_process = _worker(settings, policy, instance, supervised=supervised, waits=waits)
        if made is not None:
            made(in_process)
        await closing.enter_async_context(watched(settings, in_process))
        return await _serve(in_process, stop, supervised=supervised)


def _worker(
    settings: Settings, policy: Policy | None, instance: str, *, supervised: bool, waits: bool
) -> InProcessWorker:
    return InProcessWorker(
        settings,
        SystemClock(),
        grace_ms=GRACE_MS,
        policy=policy,
        instance_id=instance,
        fail_stop=end_process if supervised else partial(end_process, code=CommandError.exit_code),
        waits=waits,
    )


async def _serve(in_process: InProcessWorker, stop: asyncio.Event, *, supervised: bool) -> int:
    watch = asyncio.create_task(stop_without_parent(os.getppid(), stop)) if supervised else None
    starting = asyncio.create_task(in_process.start())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        try:
            starting.result()
        except TopicsNotReadyError as error:
            raise CommandError(str(error)) from error
        except RefusedError as error:
            logger.critical("worker stops: %s", error)
            return EXIT_REFUSED if supervised else CommandError.exit_code
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
    if watch is not None:
        watch.cancel()
    return 0


@asynccontextmanager
async def watched(settings: Settings, worker: InProcessWorker) -> AsyncIterator[None]:
    """Answer monitoring on a worker's behalf, from before it connects."""
    kafka = Kafka(settings)

    async def look() -> None:
        look_at_worker(worker)

    parts = {"kafka": kafka, **postgres(settings, Role.WRITER), **worker_parts(worker)}
    try:
        async with monitored(settings, metrics.WORKER, parts, look):
            yield
    finally:
        await kafka.aclose()
