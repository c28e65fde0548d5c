"""A version with other weights goes into force for very many suppliers, while events go on coming."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, Producer

from agents.cluster import rules_log
from agents.interventions.received import PlacedRecord, SignalRecord, read_signal
from agents.interventions.rows import milestone_of, rows_of
from bench.logs.log import read
from bench.product import new_settings, scoring
from bench.scale.suppliers import fill
from replay.again.variant import what_if
from runtime.configuration import Configuration, load
from runtime.settings import Settings
from runtime.versions import version_of
from scoring.decisions.policy import Policy
from scoring.health.rules_switch import came_of_a_switch
from topics.catalog import ACTIVITY, CONDITIONS, MILESTONES, RISK_CHANGES, full_name
from topics.partitioner import partition_of
from topics.time import format_time

WEIGHTS = ("weights.login=20", "weights.features=35")
"""What the version says otherwise; all five still add up to 100."""
A_SECOND = 50
"""Events of the trickle: each of somebody new, whose first form is a milestone."""
BEFORE_S, LAST_ONES_S = 5.0, 120.0
LIMIT_S = 3_600.0
SENT = "scheduled"
POLL_S = 0.1
WAITS = ("p50_ms", "p99_ms", "most_ms")


def measure(kafka: str, suppliers: int) -> dict[str, Any]:
    """One worker that knows so many suppliers goes over to other weights; what came of it."""
    settings = new_settings(kafka)
    asyncio.run(fill(settings, suppliers))
    with ThreadPoolExecutor(2) as pool, scoring(settings) as process:
        process.report()  # it reads its partitions
        trickle = Trickle(settings)
        listening, sending = pool.submit(trickle.listen), pool.submit(trickle.send)
        try:
            trickle.heard_one(LIMIT_S)
            time.sleep(BEFORE_S)
            began = time.time()
            policy = asyncio.run(activate(settings))
            took = process.report()
            ended = time.time()
            trickle.heard_all(LAST_ONES_S)
        finally:
            trickle.enough.set()
            trickle.over.set()
        sending.result()
        listening.result()
    return {
        "suppliers": suppliers,
        "seconds": round(took["seconds"], 1),
        "suppliers_per_second": round(suppliers / took["seconds"]),
        "cpu_us_a_supplier": round(took["cpu_seconds"] / suppliers * 1e6, 1),
        "memory_mb": round(took["memory_mb"]),
        "trickle_a_second": A_SECOND,
        "before": trickle.waits(0, began),
        "meanwhile": trickle.waits(began, ended),
        "lost": trickle.lost(),
        **consequences(settings, policy),
    }


async def activate(settings: Settings) -> Policy:
    """Put the other weights into force on the topic, as `success config activate` does."""
    policy = what_if(None, WEIGHTS).policy
    if policy is None:
        raise TypeError("a what-if has a policy")
    at = format_time(time.time_ns() // 1_000_000)
    await rules_log.write_version(
        settings, version_of(load(), 0, at), version_of(Configuration(policy), 1, at)
    )
    return policy


class Trickle:
    """Events of new suppliers at a steady rate, and how long each takes until its milestone is at a consumer."""

    def __init__(self, settings: Settings) -> None:
        self.enough, self.over = threading.Event(), threading.Event()
        self._settings = settings
        self._first = threading.Event()
        self._listening = threading.Event()
        self._sent: dict[bytes, float] = {}
        self._waits: list[tuple[float, float]] = []

    def heard_one(self, seconds: float) -> None:
        """Wait until the first signal has come."""
        if not self._first.wait(seconds):
            raise TimeoutError("no signal of the trickle came")

    def heard_all(self, seconds: float) -> None:
        """Send no more, and wait for what was sent, at most so long."""
        self.enough.set()
        deadline = time.time() + seconds
        while self.lost() and time.time() < deadline:
            time.sleep(POLL_S)

    def send(self) -> None:
        """Publish until it is `enough`."""
        self._listening.wait(LIMIT_S)
        producer = Producer({"bootstrap.servers": self._settings.kafka, "linger.ms": 0, "log_level": 4})
        topic = full_name(self._settings.topic_prefix, ACTIVITY)
        next_at = time.time()
        while not self.enough.is_set():
            supplier = str(uuid4())
            now = time.time()
            event = (
                f'{{"specversion":"1.0","id":"t-{supplier}","source":"/bench","type":"form.created",'
                f'"subject":"{supplier}","time":"{format_time(int(now * 1000))}","data":{{"form_id":"f"}}}}'
            )
            key = supplier.encode()
            self._sent[key] = now
            producer.produce(
                topic, event.encode(), key=key, partition=partition_of(key, self._settings.partitions)
            )
            producer.poll(0)
            next_at += 1 / A_SECOND
            time.sleep(max(0.0, next_at - time.time()))
        producer.flush(30)

    def listen(self) -> None:
        """Note the milestones that come until `over`."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._settings.kafka,
                "group.id": f"{self._settings.topic_prefix}trickle",
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 5,
                "log_level": 4,
            }
        )
        topic = full_name(self._settings.topic_prefix, MILESTONES)
        consumer.subscribe([topic], on_assign=lambda *_: self._listening.set())
        try:
            while not self.over.is_set():
                message = consumer.poll(0.05)
                if message is None or message.error() is not None:
                    continue
                sent_at = self._sent.get(message.key() or b"")
                if sent_at is not None:
                    self._waits.append((sent_at, time.time() - sent_at))
                    self._first.set()
        finally:
            consumer.close()

    def waits(self, since: float, until: float) -> dict[str, float]:
        """Of the events that were sent in [since, until): how many ms until their signals came."""
        found = sorted(wait for at, wait in self._waits if since <= at < until)
        if not found:
            return {"events": 0}
        named = {f"p{part}_ms": found[int((len(found) - 1) * part / 100)] for part in (50, 99)}
        return {"events": len(found)} | {
            name: round(wait * 1000, 1) for name, wait in (named | {"most_ms": found[-1]}).items()
        }

    def lost(self) -> int:
        """Events of which no signal has come."""
        return len(self._sent) - len(self._waits)


def consequences(settings: Settings, policy: Policy) -> dict[str, Any]:
    """What the signals of the switch are worth: rows that could be sent (there must be none) and others, by reason."""
    rows: Counter[str] = Counter()
    signals = to_celebrate = 0
    now = time.time_ns() // 1_000_000
    for topic in (RISK_CHANGES, MILESTONES, CONDITIONS):
        name = full_name(settings.topic_prefix, topic)
        for kept in read(settings.kafka, name, settings.partitions):
            placed = PlacedRecord(*kept[:2], kept.headers, kept.offset, kept.timestamp, name, kept.partition)
            signal = read_signal(topic, placed)
            if not isinstance(signal, SignalRecord) or not came_of_a_switch(signal.data):
                continue
            signals += 1
            to_celebrate += topic == MILESTONES and not milestone_of(signal)["celebrated"]
            rows.update(
                row["reason"] or row["status"] for row in rows_of([signal], lambda _: policy, now).values()
            )
    return {"signals": signals, "to_celebrate": to_celebrate, "sent": rows.pop(SENT, 0), "rows": dict(rows)}


def lines(found: dict[str, Any]) -> list[str]:
    """For people, in Markdown."""
    before, meanwhile = found["before"], found["meanwhile"]
    reasons = ", ".join(f"{number:,} `{reason}`" for reason, number in found["rows"].items()) or "none"
    return [
        (
            f"{found['suppliers']:,} suppliers of one worker, `{'`, `'.join(WEIGHTS)}`: all scored anew after "
            f"{found['seconds']} s ({found['suppliers_per_second']:,}/s, {found['cpu_us_a_supplier']} µs of CPU each), "
            f"{found['memory_mb']:,} MB at most."
        ),
        "",
        f"| {found['trickle_a_second']} events/s, until their signal | events | half, ms | 99 % | longest |",
        "|---|---:|---:|---:|---:|",
        *[
            f"| {name} | {row['events']:,} | {' | '.join(str(row.get(column, '-')) for column in WAITS)} |"
            for name, row in (("before", before), ("while it goes on", meanwhile))
        ],
        "",
        (
            f"{found['signals']:,} signals tell of it, {found['to_celebrate']} of a milestone still to be celebrated; "
            f"{found['sent']} messages could be sent for them (rows that are suppressed: {reasons}). "
            f"{found['lost']} events of the trickle went without a signal."
        ),
    ]
