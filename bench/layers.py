"""Clocks around the layers of a scoring worker, put there only when asked: each costs a little."""

from __future__ import annotations

import cProfile
import pstats
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from agents.engine.producer import BatchProducer
from agents.health.fold import PartitionFold
from agents.health.outgoing import Flush
from agents.worker import InProcessWorker
from topics.decoding import decode

FOLD = "decode and fold"


class Layers:
    """CPU seconds by layer from `begin` to `end`."""

    def __init__(self) -> None:
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._counted: Counter[str] = Counter()
        self._timed_steps(PartitionFold, "processing", FOLD)
        self._timed_steps(PartitionFold, "taking_flush", "encode snapshots and state")
        self._timed(PartitionFold, "confirm", "encode snapshots and state")
        self._timed_steps(BatchProducer, "_batches", "build batches to send")
        inner, counted = PartitionFold.confirm, self._counted

        def confirm(fold: PartitionFold, flush: Flush) -> None:
            inner(fold, flush)
            counted["state_records"] += len(flush.changelog)
            counted["flushes"] += 1

        setattr(PartitionFold, "confirm", confirm)  # noqa: B010 - the checker would have `self`

    async def begin(self, worker: InProcessWorker) -> tuple[float, float]:
        """CPU time of the consumer's thread and of the main one."""
        return await _in_consumer(worker), time.thread_time()

    async def end(
        self, worker: InProcessWorker, before: tuple[float, float], events: int
    ) -> dict[str, float]:
        """CPU seconds since `begin`, `cpu <layer>` each; flushes and state records."""
        fetch, main = await _in_consumer(worker) - before[0], time.thread_time() - before[1]
        decoding = _decoding_share(events)
        spent = dict(self._spent)
        fold = spent.pop(FOLD, 0.0)
        layers = {
            "fetch and unpack (consumer thread)": fetch,
            "decode": decoding,
            "fold (state, time, signals)": fold - decoding,
            **spent,
            "rest of the main loop": main - fold - sum(spent.values()),
        }
        return {
            "state_records": self._counted["state_records"],
            "records_per_flush": events / max(1, self._counted["flushes"]),
            **{f"cpu {name}": cost for name, cost in layers.items()},
        }

    def _timed(self, owner: type, method: str, layer: str) -> None:
        """Add the main thread's CPU time in a synchronous method to a layer."""
        inner: Callable[..., Any] = getattr(owner, method)
        spent = self._spent

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            began = time.thread_time()
            result = inner(*args, **kwargs)
            spent[layer] += time.thread_time() - began
            return result

        setattr(owner, method, wrapper)

    def _timed_steps(self, owner: type, method: str, layer: str) -> None:
        """The same for a method that is a generator: the time in it, not in its pauses."""
        inner: Callable[..., Generator[Any, None, Any]] = getattr(owner, method)
        spent = self._spent

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


@contextmanager
def profiled(wanted: bool) -> Iterator[None]:
    """Print on standard error where the body's thread spent its time."""
    if not wanted:
        yield
        return
    with cProfile.Profile() as profile:
        yield
    pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(45)


async def _in_consumer(worker: InProcessWorker) -> float:
    """CPU time of the consumer's thread."""

    async def thread_time() -> float:
        return time.thread_time()

    spent: float = await worker.app.consumer._thread.call_thread(thread_time)  # type: ignore[attr-defined]  # noqa: SLF001
    return spent


def _decoding_share(events: int) -> float:
    """What decoding so many events costs, extrapolated from a sample."""
    from bench.logs.events import activity  # noqa: PLC0415 - not while measuring

    sample = list(activity(20_000, 2_000, 1, 1_700_000_000_000, 1_000_000_000))
    for _ in range(2):  # the second time with warm caches, as in a running worker
        began = time.thread_time()
        for key, value in sample:
            decode(key, value, (), 1_800_000_000_000)
        cost = time.thread_time() - began
    return cost / len(sample) * events
