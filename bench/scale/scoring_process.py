"""A scoring worker for measurements: says `up` when it is imported, joins when told to, says how long that took.

Should a version be activated, it says how long it took until all suppliers were scored by it. Ends gracefully when its
standard input closes. It writes nothing to Postgres.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from agents.engine.failure import end_process
from agents.health.handler import ScoringHandler
from agents.worker import InProcessWorker
from bench.peers.job import peak_memory_mb
from runtime.clock import SystemClock
from runtime.collector import tune_collector
from runtime.settings import Settings

LOOK_S = 0.05


async def work() -> None:
    """Join, recover, score until the end of standard input."""
    began, cpu = time.perf_counter(), time.process_time()
    worker = InProcessWorker(Settings(), SystemClock(), grace_ms=60_000, fail_stop=end_process)
    await worker.start()
    await worker.started()
    say(
        {
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - cpu,
            "memory_mb": peak_memory_mb(),
        }
    )
    rescoring = asyncio.create_task(say_when_rescored(worker))
    await asyncio.to_thread(sys.stdin.read)
    rescoring.cancel()
    await worker.stop()


async def say_when_rescored(worker: InProcessWorker) -> None:
    """Say how long it took from when a version was heard of until no supplier is behind it."""
    while worker.follower is None or worker.follower.log.newest() is None:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(LOOK_S)
    began, cpu = time.perf_counter(), time.process_time()
    while not all(  # noqa: ASYNC110 - nobody tells of it
        lane.handler.fold.version and not lane.handler.fold.is_behind
        for lane in worker.app.engine.lanes.values()
        if isinstance(lane.handler, ScoringHandler)
    ):
        await asyncio.sleep(LOOK_S)
    say(
        {
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - cpu,
            "memory_mb": peak_memory_mb(),
        }
    )


def say(what: object) -> None:
    """A line of JSON."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    tune_collector()
    say("up")
    sys.stdin.readline()
    asyncio.run(work())
