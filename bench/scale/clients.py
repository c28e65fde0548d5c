"""A supplier with very many clients beside one with few: what an event costs, and what a flush after each costs."""

from __future__ import annotations

import time
from itertools import count
from random import Random
from typing import Any

import orjson

from agents.health.fold import PartitionFold
from bench.logs.log import Kept
from topics.time import format_time

SIZES = (10, 100, 1_000, 10_000, 100_000)
START = 1_767_603_600_000
SECOND = 1_000
IMPORTED_AT_ONCE = 10_000
SUPPLIER = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"
WARM_UP = 300


def measure(events: int) -> dict[str, Any]:
    """The same events for suppliers of each size."""
    return {"events": events, "sizes": [of_size(clients, events) for clients in SIZES]}


def of_size(clients: int, events: int) -> dict[str, float]:
    """Flush after each event of random clients of one supplier who has so many; then load them anew."""
    rng = Random(5)  # noqa: S311 - load, not a secret
    numbers = count()
    fold = PartitionFold(0, 1)
    for start in range(0, clients, IMPORTED_AT_ONCE):
        names = [f"c{number}" for number in range(start, min(clients, start + IMPORTED_AT_ONCE))]
        fold.process([_record(next(numbers), "client.imported", client_ids=names)])
    fold.process(
        [_record(next(numbers), "client.active", client_id=f"c{number}") for number in range(clients)]
    )
    fold.confirm(fold.take_flush())
    folding = flushing = written = 0.0
    for number in range(events + WARM_UP):
        kind = ("client.active", "form.sent", "form.completed")[number % 3]
        record = _record(next(numbers), kind, form_id="f1", client_id=f"c{rng.randrange(clients)}")
        began = time.process_time_ns()
        fold.process([record])
        folded = time.process_time_ns()
        flush = fold.take_flush()
        fold.confirm(flush)
        if number >= WARM_UP:
            folding += folded - began
            flushing += time.process_time_ns() - folded
            written += sum(len(key) + len(value) for key, value in flush.changelog)
    return {
        "clients": clients,
        "fold_us": round(folding / events / 1e3, 1),
        "flush_us": round(flushing / events / 1e3, 1),
        "state_bytes": round(written / events),
        "load_us": round(_load_us(fold)),
    }


def _load_us(fold: PartitionFold) -> float:
    """What it takes to have their state in memory again: after a restart, or when others took their place."""
    again = PartitionFold(0, 1)
    again.recover(dict(fold._suppliers.encoded))  # noqa: SLF001 - what the state topic holds
    began = time.process_time_ns()
    again.state_of(SUPPLIER)
    return (time.process_time_ns() - began) / 1e3


def _record(number: int, kind: str, **data: object) -> Kept:
    at = START + number * SECOND
    event = {
        "specversion": "1.0",
        "id": str(number),
        "source": "/bench",
        "type": kind,
        "subject": SUPPLIER,
        "time": format_time(at),
        "data": data,
    }
    return Kept(SUPPLIER.encode(), orjson.dumps(event), number, at, 0)


def lines(found: dict[str, Any]) -> list[str]:
    """For people, in Markdown."""
    return [
        "| clients | decode and fold an event, µs | a flush after it, µs | state topic, bytes a flush | load, µs |",
        "|---:|---:|---:|---:|---:|",
        *[
            f"| {row['clients']:,} | {row['fold_us']} | {row['flush_us']:,} | {row['state_bytes']:,} "
            f"| {row['load_us']:,} |"
            for row in found["sizes"]
        ],
    ]
