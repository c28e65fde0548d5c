"""Suppliers in bulk for measurements: a few thousand real states, copied under as many ids as are wanted."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from random import Random

from agents.cluster.provisioning import STATE
from agents.health.state_codec import META_KEY, Meta, StateHeader, pack
from bench.logs.events import activity
from bench.logs.log import load
from runtime.settings import Settings
from scoring.health.machine import advance, apply, next_due
from scoring.health.state import State, encode, forget_told
from scoring.time import DAY, NEVER
from topics.catalog import full_name
from topics.decoding import ActivityEvent, decode
from topics.partitioner import partition_of

SAMPLE = 1_000
EVENTS_EACH = 100
SPAN_DAYS = 60
SEED = 11


def realistic(count: int, events_each: int, end_ms: int | None = None) -> list[State]:
    """States of so many suppliers at `end_ms` (now), after `events_each` on average over the 60 days before it."""
    end_ms = end_ms or time.time_ns() // 1_000_000
    states: dict[str, State] = {}
    for key, value in past(count, events_each, end_ms):
        event = decode(key, value, (), end_ms)
        if not isinstance(event, ActivityEvent):
            raise TypeError(f"a made-up event was refused: {event}")
        state = states.setdefault(event.subject, State())
        apply(state, event.subject, event)
        forget_told(state)
    for supplier_id, state in states.items():
        advance(state, supplier_id, end_ms)
        forget_told(state)
        next_due(state)
    return list(states.values())


def past(count: int, events_each: int, end_ms: int) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of the events that `realistic` states come of."""
    return activity(count * events_each, count, SEED, end_ms - SPAN_DAYS * DAY, SPAN_DAYS * DAY)


def ids(count: int, seed: int = SEED) -> Iterator[str]:
    """So many supplier ids, always the same."""
    rng = Random(seed)  # noqa: S311 - load, not a secret
    for _ in range(count):
        yield str(uuid.UUID(int=rng.getrandbits(128), version=4))


def changelog(
    states: list[State], count: int, partitions: int, stream_time: int
) -> Iterator[tuple[int, bytes, bytes]]:
    """(partition, key, value) of the state topic of `count` suppliers, before the first event of an empty log."""
    bodies = [(encode(state), state.due) for state in states]
    for number, supplier_id in enumerate(ids(count)):
        body, due = bodies[number % len(bodies)]
        key = supplier_id.encode()
        yield partition_of(key, partitions), key, pack(StateHeader(0, -1, stream_time, due), body)
    for partition in range(partitions):
        meta = pack(StateHeader(0, -1, stream_time, NEVER), Meta(partitions).encode())
        yield partition, META_KEY, meta


async def fill(settings: Settings, suppliers: int, end_ms: int | None = None) -> int:
    """Write the states of so many suppliers at `end_ms` (now) to the state topic; bytes of keys and values."""
    states = realistic(SAMPLE, EVENTS_EACH, end_ms)
    records = changelog(states, suppliers, settings.partitions, 0)
    return await load(settings, full_name(settings.topic_prefix, STATE), records)
