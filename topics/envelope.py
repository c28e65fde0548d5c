"""The CloudEvents envelope and the field types that every model here shares."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from topics.time import parse_time

UUID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
is_uuid = re.compile(UUID_PATTERN).fullmatch
"""Whether a text is a UUID in its canonical form."""


class CheckedByFastPath:
    """Marks a field whose constraints `decoding.py` checks itself, cheaper than a derived Struct could.

    `pattern` (a regular expression of Python's) matches texts that are right, as far as we write them ourselves.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern


_OUR_TIMES = (
    r"^(?:19[7-9][0-9]|[2-8][0-9]{3})-"
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z\Z"
)
"""Times as we write them, but for one day in four years."""


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("contains a NUL character, which Postgres cannot store")
    return text


def _whole(number: object) -> object:
    """`100.0` is an integer to JSON Schema, and to us."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _time(text: str) -> str:
    parse_time(text)
    return text


WholeNumber = Annotated[int, BeforeValidator(_whole)]
"""An integer, however JSON writes it."""

Text = Annotated[str, Field(min_length=1), AfterValidator(_without_nul)]
"""Non-empty text without NUL."""

MAX_ID_CHARS = 512
"""Of an event's id: causes name it, up to 20 in a signal, which must fit into a Kafka message."""

EventId = Annotated[Text, Field(max_length=MAX_ID_CHARS)]
"""Id of an activity event."""

SupplierId = Annotated[
    str,
    Field(
        min_length=36,
        max_length=36,
        pattern=UUID_PATTERN,
        description="Supplier id: a UUID in its canonical form (36 characters, lowercase).",
        json_schema_extra={"format": "uuid"},
    ),
    CheckedByFastPath(UUID_PATTERN.replace("$", r"\Z")),
]

Timestamp = Annotated[
    str,
    AfterValidator(_time),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339 with zone, from 1970 on; kept to the millisecond, finer digits cut off.",
        }
    ),
    CheckedByFastPath(_OUR_TIMES),
]


class OneOf:
    """Marks a text that is a name of the rules in force: `kind` is `plan` or `milestone`."""

    def __init__(self, kind: Literal["plan", "milestone"]) -> None:
        self.kind = kind


Plan = Annotated[Text, OneOf("plan")]
"""The name of a plan; a reader refuses those that the rules in force don't have."""
Milestone = Annotated[Text, OneOf("milestone")]
"""The name of a milestone; as above."""


class Model(BaseModel):
    """Base of all models: strict types (no text for numbers), unknown keys ignored, immutable."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class CloudEvent(Model):
    """The CloudEvents 1.0 attributes that we require; others may be present and are ignored."""

    specversion: Literal["1.0"] = Field(description="Version of CloudEvents.")
    id: EventId = Field(description="Unique within `source`; a repeated (source, id) is ignored.")
    source: Text = Field(description="URI reference of the service that publishes.")
    subject: SupplierId
    time: Timestamp
