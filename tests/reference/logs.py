"""Reading and writing topics in tests, and what a straight sequential fold makes of the same log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgspec
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from agents.cluster import rules_log
from agents.cluster.provisioning import STATE
from agents.health import stored_supplier as supplier_records
from agents.health.fold import GRACE_MS, PartitionFold
from agents.health.state_codec import META_KEY, StateHeader, newest
from agents.health.telling import tell
from bench.logs.reading import read_topic
from runtime.settings import Settings
from scoring.health.rules import SHIPPED
from scoring.health.state import TRANSIENT
from topics.catalog import (
    ACTIVITY,
    CONDITIONS,
    DEAD_LETTERS,
    HEALTH,
    MILESTONES,
    RISK_CHANGES,
    full_name,
)
from topics.partitioner import partition_of

SIGNALS = (RISK_CHANGES, MILESTONES, CONDITIONS)
GROUP = "success-worker"

PATIENCE_MS = 180_000
"""A broker that is killed and started again on a busy machine is waited for."""

Event = tuple[bytes, bytes]


async def publish(settings: Settings, events: Iterable[Event], per_second: float | None = None) -> int:
    """Publish (key, value) to supplier.activity in order, at a rate if one is given; how many."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka,
        enable_idempotence=True,
        linger_ms=5,
        max_request_size=2_000_000,
        request_timeout_ms=PATIENCE_MS,
    )
    await producer.start()
    topic = full_name(settings.topic_prefix, ACTIVITY)
    loop, count = asyncio.get_running_loop(), 0
    began = loop.time()
    try:
        for key, value in events:
            await producer.send(topic, value, key=key, partition=partition_of(key, settings.partitions))
            count += 1
            if per_second is not None and count % 50 == 0:
                await asyncio.sleep(max(0.0, began + count / per_second - loop.time()))
    finally:
        await producer.stop()
    return count


async def read(settings: Settings, name: str) -> list[list[ConsumerRecord[bytes, bytes]]]:
    """Everything in a topic, a list a partition."""
    return await read_topic(settings, full_name(settings.topic_prefix, name))


async def lag(settings: Settings, names: Iterable[str]) -> int:
    """How many records of these topics the workers have not committed yet."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    consumer: AIOKafkaConsumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka)
    await admin.start()
    await consumer.start()
    try:
        group = f"{settings.topic_prefix}{GROUP}"
        committed = await admin.list_consumer_group_offsets(group)
        partitions = [
            TopicPartition(full_name(settings.topic_prefix, name), number)
            for name in names
            for number in range(settings.partitions)
        ]
        ends = await consumer.end_offsets(partitions)
        return sum(end - max(0, committed[tp].offset if tp in committed else 0) for tp, end in ends.items())
    finally:
        await consumer.stop()
        await admin.close()


@dataclass
class Outcome:
    """What came of a log: to be the same however often workers were killed on the way."""

    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Each supplier's final state, without what it owes the next snapshot."""
    snapshots: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Each supplier's newest snapshot, without `changes` and `goals`."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Changes in the snapshots by id."""
    goals: dict[tuple[str, str, str], bool] = field(default_factory=dict)
    """(supplier, type, time) of the goal events that snapshots told of."""
    signals: dict[str, Any] = field(default_factory=dict)
    """Signals by id."""
    dead_letters: set[tuple[int, int, str]] = field(default_factory=set)
    """(partition, offset, reason code)"""
    repeats: int = 0
    """Signals that came again: same id, same content."""

    def add_states(self, values: Mapping[bytes, bytes]) -> None:
        """Take all suppliers' final states from the newest value of each key of the state topic."""
        for key, state in supplier_records.states(values):
            plain = {
                name: msgspec.to_builtins(getattr(state, name))
                for name in state.__struct_fields__
                if name not in TRANSIENT
            }
            self.states[key.decode()] = plain

    def add_snapshot(self, supplier: str, value: bytes) -> None:
        """Take a snapshot if it is newer than what there is."""
        data = orjson.loads(value)["data"]
        for change in data.pop("changes"):
            known = self.changes.setdefault(change["id"], change)
            assert known == change, f"change {change['id']} came with two contents: {known} and {change}"
        self.goals |= {
            (supplier, kind, at): True for kind, times in data.pop("goals").items() for at in times
        }
        old = self.snapshots.get(supplier)
        if old is None or data["seq"] >= old["seq"]:
            self.snapshots[supplier] = data

    def add_signal(self, value: bytes) -> None:
        """Take a signal; one id always has one content."""
        signal = orjson.loads(value)
        self.repeats += signal["id"] in self.signals
        known = self.signals.setdefault(signal["id"], signal)
        assert known == signal, f"signal {signal['id']} came with two contents: {known} and {signal}"

    def add_dead_letter(self, headers: Iterable[tuple[str, bytes]]) -> None:
        """Take a dead letter."""
        named = dict(headers)
        code = named["error"].decode().partition(":")[0]
        self.dead_letters.add((int(named["partition"]), int(named["offset"]), code))


async def sequential(settings: Settings) -> Outcome:
    """Fold the activity topic from start to end, partition by partition, in one go.

    Each partition goes over to other rules where the workers say they did. Then time moves to where the workers had it
    at their end: the wall clock counts where nothing comes.
    """
    outcome = Outcome()
    states, versions = await read(settings, STATE), await rules_log.read(settings)
    for number, records in enumerate(await read(settings, ACTIVITY)):
        fold = PartitionFold(number, settings.partitions, grace_ms=GRACE_MS, is_told=True)
        fold.recover({})
        tell(fold, versions, [SHIPPED])
        fold.process(records)
        tell(fold, versions, [SHIPPED])  # who went over behind the last record
        for _ in fold.bringing_up():
            pass
        if (meta := merged(states[number]).get(META_KEY)) is not None:
            fold.fire_due(StateHeader.of(meta).stream_time - GRACE_MS)
        flush = fold.take_flush()
        for key, value in flush.health:
            outcome.add_snapshot(key.decode(), value)
        for _, _, value in flush.signals:
            outcome.add_signal(value)
        for _, _, headers in flush.dead_letters:
            outcome.add_dead_letter(headers)
        outcome.add_states(dict(flush.changelog))
    return outcome


async def published(settings: Settings) -> Outcome:
    """What the workers have published and kept."""
    outcome = Outcome()
    for record in chain(*await read(settings, HEALTH)):
        outcome.add_snapshot(record.key.decode(), record.value)
    for name in SIGNALS:
        for record in chain(*await read(settings, name)):
            outcome.add_signal(record.value)
    for record in chain(*await read(settings, DEAD_LETTERS)):
        outcome.add_dead_letter(record.headers)
    for partition in await read(settings, STATE):
        outcome.add_states(merged(partition))
    return outcome


def merged(changelog: Iterable[ConsumerRecord[bytes, bytes]]) -> dict[bytes, bytes]:
    """What recovery makes of a partition of the state topic."""
    values: dict[bytes, bytes] = {}
    for record in changelog:
        values[record.key] = newest(values.get(record.key), record.value)
    return values


def differences(expected: Outcome, actual: Outcome) -> list[str]:
    """How the two differ, in words; empty when they are the same."""
    found = []
    for name in ("states", "snapshots", "changes", "goals", "signals"):
        wanted, got = getattr(expected, name), getattr(actual, name)
        missing, extra = wanted.keys() - got.keys(), got.keys() - wanted.keys()
        wrong = [key for key in wanted.keys() & got.keys() if wanted[key] != got[key]]
        if missing or extra or wrong:
            found.append(
                f"{name}: {len(missing)} missing, {len(extra)} extra, {len(wrong)} wrong of {len(wanted)}"
            )
            found += [f"  missing {wanted[key]}" for key in sorted(missing)[:2]]
            found += [f"  extra {got[key]}" for key in sorted(extra)[:2]]
            found += [f"  wanted {wanted[key]}\n  got    {got[key]}" for key in wrong[:2]]
    if expected.dead_letters != actual.dead_letters:
        found.append(f"dead letters: {sorted(expected.dead_letters ^ actual.dead_letters)[:6]}")
    return found
