"""A supplier with very many clients beside one with few: what an event costs, and what a flush costs."""

from __future__ import annotations

import time
from random import Random
from typing import Any

from scoring.machine import apply
from scoring.state import State, decode, encode
from topics.decoding import ActivityEvent

SIZES = (10, 100, 1_000, 10_000)
START = 1_767_603_600_000
SECOND = 1_000
SUPPLIER = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"
WARM_UP = 500
ROUNDS = 20


class _Data:
    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.form_id = "f1"


def measure(events: int) -> dict[str, Any]:
    """The same events for suppliers of each size."""
    return {"events": events, "sizes": [of_size(clients, events) for clients in SIZES]}


def of_size(clients: int, events: int) -> dict[str, float]:
    """Fold events of random clients of one supplier who has so many; then encode and decode her."""
    rng = Random(5)  # noqa: S311 - load, not a secret
    state = State()
    at = START
    for number in range(clients):
        at += SECOND
        apply(state, SUPPLIER, _event("client.active", at, f"known-{number}", f"c{number}"))
    todo = []
    for number in range(events + WARM_UP):
        at += 60 * SECOND
        kind = ("client.active", "form.sent", "form.completed")[number % 3]
        todo.append(_event(kind, at, str(number), f"c{rng.randrange(clients)}"))
    for event in todo[:WARM_UP]:
        apply(state, SUPPLIER, event)
    began = time.process_time()
    for event in todo[WARM_UP:]:
        apply(state, SUPPLIER, event)
    folded = time.process_time() - began
    state.changes = []
    raw = encode(state)
    began = time.process_time()
    for _ in range(ROUNDS):
        encode(state)
    encoding = time.process_time() - began
    began = time.process_time()
    for _ in range(ROUNDS):
        decode(raw)
    decoding = time.process_time() - began
    return {
        "clients": clients,
        "us_an_event": round(folded / events * 1e6, 2),
        "record_bytes": len(raw),
        "encode_us": round(encoding / ROUNDS * 1e6, 1),
        "decode_us": round(decoding / ROUNDS * 1e6, 1),
    }


def _event(kind: str, at: int, identity: str, client: str) -> ActivityEvent:
    return ActivityEvent(kind, at, identity, "/bench", SUPPLIER, _Data(client))


def lines(found: dict[str, Any]) -> list[str]:
    """For people, in Markdown."""
    return [
        "| clients | µs an event | state record, bytes | encoding it (each flush), µs | decoding it, µs |",
        "|---:|---:|---:|---:|---:|",
        *[
            f"| {row['clients']:,} | {row['us_an_event']} | {row['record_bytes']:,} | {row['encode_us']:,} "
            f"| {row['decode_us']:,} |"
            for row in found["sizes"]
        ],
    ]
