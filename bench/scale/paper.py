"""What a hundred million suppliers and a million events a second would need, from the figures measured."""

from __future__ import annotations

from math import ceil
from typing import Any

SUPPLIERS = 100_000_000
EVENTS_PER_SECOND = 1_000_000
LOAD = 0.5
"""Workers are planned to be half busy: the rest is for catching up, and for the partitions of one that died."""
PARTITIONS_A_WORKER = 4
REPLICAS = 3
KEPT_DAYS = 400
NEEDED = {"state", "recovery", "sparse", "postgres"}
GB, TB = 1e9, 1e12


def lines(stored: dict[str, Any]) -> list[str]:
    """For people, in Markdown; nothing while figures are missing."""
    if not stored.keys() >= NEEDED:
        return []
    # A supplier has an event every 100 s, so that no flush finds two of them: each event writes a whole record.
    per_worker = stored["sparse"]["events_per_second_once_joined"] * LOAD
    workers = ceil(EVENTS_PER_SECOND / per_worker)
    held = stored["state"]["many"]["bytes_a_supplier"]
    record = stored["state"]["many"]["record_bytes"]
    each = stored["state"]["changelog"][0]
    cold, warm = (stored["recovery"][source]["suppliers_per_second"] for source in ("changelog", "snapshot"))
    rates = stored["postgres"]["sizes"][-1]["rates"]
    snapshots = rates["known suppliers"]["success.health"]["per_second"]
    log = EVENTS_PER_SECOND * each["log_bytes_an_event"]
    state, health = EVENTS_PER_SECOND * record, EVENTS_PER_SECOND * each["health_bytes_an_event"]
    signals = EVENTS_PER_SECOND * each["signals_an_event"]
    rows = [
        (
            "workers, half busy",
            f"{workers:,}",
            f"{per_worker:,.0f} events/s each, every event another supplier's",
        ),
        (
            "partitions of every topic",
            f"{workers * PARTITIONS_A_WORKER:,}",
            f"{PARTITIONS_A_WORKER} a worker",
        ),
        (
            "memory of a worker",
            f"{SUPPLIERS / workers * held / GB:,.1f} GB",
            f"{SUPPLIERS / workers:,.0f} suppliers of {held:,} bytes; and 2 GB in a backlog (engine.md, *Cost*)",
        ),
        (
            "recovery of a worker that starts cold",
            f"{SUPPLIERS / workers / cold:,.0f} s",
            f"{cold:,} suppliers/s",
        ),
        (
            "... with a snapshot on its own disk",
            f"{SUPPLIERS / workers / warm:,.0f} s",
            f"{warm:,} suppliers/s, and what the changelog has beyond it",
        ),
        ("log written", f"{log / GB:,.2f} GB/s", f"{each['log_bytes_an_event']:,} bytes an event"),
        (
            f"log kept {KEPT_DAYS} days, {REPLICAS} replicas",
            f"{log * 86_400 * KEPT_DAYS * REPLICAS / TB:,.0f} TB",
            "uncompressed",
        ),
        (
            "state topic written",
            f"{state / GB:,.2f} GB/s",
            f"a record of {record:,} bytes an event: no flush finds two events of one supplier",
        ),
        (
            f"state topic kept, {REPLICAS} replicas",
            f"{SUPPLIERS * record * REPLICAS * 2 / TB:,.1f} TB",
            "twice its live records, between compactions",
        ),
        (
            "health topic written",
            f"{health / GB:,.2f} GB/s",
            f"{each['health_bytes_an_event']:,} bytes an event",
        ),
        ("signals", f"{signals:,.0f} /s", f"{each['signals_an_event']} an event in this made-up activity"),
        (
            "Postgres instances for health alone",
            f"{ceil(EVENTS_PER_SECOND / snapshots):,}",
            f"{snapshots:,} snapshots/s each, as measured on the largest tables here",
        ),
    ]
    return [
        "### On paper: 100,000,000 suppliers, 1,000,000 events/s\n",
        "Worked out by `bench/scale/paper.py` from the figures above.\n",
        "| | needed | because |",
        "|---|---:|---|",
        *[f"| {what} | {needed} | {why} |" for what, needed, why in rows],
    ]
