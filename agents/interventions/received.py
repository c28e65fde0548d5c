"""Reading our own signals and snapshots back from their topics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import orjson
from pydantic import ValidationError

from agents.engine import record
from topics.catalog import CONDITIONS, HEALTH, MILESTONES, RISK_CHANGES
from topics.judging import refusal_of, unreadable
from topics.outcome import Refusal
from topics.signals import ConditionMet, HealthUpdated, MilestoneAchieved, RiskChanged
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


def read_signal(topic: str, record: Record) -> SignalRecord | Refusal:
    """Read a record of one of the topics in MODELS; what is not of that topic's model is refused."""
    value = record.value or b""
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
