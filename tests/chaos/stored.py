"""What Postgres holds after a log, and what it must hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

import psycopg

from scoring.decisions.policy import Policy
from tests.reference.logs import Outcome
from topics.time import parse_time


@dataclass
class Stored:
    """The rows that workers write; lists, so that a row too many is a difference."""

    health: list[tuple[str, int, int]]
    """(supplier, seq, score)"""
    history: list[tuple[str, int, int, str]]
    """(id, seq, score, level) of each change"""
    milestones: list[tuple[str, str]]
    """(supplier, milestone)"""
    interventions: list[tuple[str, str, str, int]]
    """(id, signal, trigger, due at)"""


def stored(database_url: str) -> Stored:
    """The rows there are."""

    def rows(query: str) -> list[Any]:
        return sorted(conn.execute(query).fetchall())

    with psycopg.connect(database_url) as conn:
        return Stored(
            rows("select supplier_id::text, seq, health_score from customer_health"),
            rows("select id::text, seq, score, risk_level from health_history"),
            rows("select supplier_id::text, milestone_type from success_milestones"),
            rows(
                "select id::text, signal_id::text, trigger_condition, "
                "(extract(epoch from due_at) * 1000)::bigint from success_interventions"
            ),
        )


def wanted_in_postgres(expected: Outcome) -> Stored:
    """The rows that an outcome calls for under the default policy."""
    policy = Policy.load()
    return Stored(
        sorted((supplier, data["seq"], data["score"]) for supplier, data in expected.snapshots.items()),
        sorted((c["id"], c["seq"], c["score"], c["level"]) for c in expected.changes.values()),
        sorted(
            (signal["subject"], signal["data"]["milestone"])
            for signal in expected.signals.values()
            if signal["type"] == "success.milestone.achieved"
        ),
        sorted(
            (
                str(uuid5(UUID(signal["id"]), trigger.name)),
                signal["id"],
                trigger.name,
                parse_time(signal["time"]) + trigger.delay_ms,
            )
            for signal in expected.signals.values()
            for trigger in policy.triggers_for(signal["type"], signal["data"])
        ),
    )
