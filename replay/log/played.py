"""Tells a log that `success run` has filled, whose clock followed the events and not the wall clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from agents.engine.record import Record
from replay.log.source import OpenSource, Source
from replay.log.stream import FAR_AHEAD
from topics.decoding import ActivityEvent, decode
from topics.judging import MAX_AHEAD_MS

LOOKED_AT = 200
"""Records at the beginning of each partition."""
EARLY = b"future_time"


def looks_played(source: Source) -> bool:
    """Whether events lie ahead of their append time and yet no worker refused one for it.

    Then only `success run` can have read them. A file of past days leaves no such mark, and needs none.
    """
    with source.opened() as opened:
        return any(_is_early(record) for record in _first_records(opened)) and not _refused_early(opened)


def _first_records(opened: OpenSource) -> Iterator[Record]:
    for partition, held in opened.bounds().items():
        records = opened.records(partition, opened.beginning(partition).offset, held.end)
        yield from islice(next(iter(records), []), LOOKED_AT)


def _is_early(record: Record) -> bool:
    event = decode(record.key, record.value, record.headers, FAR_AHEAD)
    return isinstance(event, ActivityEvent) and event.at > record.timestamp + MAX_AHEAD_MS


def _refused_early(opened: OpenSource) -> bool:
    return any(_reason(record.headers).startswith(EARLY) for record in opened.dead_letters())


def _reason(headers: Iterable[tuple[str, bytes]]) -> bytes:
    return next((value for name, value in headers if name == "error" and value), b"")
