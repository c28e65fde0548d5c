"""Records and events for tests without Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import orjson

from topics.partitioner import partition_of
from topics.time import format_time

T0 = 1_780_000_000_000
PARTITIONS = 4
_numbers = count()


@dataclass
class FakeRecord:
    """A consumed record."""

    key: bytes | None
    value: bytes | None
    offset: int = 0
    timestamp: int = T0
    partition: int = 0
    headers: Sequence[tuple[str, bytes]] = field(default_factory=tuple)


def event_record(
    supplier: str,
    kind: str = "supplier.logged_in",
    at: int = T0,
    *,
    appended: int | None = None,
    offset: int = 0,
    **data: object,
) -> FakeRecord:
    """A record of one event, appended right when it happened unless said otherwise."""
    value = {
        "specversion": "1.0",
        "id": f"e{next(_numbers)}",
        "source": "/test",
        "type": kind,
        "subject": supplier,
        "time": format_time(at),
        "data": data,
    }
    return FakeRecord(supplier.encode(), orjson.dumps(value), offset, at if appended is None else appended)


def suppliers_of(partition: int, number: int) -> list[str]:
    """Ids of so many suppliers that live on a partition."""
    ids = (f"{n:08x}-0000-4000-8000-000000000000" for n in count(1))
    found: list[str] = []
    while len(found) < number:
        candidate = next(ids)
        if partition_of(candidate.encode(), PARTITIONS) == partition:
            found.append(candidate)
    return found


def numbered(records: Sequence[FakeRecord]) -> Sequence[FakeRecord]:
    """The records with offsets from 0 on."""
    for offset, record in enumerate(records):
        record.offset = offset
    return records
