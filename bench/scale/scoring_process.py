"""A scoring worker for measurements: says `up` when it is imported, joins when told to, says how long that took.

Ends gracefully when its standard input closes. It writes nothing to Postgres.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from agents.engine.failure import end_process
from agents.worker import InProcessWorker
from bench.peers.job import peak_memory_mb
from runtime.clock import SystemClock
from runtime.collector import tune_collector
from runtime.settings import Settings


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
    await asyncio.to_thread(sys.stdin.read)
    await worker.stop()


def say(what: object) -> None:
    """A line of JSON."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    tune_collector()
    say("up")
    sys.stdin.readline()
    asyncio.run(work())
