"""Faust as its documentation begins: an agent, a table in memory with a changelog, one event at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import faust

from bench.peers.folds import FOLDS
from bench.peers.job import Clock, Job, job
from runtime.collector import tune_collector


def build(work: Job, clock: Clock, done: asyncio.Event) -> faust.App:
    """The app; `done` is set when the last event is folded."""
    kind = FOLDS[work.fold]
    app = faust.App(
        work.run,
        broker=f"kafka://{work.kafka}",
        store="memory://",
        version=1,
        autodiscover=False,
        web_enabled=False,
        topic_partitions=work.partitions,
        topic_disable_leader=True,
        table_standby_replicas=0,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=work.interval_s,
        datadir=work.path("data"),
    )
    source = app.topic(work.topic, key_serializer="raw", value_serializer="raw", partitions=work.partitions)
    raw: Any = faust.Schema(key_serializer="raw", value_serializer="raw")
    table = app.Table("fold", schema=raw, key_type=bytes, value_type=bytes, partitions=work.partitions)
    left = work.events

    async def fold(stream: Any) -> None:
        nonlocal left
        async for event in stream.events():
            clock.start()
            packed = table.get(event.key)
            folded = kind() if packed is None else kind.unpack(packed)
            folded.take(event.key, event.value, int(event.message.timestamp * 1000))
            table[event.key] = folded.pack()
            left -= 1
            if not left:
                done.set()

    app.agent(source)(fold)
    return app


async def measure() -> None:
    """Until the last event is folded, its state flushed and its offset committed."""
    work, clock, done = job(), Clock(), asyncio.Event()
    app = build(work, clock, done)
    await app.start()
    await done.wait()
    await asyncio.sleep(0)  # the event is acked once the agent asks for the next
    await app.producer.flush()
    await app.consumer.commit()
    clock.report()
    await app.stop()


def main() -> None:
    """Measure."""
    tune_collector()
    asyncio.run(measure())


if __name__ == "__main__":
    main()
