"""`success worker --processes 1`, 2 and 4, with Postgres: a dense log and a sparse one, until all is rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.logs.kinds import DENSE, NEW, Kind, now_ms
from bench.product import Product
from bench.rows.compare import Side
from embedded.registry import Addresses


def measure(
    addresses: Addresses, dense_events: int, sparse_events: int, processes: Sequence[int] = (1, 2, 4)
) -> dict[str, Any]:
    """Each number of processes on each log; each must leave the state of a sequential fold."""
    rows = [
        _run(addresses, kind, events, count)
        for kind, events in ((DENSE, dense_events), (NEW, sparse_events))
        for count in processes
    ]
    return {"rows": rows}


def _run(addresses: Addresses, kind: Kind, events: int, processes: int) -> dict[str, Any]:
    side = Side(addresses)
    try:
        side.publish(kind.events(events, now_ms()))
        product = Product(side.settings)
        product.fold_in_order()
        took = side.ours(processes)
        product.check()
    finally:
        side.close()
    return {
        "log": kind.name,
        "processes": processes,
        "events": events,
        "seconds": round(took["seconds"], 1),
        "scored_per_second": round(events / took["scored_seconds"]),
        "events_per_second": round(events / took["seconds"]),
        "cpu_us_an_event": round(took["cpu_seconds"] / events * 1e6, 1),
        "postgres_cpu_us_an_event": round(took["postgres_cpu_seconds"] / events * 1e6, 1),
        "memory_mb": round(took["memory_mb"]),
    }


def lines(found: dict[str, Any]) -> list[str]:
    """For people, in Markdown."""
    return [
        "`success worker --processes N`, from when all have joined; each left the state of a sequential fold.",
        "",
        (
            "| log | processes | events | scored, events/s | events/s until all is rows | CPU µs an event "
            "| and in Postgres | memory |"
        ),
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *[
            f"| {row['log']} | {row['processes']} | {row['events']:,} | {row['scored_per_second']:,} "
            f"| {row['events_per_second']:,} | {row['cpu_us_an_event']} | {row['postgres_cpu_us_an_event']} "
            f"| {row['memory_mb']:,} MB |"
            for row in found["rows"]
        ],
    ]
