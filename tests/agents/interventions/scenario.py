"""What a few dozen suppliers bring about on all topics and partitions, and what must be in Postgres afterwards."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import psycopg

from tests.agents.interventions.factory import (
    DAY,
    HOUR,
    MONDAY,
    Record,
    change,
    condition,
    consent,
    erasure,
    milestone,
    named,
    profile,
    risk_changed,
    snapshot,
)
from topics.catalog import CONDITIONS, HEALTH, MILESTONES, PROFILES, RISK_CHANGES
from topics.partitioner import partition_of
from topics.time import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator

SUPPLIERS = 40
PARTITIONS = 4
BATCH = 7
TOPICS = (PROFILES, HEALTH, RISK_CHANGES, MILESTONES, CONDITIONS)

Batch = tuple[str, list[Record]]
"""A topic and what was fetched of one partition of it."""


def batches(partition: int) -> dict[str, list[Batch]]:
    """Every topic's batches of one partition, in the log's order."""
    found: dict[str, list[Batch]] = {}
    for topic in TOPICS:
        records = [
            record for record in log(topic) if partition_of(record.key or b"", PARTITIONS) == partition
        ]
        for offset, record in enumerate(records):
            record.partition, record.offset, record.timestamp = partition, offset, MONDAY + offset
        found[topic] = [(topic, records[start : start + BATCH]) for start in range(0, len(records), BATCH)]
    return found


def shuffled(partition: int, seed: int) -> list[Batch]:
    """The batches of a partition, topics overtaking each other, each topic in its own order."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable shuffle
    queues = [list(queue) for queue in batches(partition).values() if queue]
    mixed = []
    while queues:
        queue = chance.choice(queues)
        mixed.append(queue.pop(0))
        queues = [queue for queue in queues if queue]
    return mixed


def log(topic: str) -> Iterator[Record]:
    """All records of a topic, the suppliers' taking turns."""
    for step in range(6):
        for number in range(SUPPLIERS):
            yield from at_step(topic, named("supplier", number), number, step)


def at_step(topic: str, supplier: str, number: int, step: int) -> Iterator[Record]:
    """What one supplier brings about on a topic at a step."""
    at = MONDAY + step * HOUR
    if topic == PROFILES and step < 2:
        yield profile(supplier, first_name=f"Name {step}", email=f"s{number}@example.com")
    if topic == PROFILES and step == 3 and erased(number):
        yield erasure(supplier)
    if topic == HEALTH:
        said = consent(email=number % 3 == step % 3, email_at=at if number % 2 else None)
        changes = [change(supplier, seq=step * 2 + part, at=at + part, score=30 + step) for part in (0, 1)]
        yield snapshot(supplier, seq=step * 2 + 1, at=at, score=30 + step, consent=said, changes=changes)
    if topic == RISK_CHANGES and step in {1, 4}:
        young = format_time(at - (5 if number % 2 else 50) * DAY)
        previous, level = ("healthy", "at_risk") if step == 1 else ("at_risk", "critical")
        yield risk_changed(previous, level, supplier=supplier, seq=step * 2, at=at, signed_up_at=young)
    if topic == MILESTONES and step == number % 6:
        yield milestone("first_form", supplier=supplier, seq=step * 2, at=at)
    if topic == CONDITIONS and step % 2 == 0:
        yield condition(supplier=supplier, seq=step * 2, at=at, occurrence=step // 2 + 1)


def erased(number: int) -> bool:
    """Whether this supplier asks to be erased."""
    return number % 8 == 0


STORED = {
    "suppliers": "SELECT id, email, first_name, email_opt_out, email_opt_out_at FROM suppliers",
    "customer_health": (
        "SELECT supplier_id, seq, calculated_at, health_score, risk_level, last_login, feature_adoption_score, "
        "breakdown::text, facts::text FROM customer_health"
    ),
    "health_history": "SELECT id, supplier_id, seq, at, score, risk_level, causes::text FROM health_history",
    "success_milestones": (
        "SELECT id, supplier_id, milestone_type, achieved_at, milestone_data::text FROM success_milestones"
    ),
    "success_interventions": (
        "SELECT id, supplier_id, trigger_condition, status, reason, due_at, not_before, signal_id, metadata::text "
        "FROM success_interventions"
    ),
    "erased_suppliers": "SELECT id_hash FROM erased_suppliers",
    # what was said of someone before they were erased depends on which topic was read first
    "outbox": "SELECT key, value FROM outbox WHERE note_id IS NULL AND key IN (SELECT id::text FROM suppliers)",
    "notes": "SELECT key, value, note_id, note_due_at FROM outbox WHERE note_id IS NOT NULL "
    "AND key IN (SELECT id::text FROM suppliers)",
}


def stored(database_url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All that must be the same however the batches came, by table."""
    with psycopg.connect(database_url) as conn:
        return {name: sorted(conn.execute(query).fetchall(), key=repr) for name, query in STORED.items()}
