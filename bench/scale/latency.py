"""From publishing an event to the signal it brings about, at a steady rate."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import orjson
from confluent_kafka import Consumer, Producer

from bench.logs.events import activity
from bench.scale.workers import new_settings, scoring
from runtime.settings import Settings
from scoring.time import DAY
from topics.catalog import ACTIVITY, RISK_CHANGES, full_name
from topics.partitioner import partition_of

SEED = 17
SUPPLIERS = 20_000
WARM_UP_S = 5.0
LAST_ONES_S = 5.0
JOIN_S = 30.0
GROUPS_PER_SECOND = 500
"""Events go out in groups, each when its last one is due: no event before its time."""


def measure(kafka: str, per_second: int, seconds: float) -> dict[str, Any]:
    """Publish at this rate for so long; percentiles in ms from when each event was due to go out."""
    settings = new_settings(kafka)
    over = threading.Event()
    listening = threading.Event()
    with ThreadPoolExecutor(1) as pool, scoring(settings, 1) as [process]:
        process.go()
        process.ready()
        listener = pool.submit(_listen, settings, listening, over)
        if not listening.wait(JOIN_S):
            over.set()
            raise TimeoutError("the listener did not get its partitions")
        began_ns = time.time_ns()
        published = _publish(settings, per_second, WARM_UP_S + seconds)
        time.sleep(LAST_ONES_S)
        over.set()
        found = listener.result()
    counted_from = began_ns + int(WARM_UP_S * 1e9)
    waits = sorted(wait for sent_ns, wait in found if sent_ns >= counted_from)
    if not waits:
        raise RuntimeError("no signal came")
    return {
        "asked_per_second": per_second,
        "published_per_second": round(published),
        "signals": len(waits),
        **{f"p{part}_ms": round(waits[int((len(waits) - 1) * part / 100)], 1) for part in (50, 90, 99)},
        "most_ms": round(waits[-1], 1),
    }


def _publish(settings: Settings, per_second: int, seconds: float) -> float:
    """Send events, each with the time it was due (ns) in its id; how many a second it came to."""
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka,
            "linger.ms": 2,
            "queue.buffering.max.messages": 1_000_000,
            "log_level": 4,
        }
    )
    topic = full_name(settings.topic_prefix, ACTIVITY)
    total = int(per_second * seconds)
    start = time.time_ns() // 1_000_000 - 8 * DAY
    log = activity(total, SUPPLIERS, SEED, start, 7 * DAY)
    at_once = max(1, per_second // GROUPS_PER_SECOND)
    began, began_ns = time.perf_counter(), time.time_ns()
    for number, (key, value) in zip(count(), log, strict=False):
        if number % at_once == 0:
            producer.poll(0)
            ahead = began + (number + at_once - 1) / per_second - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)
        due_ns = began_ns + int(number / per_second * 1e9)
        stamped = value.replace(b'"id":"%d-%d"' % (SEED, number), b'"id":"%d-%d"' % (number, due_ns), 1)
        producer.produce(topic, stamped, key=key, partition=partition_of(key, settings.partitions))
    producer.flush(30)
    return total / (time.perf_counter() - began)


def _listen(settings: Settings, listening: threading.Event, over: threading.Event) -> list[tuple[int, float]]:
    """Until `over`: when the event behind each risk change was due (ns), and how many ms later its signal was here."""
    found: list[tuple[int, float]] = []
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka,
            "group.id": f"{settings.topic_prefix}latency",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 5,
            "log_level": 4,
        }
    )
    consumer.subscribe([full_name(settings.topic_prefix, RISK_CHANGES)], on_assign=lambda *_: listening.set())
    try:
        while not over.is_set():
            message = consumer.poll(0.05)
            if message is None or message.error() is not None:
                continue
            here_ns = time.time_ns()
            sent_ns = _newest_cause_ns(orjson.loads(message.value()))
            if sent_ns is not None:
                found.append((sent_ns, (here_ns - sent_ns) / 1e6))
    finally:
        consumer.close()
    return found


def _newest_cause_ns(signal: dict[str, Any]) -> int | None:
    """When the event that tipped the scales was due; None if time did."""
    causes = [cause["event"] for cause in signal["data"]["causes"]]
    if not causes or causes[-1] == "time":
        return None
    return max((int(cause.rpartition("-")[2]) for cause in causes if "-" in cause), default=None)


def lines(found: dict[str, Any]) -> list[str]:
    """For people, in Markdown."""
    return [
        (
            f"At {found['published_per_second']:,} events/s, {found['signals']:,} risk changes: half arrive within "
            f"{found['p50_ms']} ms of their event's publishing, 90 % within {found['p90_ms']} ms, 99 % within "
            f"{found['p99_ms']} ms, all within {found['most_ms']} ms."
        )
    ]
