"""Bytes a supplier, decoded and encoded, and of a million of them; changelog bytes an event."""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from statistics import mean
from typing import Any

import msgspec
import psutil

from agents.health.fold import PartitionFold
from agents.health.handler import POLICY
from bench.logs.events import activity
from bench.logs.log import Kept
from bench.process import measured
from bench.scale.suppliers import changelog, realistic
from scoring.health.state import decode, encode
from scoring.time import DAY

SAMPLE = 400
HISTORIES = (10, 100, 500)
TYPICAL = 100
LOG_EVENTS = 60_000
LOG_SUPPLIERS = 2_500
"""Of one partition of eight, at 20,000 suppliers."""
MB = 1024 * 1024


def measure(suppliers: int) -> dict[str, Any]:
    """All of it, the part with many suppliers in a process of its own."""
    rows = [of_history(events) for events in HISTORIES]
    held = measured([sys.executable, "-m", "bench.scale.state", str(suppliers)], {})
    return {"by_events_of_a_supplier": rows, "many": held, "changelog": changelog_bytes()}


def of_history(events: int) -> dict[str, float]:
    """Bytes of a supplier who has had so many events."""
    states = realistic(SAMPLE, events)
    encoded = [encode(state) for state in states]
    gc.collect()
    tracemalloc.start()
    held = [decode(raw) for raw in encoded]
    decoded = tracemalloc.get_traced_memory()[0] / len(held)
    tracemalloc.stop()
    began = time.process_time()
    for state in states:
        encode(state)
    encoding = time.process_time() - began
    return {
        "events": events,
        "encoded_bytes": round(mean(map(len, encoded))),
        "decoded_bytes": round(decoded),
        "encode_us": round(encoding / SAMPLE * 1e6, 1),
    }


def hold(suppliers: int) -> dict[str, float]:
    """Recover a partition's fold with so many suppliers; what that takes of this process."""
    states = realistic(SAMPLE, TYPICAL)
    before = psutil.Process().memory_info().rss
    records = {key: value for _, key, value in changelog(states, suppliers, 1, 0)}
    fold = PartitionFold(0, 1)
    began = time.process_time()
    fold.recover(records)
    took = time.process_time() - began
    grown = psutil.Process().memory_info().rss - before
    return {
        "suppliers": suppliers,
        "events_of_a_supplier": TYPICAL,
        "memory_mb": round(grown / MB),
        "bytes_a_supplier": round(grown / suppliers),
        "record_bytes": round(mean(map(len, records.values()))),
        "index_due_times_s": round(took, 2),
    }


def changelog_bytes() -> list[dict[str, float]]:
    """Bytes an event that a worker writes, when it flushes after so many events of a partition."""
    now = time.time_ns() // 1_000_000
    log = list(activity(LOG_EVENTS, LOG_SUPPLIERS, 1, now - 8 * DAY, 7 * DAY))
    return [flushed_every(number, log, now) for number in (1, 1_000, POLICY.records // 4)]


def flushed_every(number: int, log: list[tuple[bytes, bytes]], now: int) -> dict[str, float]:
    """Fold the log in batches."""
    fold = PartitionFold(0, 1)
    state = health = signals = count = 0
    for start in range(0, len(log), number):
        batch = enumerate(log[start : start + number], start)
        fold.process(Kept(key, value, offset, now, 0) for offset, (key, value) in batch)
        flush = fold.take_flush()
        fold.confirm(flush)
        state += sum(len(key) + len(value) for key, value in flush.changelog)
        health += sum(len(key) + len(value) for key, value in flush.health)
        count += len(flush.signals)
        signals += sum(len(key) + len(value) for _, key, value in flush.signals)
    return {
        "events_a_flush": number,
        "state_bytes_an_event": round(state / len(log)),
        "health_bytes_an_event": round(health / len(log)),
        "signal_bytes_an_event": round(signals / len(log)),
        "signals_an_event": round(count / len(log), 3),
        "log_bytes_an_event": round(sum(len(key) + len(value) for key, value in log) / len(log)),
    }


def lines(found: dict[str, Any]) -> list[str]:
    """For people, in Markdown."""
    many = found["many"]
    return [
        "| events of a supplier | encoded, bytes | decoded, bytes | encoding, µs |",
        "|---:|---:|---:|---:|",
        *[
            f"| {row['events']} | {row['encoded_bytes']:,} | {row['decoded_bytes']:,} | {row['encode_us']} |"
            for row in found["by_events_of_a_supplier"]
        ],
        "",
        (
            f"{many['suppliers']:,} suppliers of {many['events_of_a_supplier']} events each in one process: "
            f"{many['memory_mb']:,} MB, {many['bytes_a_supplier']:,} bytes each (record {many['record_bytes']:,}); "
            f"their due times are indexed in {many['index_due_times_s']} s."
        ),
        "",
        "| events of a partition a flush | state topic | health | signals | the event itself (bytes an event) |",
        "|---:|---:|---:|---:|---:|",
        *[
            f"| {row['events_a_flush']:,} | {row['state_bytes_an_event']:,} | {row['health_bytes_an_event']:,} "
            f"| {row['signal_bytes_an_event']:,} | {row['log_bytes_an_event']:,} |"
            for row in found["changelog"]
        ],
    ]


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(hold(int(sys.argv[1]))).decode() + "\n")
