"""A consumed record as folds read it, a batch of them, and a record on its way to the dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

Headers = Sequence[tuple[str, bytes]]
DeadLetter = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]
"""(key, value, headers)"""


class Record(Protocol):
    """What a fold needs of a consumed record; aiokafka's `ConsumerRecord` has it."""

    @property
    def key(self) -> bytes | None:
        """As it came."""
        ...

    @property
    def value(self) -> bytes | None:
        """As it came."""
        ...

    @property
    def headers(self) -> Headers:
        """As they came."""
        ...

    @property
    def offset(self) -> int:
        """In its partition."""
        ...

    @property
    def timestamp(self) -> int:
        """Append time, ms."""
        ...


class Batch(list[Record]):
    """The records of one partition from one fetch, in offset order."""

    __slots__ = ("follows",)

    def __init__(self, records: Iterable[Record], follows: int) -> None:
        super().__init__(records)
        self.follows = follows
        """Everything below this offset was delivered before (or was never in the log)."""


def log_append_time(record: Record) -> int:
    """The append time in ms of a topic that stamps records with LogAppendTime."""
    return record.timestamp
