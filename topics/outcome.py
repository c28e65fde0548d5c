"""What reading one record can come to, and what a dead letter carries beside the record as it came."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, Final, Literal

import msgspec

REASON_CODES = (
    "not_json",
    "not_cloudevent",
    "missing_field",
    "wrong_field",
    "subject_not_uuid",
    "subject_not_key",
    "too_large",
    "future_time",
    "wrong_partition",
    "too_many",
    "unreadable",
)
"""Every refusal's reason begins with one of these, then `: ` and words for people."""


UNREADABLE_HEADER = "success-unreadable"
"""A header that our Kafka client adds to what is no record to it: the reason. An archive keeps it."""


class ActivityEvent(msgspec.Struct, frozen=True, gc=False):
    """One thing a supplier did, checked.

    `at` is in milliseconds since the epoch, `subject` the supplier id. `data` has the fields of the type's
    data in `activity.py` as attributes, absent ones None; `client.imported` always has `client_ids`, without
    repetitions, in order. It is None for the types that read no data.
    """

    type: str
    at: int
    id: str
    source: str
    subject: str
    data: Any


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A record that goes to the dead letters, with the reason (a code of REASON_CODES, then words)."""

    reason: str

    @property
    def code(self) -> str:
        """The stable code that the reason begins with."""
        return self.reason.partition(":")[0]


class Unknown(Enum):
    """The kind of UNKNOWN."""

    UNKNOWN = "unknown type"


UNKNOWN: Final[Literal[Unknown.UNKNOWN]] = Unknown.UNKNOWN
"""A valid CloudEvent of a type we don't know: counted, otherwise ignored."""


def unreadable_by_kafka(headers: Iterable[tuple[str, bytes | None]]) -> Refusal | None:
    """The refusal of what our Kafka client could not read as a record; None for a record."""
    said = next((value for name, value in headers if name == UNREADABLE_HEADER and value), None)
    return None if said is None else Refusal(said.decode(errors="replace"))


MOST_REASON_CHARS = 1_000
MOST_DEAD_BYTES = 1_048_576 + 64 * 1024
"""Of key, value and headers together, as large as what `supplier.activity` takes; a compressed record may hold more."""


def dead_letter_headers(
    reason: str,
    topic: str,
    partition: int,
    offset: int,
    original_headers: Iterable[tuple[str, bytes]],
) -> list[tuple[str, bytes]]:
    """The original headers as they came, then `error`, `topic`, `partition`, `offset` as UTF-8 text.

    Kafka clients take a header's last value, so a dead letter that was sent again and refused again reports
    its newest refusal. Key and value of a dead letter are the record's own (a profile's value is left out).
    """
    ours = {
        "error": reason[:MOST_REASON_CHARS],
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
    }
    kept = [(name, value) for name, value in original_headers if name != UNREADABLE_HEADER]
    return [*kept, *((name, text.encode()) for name, text in ours.items())]


def dead_letter(
    reason: str,
    place: tuple[str, int, int],
    key: bytes | None,
    value: bytes | None,
    original_headers: Iterable[tuple[str, bytes]],
) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]:
    """(key, value, headers) of the dead letter of the record at `place`: topic, partition and offset.

    What would not fit into the topic of dead letters is left out, the value first, and the reason says so.
    """
    headers = list(original_headers)
    if _size(key, value, headers) > MOST_DEAD_BYTES:
        reason = (
            f"{reason[: MOST_REASON_CHARS - 100]}; its value of {len(value or b''):,} bytes is left out here"
        )
        value = b""
    if _size(key, value, headers) > MOST_DEAD_BYTES:
        reason, key, headers = f"{reason}, and so are key and headers", None, []
    return key, value, dead_letter_headers(reason, *place, headers)


def _size(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> int:
    return (
        len(key or b"") + len(value or b"") + sum(4 * len(name) + len(held or b"") for name, held in headers)
    )
