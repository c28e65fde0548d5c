"""What reading one record can come to."""

from __future__ import annotations

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
)
"""Every refusal's reason begins with one of these, then `: ` and words for people."""


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
