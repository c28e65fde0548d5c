"""The topics: what each is called, what it carries, how long it is kept. `success migrate` creates them so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from topics.activity import ActivityModel
from topics.judging import MAX_VALUE_BYTES
from topics.profile import Profile
from topics.signals import ConditionMet, HealthUpdated, InterventionChanged, MilestoneAchieved, RiskChanged

ACTIVITY = "supplier.activity"
PROFILES = "supplier.profiles"
HEALTH = "success.health"
RISK_CHANGES = "success.risk-changes"
MILESTONES = "success.milestones"
CONDITIONS = "success.conditions"
INTERVENTIONS = "success.interventions"
DEAD_LETTERS = "success.dead-letters"

MAX_ACTIVITY_BYTES = MAX_VALUE_BYTES + 64 * 1024
"""Largest message the broker takes on `supplier.activity`: a value of 1 MiB, key, headers and framing fit, and
what is a little larger is taken too, so that the refusal is ours and has a reason."""

MAX_DEAD_LETTER_BYTES = MAX_ACTIVITY_BYTES + 64 * 1024
"""Whatever got onto `supplier.activity` fits with four more headers. A producer of dead letters needs a
`max_request_size` as large."""

MAX_HEALTH_BYTES = 16 * 1024 * 1024
"""A snapshot after a long backlog carries every change since the one before it."""

_DAY_MS = 24 * 3600 * 1000
_MONTH_MS = 30 * _DAY_MS
_YEAR_AND_MORE_MS = 400 * _DAY_MS


def _by_time(kept_ms: int = _YEAR_AND_MORE_MS, max_message_bytes: int | None = None) -> dict[str, str]:
    """Kept for so many milliseconds from the moment of appending, whatever time the producer claims."""
    config = {
        "cleanup.policy": "delete",
        "retention.ms": str(kept_ms),
        "message.timestamp.type": "LogAppendTime",
    }
    if max_message_bytes is not None:
        config["max.message.bytes"] = str(max_message_bytes)
    return config


def _compacted(more: dict[str, int]) -> dict[str, str]:
    """The newest value of each key is kept; lags count from the moment of appending."""
    config = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"}
    return config | {name: str(number) for name, number in more.items()}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic: `name` without prefix, `key` and `about` for people, `model` of its values (None: any bytes).

    `config` holds the topic's Kafka settings. All topics have the same number of partitions, so that a
    supplier's records are on the same partition everywhere.
    """

    name: str
    about: str
    model: Any
    config: dict[str, str] = field(default_factory=dict)
    key: str = "supplier id"


_ALL = (
    Topic(
        ACTIVITY,
        "What suppliers and their clients do, published by the product's services.",
        ActivityModel,
        _by_time(max_message_bytes=MAX_ACTIVITY_BYTES),
    ),
    Topic(
        PROFILES,
        "Who suppliers are: the only topic with personal data. An empty value erases the supplier.",
        Profile,
        # Old values leave the disk within a week or so of an erasure; the erasure itself stays a month, for
        # readers that were away.
        _compacted({"max.compaction.lag.ms": 7 * _DAY_MS, "delete.retention.ms": _MONTH_MS}),
    ),
    Topic(
        HEALTH,
        "Snapshots of each supplier's health.",
        HealthUpdated,
        _compacted({"min.compaction.lag.ms": 7 * _DAY_MS, "max.message.bytes": MAX_HEALTH_BYTES}),
    ),
    Topic(RISK_CHANGES, "Changes of risk level.", RiskChanged, _by_time()),
    Topic(MILESTONES, "Milestones achieved.", MilestoneAchieved, _by_time()),
    Topic(CONDITIONS, "Conditions met that interventions wait for.", ConditionMet, _by_time()),
    Topic(
        INTERVENTIONS,
        "What became of each intervention, and feedback on it: feeds marketing automation.",
        InterventionChanged,
        _by_time(),
    ),
    Topic(
        DEAD_LETTERS,
        "Records that were refused, as they came, with headers that say why and where they were.",
        None,
        _by_time(3 * _MONTH_MS, MAX_DEAD_LETTER_BYTES),
        key="as it came",
    ),
)

TOPICS: dict[str, Topic] = {topic.name: topic for topic in _ALL}
"""Every public topic by name."""


def full_name(prefix: str, name: str) -> str:
    """The topic's name in the cluster: `prefix` (SUCCESS_TOPIC_PREFIX) and the catalogue's name."""
    return f"{prefix}{name}"
