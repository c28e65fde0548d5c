"""A consumed record as folds read it, and one on its way to the dead letters."""

from __future__ import annotations

from collections.abc import Sequence
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


def log_append_time(record: Record) -> int:
    """The append time in ms of a topic that stamps records with LogAppendTime."""
    return record.timestamp
