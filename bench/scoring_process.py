"""What `success worker` runs in its process, without the intervention agent, looked at from inside.

It says `up` when all is imported, joins when a line comes, says how long that took, and ends gracefully when its
standard input closes. With a number of events it says what they took until they were durable; without one it says,
should a version be activated, how long it took until all suppliers were scored by it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable

import click

from agents.health.handler import ScoringHandler
from agents.worker import InProcessWorker
from bench.layers import Layers, profiled
from bench.peers.job import peak_memory_mb
from cli.services.worker import new_instance_id
from cli.services.worker_process import serve
from runtime.logs import to_standard_error
from runtime.settings import Settings

LOOK_S = 0.05


@click.command()
@click.option(
    "--events", type=int, help="In the log; those before the first that the state does not hold count."
)
@click.option("--layers", is_flag=True, help="Put clocks around the layers of the worker.")
@click.option("--profile", is_flag=True, help="Say on standard error where the main thread spends its time.")
def main(events: int | None, layers: bool, profile: bool) -> None:
    """Join, recover, score until the end of standard input."""
    settings = Settings()
    to_standard_error("worker", settings)
    clocks = Layers() if layers else None
    say("up")
    sys.stdin.readline()
    with profiled(profile):
        asyncio.run(work(settings, events, clocks))


async def work(settings: Settings, events: int | None, layers: Layers | None) -> None:
    """What `success worker` does, and reports beside it."""
    began = Stopwatch()
    looking: list[asyncio.Task[None]] = []

    async def look(worker: InProcessWorker) -> None:
        await worker.app.engine.open.wait()
        say(began.report())
        await (rescored(worker) if events is None else scored(worker, events, layers))

    def made(worker: InProcessWorker) -> None:
        looking.append(asyncio.create_task(look(worker)))

    serving = asyncio.create_task(
        serve(settings, None, new_instance_id(), supervised=False, waits=False, made=made)
    )
    told = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
    os.kill(os.getpid(), signal.SIGTERM)
    await serving
    for each in looking:
        each.cancel()


async def scored(worker: InProcessWorker, events: int, layers: Layers | None) -> None:
    """Say what it took until so many events were durable."""
    engine, clock = worker.app.engine, Stopwatch()
    before = layers and await layers.begin(worker)
    while sum(offset + 1 for offset in engine.progress.values()) < events:
        async with engine._changed:  # noqa: SLF001 - a benchmark looks inside
            await engine._changed.wait()  # noqa: SLF001
    took = clock.report()
    if layers and before:
        took |= await layers.end(worker, before, events) | {"cpu total": took["cpu_seconds"]}
    say(took)


async def rescored(worker: InProcessWorker) -> None:
    """Say how long it took from when a version was heard of until no supplier is behind it."""
    await until(lambda: worker.follower is not None and worker.follower.log.newest() is not None)
    clock = Stopwatch()
    await until(
        lambda: all(
            lane.handler.fold.version and not lane.handler.fold.is_behind
            for lane in worker.app.engine.lanes.values()
            if isinstance(lane.handler, ScoringHandler)
        )
    )
    say(clock.report())


async def until(true: Callable[[], bool]) -> None:
    """Look now and then: nobody tells of it."""
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(LOOK_S)


class Stopwatch:
    """Wall and CPU time since it was made."""

    def __init__(self) -> None:
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def report(self) -> dict[str, float]:
        """What has passed."""
        return {
            "seconds": time.perf_counter() - self._began,
            "cpu_seconds": time.process_time() - self._cpu,
            "memory_mb": peak_memory_mb(),
        }


def say(what: object) -> None:
    """A line of JSON."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
