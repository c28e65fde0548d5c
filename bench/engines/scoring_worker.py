"""The process that `bench.engines.worker` measures: a worker that scores, with clocks around its layers."""

from __future__ import annotations

import asyncio
import cProfile
import json
import pstats
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator
from typing import Any

from agents.engine.failure import end_process
from agents.engine.producer import BatchProducer
from agents.health.fold import PartitionFold
from agents.health.outgoing import Flush
from agents.worker import InProcessWorker
from bench.peers.job import peak_memory_mb
from runtime.clock import SystemClock
from runtime.collector import tune_collector
from runtime.settings import Settings
from topics.decoding import decode

spent: defaultdict[str, float] = defaultdict(float)
counted: Counter[str] = Counter()


def timed(owner: type, method: str, layer: str) -> None:
    """Add the main thread's CPU time in a synchronous method to a layer."""
    inner: Callable[..., Any] = getattr(owner, method)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        began = time.thread_time()
        result = inner(*args, **kwargs)
        spent[layer] += time.thread_time() - began
        return result

    setattr(owner, method, wrapper)


def timed_steps(owner: type, method: str, layer: str) -> None:
    """The same for a method that is a generator: the time in it, not in its pauses."""
    inner: Callable[..., Generator[Any, None, Any]] = getattr(owner, method)

    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, None, Any]:
        steps = inner(*args, **kwargs)
        while True:
            began = time.thread_time()
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            finally:
                spent[layer] += time.thread_time() - began
            yield step

    setattr(owner, method, wrapper)


def watch_layers() -> None:
    """Put clocks around the layers."""
    timed_steps(PartitionFold, "processing", "decode and fold")
    timed_steps(PartitionFold, "taking_flush", "encode snapshots and state")
    timed(PartitionFold, "confirm", "encode snapshots and state")
    timed_steps(BatchProducer, "_batches", "build batches to send")
    inner = PartitionFold.confirm

    def confirm(self: PartitionFold, flush: Flush) -> None:
        inner(self, flush)
        counted["state_records"] += len(flush.changelog)
        counted["flushes"] += 1

    PartitionFold.confirm = confirm  # type: ignore[method-assign]


async def measure(events: int) -> dict[str, float]:
    """Score until so many events are durable."""
    tune_collector()
    worker = InProcessWorker(Settings(), SystemClock(), grace_ms=60_000, fail_stop=end_process)
    await worker.start()
    await worker.started()
    began, cpu = time.monotonic(), time.process_time()
    consumer = worker.app.consumer
    thread_began = await consumer._thread.call_thread(thread_time)  # type: ignore[attr-defined]  # noqa: SLF001
    main_began = time.thread_time()
    engine = worker.app.engine
    while sum(offset + 1 for offset in engine.progress.values()) < events:
        async with engine._changed:  # noqa: SLF001 - a benchmark looks inside
            await engine._changed.wait()  # noqa: SLF001
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    main = time.thread_time() - main_began
    fetch = await consumer._thread.call_thread(thread_time) - thread_began  # type: ignore[attr-defined]  # noqa: SLF001
    await worker.stop()
    decoding = decoding_share(worker, events)
    fold = spent.pop("decode and fold")
    layers = {
        "fetch and unpack (consumer thread)": fetch,
        "decode": decoding,
        "fold (state, time, signals)": fold - decoding,
        **spent,
        "rest of the main loop": main - fold - sum(spent.values()),
        "total": cpu,
    }
    return {
        "seconds": seconds,
        "memory_mb": peak_memory_mb(),
        "state_records": counted["state_records"],
        "records_per_flush": events / max(1, counted["flushes"]),
        **{f"cpu {name}": cost for name, cost in layers.items()},
    }


async def thread_time() -> float:
    """CPU time of the thread this runs in."""
    return time.thread_time()


def decoding_share(worker: InProcessWorker, events: int) -> float:
    """What decoding so many events costs, extrapolated from a sample."""
    del worker
    from bench.logs.events import activity  # noqa: PLC0415 - not while measuring

    sample = list(activity(20_000, 2_000, 1, 1_700_000_000_000, 1_000_000_000))
    for _ in range(2):  # the second time with warm caches, as in a running worker
        began = time.thread_time()
        for key, value in sample:
            decode(key, value, (), 1_800_000_000_000)
        cost = time.thread_time() - began
    return cost / len(sample) * events


def main() -> None:
    """Measure and print the report as JSON."""
    watch_layers()
    events = int(sys.argv[1])
    profile = cProfile.Profile() if "--profile" in sys.argv else None
    if profile:
        profile.enable()
    report = asyncio.run(measure(events))
    if profile:
        profile.disable()
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(45)
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main()
