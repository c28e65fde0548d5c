"""Scoring worker processes side by side: 1, 2 and 4 of them on one log, and what they leave."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from agents.cluster.provisioning import create_topics
from bench.logs.events import activity
from bench.logs.log import publish
from bench.process import ProcessFailedError
from bench.product import Product
from runtime.settings import Settings
from scoring.time import DAY
from topics.catalog import ACTIVITY, full_name

GROUP = "success-worker"
POLL_S = 0.1
STOP_S = 60.0
LIMIT_S = 600.0
SEED, DAYS = 7, 7


class ScoringProcess:
    """A `bench.scale.scoring_process`, imported and waiting for `go`."""

    def __init__(self, settings: Settings) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.scale.scoring_process"],
            env={**os.environ, **settings.as_env(), "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._heard()

    def go(self) -> None:
        """Have it join the group."""
        self._told("go\n")

    def ready(self) -> dict[str, float]:
        """Wait until it reads its partitions; what that took."""
        report: dict[str, float] = self._heard()
        return report

    def rescored(self) -> dict[str, float]:
        """Wait until all suppliers are scored by a version that was activated; what that took."""
        report: dict[str, float] = self._heard()
        return report

    def stop(self) -> None:
        """Have it leave; raises if it ended otherwise."""
        self._process.communicate(timeout=STOP_S)
        if self._process.returncode:
            raise ProcessFailedError(f"a scoring process ended with {self._process.returncode}")

    def kill(self) -> None:
        """Leave nothing behind."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _told(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - PIPE above
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def _heard(self) -> Any:
        assert self._process.stdout is not None  # noqa: S101 - PIPE above
        line = self._process.stdout.readline()
        if not line:
            raise ProcessFailedError(f"a scoring process ended with {self._process.wait()}")
        return json.loads(line)


@contextmanager
def scoring(settings: Settings, count: int) -> Iterator[list[ScoringProcess]]:
    """So many of them, waiting for `go`; at the end they are stopped, or killed after an error."""
    processes: list[ScoringProcess] = []
    try:
        processes += [ScoringProcess(settings) for _ in range(count)]
        yield processes
        for process in processes:
            process.stop()
    finally:
        for process in processes:
            process.kill()


def new_settings(kafka: str, partitions: int = 8, **more: Any) -> Settings:
    """Settings with topics of their own."""
    prefix = f"scale{uuid.uuid4().hex[:8]}."
    settings = Settings(kafka=kafka, topic_prefix=prefix, partitions=partitions, **more)
    asyncio.run(create_topics(settings))
    return settings


def measure(kafka: str, events: int, suppliers: int, workers: tuple[int, ...] = (1, 2, 4)) -> dict[str, Any]:
    """Each number of workers over the same log; each must leave the state of a sequential fold."""
    settings = new_settings(kafka)
    start = time.time_ns() // 1_000_000 - (DAYS + 1) * DAY
    log = activity(events, suppliers, SEED, start, DAYS * DAY)
    asyncio.run(publish(settings, full_name(settings.topic_prefix, ACTIVITY), log))
    product = Product(settings)
    product.fold_in_order()
    rows = []
    for count in workers:
        asyncio.run(create_topics(settings))
        rows.append({"workers": count, **run(settings, count, events)})
        product.check()
        product.forget()
    return {"events": events, "suppliers": suppliers, "partitions": settings.partitions, "rows": rows}


def run(settings: Settings, count: int, events: int) -> dict[str, float | None]:
    """What so many workers took for so many events that are in the log already."""
    with scoring(settings, count) as processes, committed(settings) as done:
        began = time.perf_counter()
        for process in processes:
            process.go()
        for process in processes:
            process.ready()
        joined, before = time.perf_counter(), done()
        while done() < events:
            if time.perf_counter() - began > LIMIT_S:
                raise TimeoutError(f"{done():,} of {events:,} events committed after {LIMIT_S:.0f} s")
            time.sleep(POLL_S)
        ended = time.perf_counter()
    return {
        "seconds": round(ended - began, 1),
        "all_joined_after_s": round(joined - began, 1),
        "events_per_second": round(events / (ended - began)),
        "events_per_second_once_joined": round((events - before) / (ended - joined))
        if before < events
        else None,
    }


@contextmanager
def committed(settings: Settings) -> Iterator[Callable[[], int]]:
    """How many events of the log the workers have committed."""
    consumer = Consumer({"bootstrap.servers": settings.kafka, "group.id": f"{settings.topic_prefix}{GROUP}"})
    topic = full_name(settings.topic_prefix, ACTIVITY)
    partitions = [TopicPartition(topic, number) for number in range(settings.partitions)]
    try:
        yield lambda: sum(max(0, found.offset) for found in consumer.committed(partitions, timeout=10))
    finally:
        consumer.close()


def lines(found: dict[str, Any]) -> list[str]:
    """For people, in Markdown."""
    return [
        (
            f"{found['events']:,} events of {found['suppliers']:,} suppliers on {found['partitions']} partitions; each "
            "number of workers left the state of a sequential fold."
        ),
        "",
        "| workers | events/s, joining included | once all had joined | all joined after, s |",
        "|---:|---:|---:|---:|",
        *[
            f"| {row['workers']} | {row['events_per_second']:,} | {_or_dash(row['events_per_second_once_joined'])} "
            f"| {row['all_joined_after_s']} |"
            for row in found["rows"]
        ],
    ]


def _or_dash(number: int | None) -> str:
    """A dash where all was done before all had joined."""
    return "-" if number is None else f"{number:,}"
