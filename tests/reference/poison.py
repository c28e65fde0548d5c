"""Records that must end as dead letters, or be ignored, without harm to what comes behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

import orjson

Event = tuple[bytes, bytes]


def _changed(value: bytes, **changes: object) -> bytes:
    event = orjson.loads(value)
    event.update(changes)
    return orjson.dumps({name: content for name, content in event.items() if content is not None})


def malformed(event: Event) -> list[Event]:
    """One of each kind, made from a good event."""
    key, value = event
    return [
        (key, b"{not json"),
        (key, b"[]"),
        (key, _changed(value, specversion="0.3")),
        (key, _changed(value, time=None)),
        (key, _changed(value, time="yesterday")),
        (key, _changed(value, type="form.created", data={})),
        (key, _changed(value, type="plan.changed", data={"plan": 7})),
        (key, _changed(value, subject="photographer")),
        (key, _changed(value, subject="8d0c9a3e-0000-4000-8000-000000000000")),
        (key, _changed(value, time="2999-01-01T00:00:00Z")),
        (key, _changed(value, data={"padding": "x" * (1024 * 1024)})),
    ]


def harmless(event: Event) -> list[Event]:
    """What is ignored without a dead letter: an unknown type, and the same event once more."""
    key, value = event
    return [(key, _changed(value, type="moon.risen", id="unknown")), event]


def poisoned(events: Iterable[Event], every: int, seed: int) -> Iterator[Event]:
    """The events, with one of these behind every so many."""
    rng = Random(seed)  # noqa: S311 - a test
    for number, event in enumerate(events, 1):
        yield event
        if number % every == 0:
            yield rng.choice([*malformed(event), *harmless(event)])
