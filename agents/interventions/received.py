"""Reading our own signals and snapshots back from their topics."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import msgspec
import orjson
from pydantic import ValidationError

from agents.engine import record
from topics.catalog import CONDITIONS, HEALTH, MILESTONES, RISK_CHANGES
from topics.envelope import is_uuid
from topics.judging import refusal_of, too_deep, unreadable
from topics.outcome import Refusal
from topics.signals import ConditionMet, HealthUpdated, MilestoneAchieved, RiskChanged
from topics.structs import checking_struct_of
from topics.time import parse_time

Sent = HealthUpdated | RiskChanged | MilestoneAchieved | ConditionMet

MODELS: dict[str, type[Sent]] = {
    HEALTH: HealthUpdated,
    RISK_CHANGES: RiskChanged,
    MILESTONES: MilestoneAchieved,
    CONDITIONS: ConditionMet,
}


class Record(record.Record, Protocol):
    """A fetched record and where it came from."""

    @property
    def topic(self) -> str:
        """Its name in the cluster, prefix included."""
        ...

    @property
    def partition(self) -> int:
        """Of its topic."""
        ...


class PlacedRecord(NamedTuple):
    """A record with its place: what is fetched in batches does not know its own."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    offset: int
    timestamp: int
    topic: str
    partition: int


class SignalRecord(NamedTuple):
    """A signal or snapshot as its topic brought it; `at` in ms, `data` as `topics/signals.py` says."""

    record: Record
    supplier_id: str
    id: str
    type: str
    at: int
    data: dict[str, Any]


_STRUCTS = {topic: checking_struct_of(model) for topic, model in MODELS.items()}
_decode = msgspec.json.Decoder(reduce(or_, _STRUCTS.values())).decode
"""Any of them, by its `type`, which must be there; a decoder of one alone takes it for granted."""


def read_signal(topic: str, record: Record) -> SignalRecord | Refusal:
    """Read a record of one of the topics in MODELS; what is not of that topic's model is refused."""
    value = record.value or b""
    event = _decoded(topic, value)
    if event is None or record.key != event.subject.encode():
        return _judged(topic, record, value)
    data = orjson.loads(value)["data"]  # plain, and with what a newer version may have added
    return SignalRecord(
        record, event.subject, event.id, event.__struct_config__.tag, parse_time(event.time), data
    )


def _decoded(topic: str, value: bytes) -> Any:
    """The event in a record as a Struct of its model; None when anything at all is unusual about it."""
    if b"\\u0000" in value or too_deep(value):
        return None
    try:
        if not value.isascii():
            value.decode()  # msgspec does not look into the strings that it skips
        event: Any = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # `_judged` says what is wrong
    of_topic = event.__class__ is _STRUCTS[topic]
    return event if of_topic and is_uuid(event.id) else None


def _judged(topic: str, record: Record, value: bytes) -> SignalRecord | Refusal:
    """The verdict by the model, an order of magnitude slower."""
    if refusal := unreadable(value):
        return refusal
    try:
        model = MODELS[topic].model_validate_json(value)
        data = orjson.loads(value)["data"]  # plain, and with what a newer version may have added
        UUID(model.id)
    except ValidationError as error:
        return refusal_of(error)
    except orjson.JSONDecodeError as error:
        return Refusal(f"not_json: {error}")
    except ValueError:
        return Refusal("wrong_field: id: not a UUID")
    if record.key != model.subject.encode():
        return Refusal("subject_not_key: the record's key is not the event's `subject`")
    return SignalRecord(record, model.subject, model.id, model.type, parse_time(model.time), data)
