"""A plain loop: aiokafka, a dict, and a changelog topic written in batches before each commit.

As little as can be had in Python on the same client library; no timers, no recovery, no rebalances, nothing sent on.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict

from aiokafka import AIOKafkaConsumer

from agents.engine.failure import end_process
from agents.engine.lease import Lease
from agents.engine.producer import BatchProducer, Outgoing
from bench.peers.folds import FOLDS, Folded
from bench.peers.job import Clock, Job, job
from runtime.collector import tune_collector
from runtime.settings import Settings

POLLED = 5_000
SESSION_MS = 60_000
"""It has no thread for heartbeats."""
FETCHED_BYTES = 4 * 1024 * 1024
"""As the product's worker."""


class Loop:
    """Fold, and now and then make it durable."""

    def __init__(self, work: Job) -> None:
        self._work = work
        self._states = work.known_states()
        self._touched: defaultdict[int, dict[bytes, Folded]] = defaultdict(dict)
        self._producer = BatchProducer(Settings(kafka=work.kafka), Lease(3600, end_process))
        self._consumer: AIOKafkaConsumer = AIOKafkaConsumer(
            bootstrap_servers=work.kafka,
            group_id=work.run,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCHED_BYTES,
            session_timeout_ms=SESSION_MS,
        )

    async def run(self, clock: Clock) -> None:
        """Until all events are durable."""
        await self._producer.start()
        await self._consumer.start()
        self._consumer.subscribe([self._work.topic])
        left, flushed = self._work.events, time.perf_counter()
        while left:
            polled = await self._consumer.getmany(timeout_ms=200, max_records=POLLED)
            for tp, records in polled.items():
                clock.start()
                self._fold(tp.partition, records)
                left -= len(records)
            if not left or time.perf_counter() - flushed >= self._work.interval_s:
                await self._flush()
                flushed = time.perf_counter()
        clock.report()
        await self._consumer.stop()
        await self._producer.stop()

    def _fold(self, partition: int, records: list) -> None:  # type: ignore[type-arg]
        states, touched, new = self._states, self._touched[partition], FOLDS[self._work.fold]
        for record in records:
            key = record.key
            state = states.get(key)
            if state is None:
                state = states[key] = new()
            state.take(key, record.value, record.timestamp)
            touched[key] = state

    def _packed(self, folded: Folded) -> bytes:
        return folded.pack()

    async def _flush(self) -> None:
        pending = []
        for partition, states in self._touched.items():
            records: list[Outgoing] = [(key, self._packed(state), []) for key, state in states.items()]
            pending += await self._producer.queue(f"{self._work.run}-changelog", partition, records)
        await self._producer.acked(pending)
        self._touched.clear()
        await self._consumer.commit()


async def measure() -> None:
    """Run the loop."""
    await Loop(job()).run(Clock())


def main() -> None:
    """Measure."""
    tune_collector()
    asyncio.run(measure())


if __name__ == "__main__":
    main()
