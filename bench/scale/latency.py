"""From publishing an event to its signal, its row and its celebration, at steady rates."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any

import orjson
from confluent_kafka import Consumer, Producer

from bench.api.score import api
from bench.logs.events import activity
from bench.product import scoring
from bench.rows.compare import Side
from bench.rows.watch import SuccessWorker
from bench.scale.probes import WAITED_FOR, Probes
from embedded.process import free_port
from embedded.registry import Addresses
from runtime.settings import Settings
from scoring.time import DAY
from topics.catalog import ACTIVITY, RISK_CHANGES, full_name
from topics.partitioner import partition_of

SEED = 17
SUPPLIERS = 20_000
WARM_UP_S = 5.0
LAST_ONES_S, LAST_SIGNALS_S = 60.0, 3.0
PROBES = 60
STAMPED = re.compile(r"[0-9]+-([0-9]+)")
"""The id of an event of the load: its number, and when it was due (ns)."""
JOIN_S = 30.0
GROUPS_PER_SECOND = 500
"""Events go out in groups, each when its last one is due: no event before its time."""


def measure(
    addresses: Addresses, rates: Sequence[int], row_rates: Sequence[int], seconds: float
) -> dict[str, Any]:
    """Publish at each rate for so long; percentiles in ms from when each event was due to go out.

    At `rates` to a worker that writes no rows, at `row_rates` to one with Postgres and the API beside it.
    """
    return {
        "signals": [_of_signals(addresses, rate, seconds) for rate in rates],
        "rates": [_of_rows(addresses, rate, seconds) for rate in row_rates],
    }


def _of_signals(addresses: Addresses, per_second: int, seconds: float) -> dict[str, Any]:
    side = Side(addresses)
    try:
        with scoring(side.settings) as worker, _listening(side.settings) as listener:
            worker.report()
            began_ns = time.time_ns()
            published = _publish(side.settings, per_second, WARM_UP_S + seconds)
            time.sleep(LAST_SIGNALS_S)
    finally:
        side.close()
    return _found(per_second, published, listener.waits(began_ns))


def _of_rows(addresses: Addresses, per_second: int, seconds: float) -> dict[str, Any]:
    side = Side(addresses)
    settings = side.settings.model_copy(update={"api_port": free_port()})
    try:
        with SuccessWorker(settings) as worker, api(settings):
            probes = Probes(settings, PROBES)
            with probes.open(), _listening(settings) as listener:
                began_ns, cpu = time.time_ns(), worker.cpu_seconds()
                with ThreadPoolExecutor(1) as pool:
                    publishing = pool.submit(_publish, settings, per_second, WARM_UP_S + seconds)
                    time.sleep(WARM_UP_S)
                    probes.send(seconds)
                    published = publishing.result()
                busy = (worker.cpu_seconds() - cpu) / (WARM_UP_S + seconds)
                probes.wait_for_all(LAST_ONES_S)
                time.sleep(LAST_SIGNALS_S)
    finally:
        side.close()
    return {
        **_found(per_second, published, listener.waits(began_ns)),
        "cores_of_the_worker": round(busy, 2),
        **{what: percentiles(probes.waits(what)) for what in WAITED_FOR},
        "lost": probes.lost(),
    }


def _found(per_second: int, published: float, waits: Sequence[float]) -> dict[str, Any]:
    return {
        "asked_per_second": per_second,
        "published_per_second": round(published),
        "risk change": percentiles(waits),
    }


def percentiles(waits: Sequence[float]) -> dict[str, float]:
    """Of ms, ascending."""
    if not waits:
        return {"events": 0}
    found = {f"p{part}_ms": round(waits[int((len(waits) - 1) * part / 100)], 1) for part in (50, 90, 99)}
    return {"events": len(waits), **found, "most_ms": round(waits[-1], 1)}


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


class _Listener(threading.Thread):
    """When the event behind each risk change was due (ns), and how many ms later its signal was here."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(daemon=True)
        self._settings = settings
        self.found: list[tuple[int, float]] = []
        self.listening, self.over = threading.Event(), threading.Event()

    def waits(self, began_ns: int) -> list[float]:
        """Of events that were due after the warm-up, ascending, in ms."""
        counted_from = began_ns + int(WARM_UP_S * 1e9)
        return sorted(wait for sent_ns, wait in self.found if sent_ns >= counted_from)

    def run(self) -> None:
        """Until `over`."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._settings.kafka,
                "group.id": f"{self._settings.topic_prefix}latency",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 5,
                "log_level": 4,
            }
        )
        topic = full_name(self._settings.topic_prefix, RISK_CHANGES)
        consumer.subscribe([topic], on_assign=lambda *_: self.listening.set())
        try:
            while not self.over.is_set():
                message = consumer.poll(0.05)
                if message is None or message.error() is not None:
                    continue
                here_ns = time.time_ns()
                sent_ns = _newest_cause_ns(orjson.loads(message.value()))
                if sent_ns is not None:
                    self.found.append((sent_ns, (here_ns - sent_ns) / 1e6))
        finally:
            consumer.close()


@contextmanager
def _listening(settings: Settings) -> Iterator[_Listener]:
    listener = _Listener(settings)
    listener.start()
    try:
        if not listener.listening.wait(JOIN_S):
            raise TimeoutError("the listener did not get its partitions")
        yield listener
    finally:
        listener.over.set()
        listener.join()


def _newest_cause_ns(signal: dict[str, Any]) -> int | None:
    """When the event that tipped the scales was due; None if time did."""
    causes = [cause["event"] for cause in signal["data"]["causes"]]
    if not causes or causes[-1] == "time":
        return None
    stamps = [STAMPED.fullmatch(cause) for cause in causes]
    return max((int(stamp[1]) for stamp in stamps if stamp), default=None)


def lines(found: dict[str, Any]) -> list[str]:
    """For people, in Markdown."""
    return [
        (
            "Risk changes from a worker without the intervention agent; publisher, brokers and listener on the same "
            "machine. From when an event was due, in ms."
        ),
        "",
        "| events/s | risk changes | half | 90 % | 99 % | longest |",
        "|---:|---:|---:|---:|---:|---:|",
        *[_signals_line(row) for row in found.get("signals", ())],
        "",
        (
            "`success worker` and `success api` with Postgres; publisher, brokers and listeners on the same machine. "
            f"{PROBES} suppliers make their first form meanwhile, an open coach each: its signal, its committed row, "
            "its celebration as a server-sent event, which is what the page shows. From when an event was due, in ms: "
            "half / 99 %."
        ),
        "",
        "| events/s | cores of the worker | risk changes of the load | milestone | committed row | celebration |",
        "|---:|---:|---:|---:|---:|---:|",
        *[
            f"| {row['published_per_second']:,} | {row['cores_of_the_worker']} "
            + "".join(f"| {_half_and_most(row[what])} " for what in ("risk change", *WAITED_FOR))
            + "|"
            for row in found["rates"]
        ],
    ]


def _signals_line(row: dict[str, Any]) -> str:
    waits = row["risk change"]
    cells = " | ".join(f"{waits.get(f'{part}_ms', 0):,}" for part in ("p50", "p90", "p99", "most"))
    return f"| {row['published_per_second']:,} | {waits['events']:,} | {cells} |"


def _half_and_most(waits: dict[str, float]) -> str:
    return f"{waits['p50_ms']:,} / {waits['p99_ms']:,}" if waits["events"] else "-"
