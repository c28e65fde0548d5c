"""The intervention agent's writer: profiles, snapshots and signals become rows in Postgres.

Framework-free: whoever reads the topics hands over batches. Every batch may come again, and topics may
overtake each other; the rows end up the same (tests/agents_interventions).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from psycopg import DataError, IntegrityError, errors

from agents.acts.events import tell
from agents.interventions import traced
from agents.interventions.profiles import (
    ProfileRecord,
    Tombstones,
    addresses_left,
    erased_and_newest,
    read_profile,
)
from agents.interventions.received import SignalRecord, read_signal
from agents.interventions.rows import events_of, milestone_of, notes_of, rows_of, version_of
from runtime import metrics
from runtime.configuration import vocabulary_of
from store import health, milestones, outbox, suppliers
from store.messages import feedback, interventions
from store.people import consent
from topics.catalog import HEALTH, MILESTONES, PROFILES
from topics.envelope import UUID_PATTERN
from topics.outcome import Refusal, dead_letter, unreadable_by_kafka

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from agents.engine.record import DeadLetter
    from agents.interventions.received import Record
    from runtime.clock import Clock
    from runtime.keys import Keys
    from scoring.decisions.policy import Policy
    from topics.activity_types import Vocabulary
    from topics.partitioner import Homes

DEADLOCK_ATTEMPTS = 5


class PolicyOf(Protocol):
    """Who knows the policy of each version."""

    async def policy(self, number: int, own: Policy) -> Policy:
        """The policy of a version, `own` where nothing was activated."""
        ...


class InterventionWriter:
    """Writes what the topics say into Postgres, a transaction a batch.

    `pool`: connections in the role `success_writer`. `keys`: of the hashes by which erased suppliers and addresses are
    remembered. `homes`: where profiles have to lie; None where nobody judges that. `policy`: in force where nothing was
    activated; `policies` knows those of versions. `dead_letters`: what could not be
    stored, `tombstones`: addresses that are to leave `supplier.profiles`; send both before acking the batch.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool[AsyncConnection],
        clock: Clock,
        policy: Policy,
        keys: Keys,
        homes: Homes | None = None,
        policies: PolicyOf | None = None,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._own_policy = policy
        self._policies = policies
        self._known: dict[int, Policy] = {}
        self._keys = keys
        self._homes = homes
        self.dead_letters: list[DeadLetter] = []
        self.tombstones: Tombstones = {}

    async def write(self, topic: str, records: Sequence[Record]) -> None:
        """Store a batch of one topic (the catalogue's name, without prefix); returns once it is committed.

        Records of one supplier must be in the log's order. After an exception it is to be written again.
        """
        received: list[ProfileRecord | SignalRecord] = []
        refused: list[tuple[Record, str]] = []
        vocabulary = vocabulary_of(self._policy.rules)
        for record in records:
            verdict = self._read(topic, record, vocabulary)
            if verdict is None:
                continue
            if isinstance(verdict, Refusal):
                refused.append((record, verdict.reason))
                continue
            received.append(verdict)
            if isinstance(verdict, ProfileRecord) and verdict.refused is not None:
                refused.append((record, verdict.refused.reason))
        if received:
            await self._know_versions(received)
            refused += await self._store(topic, received)
            self._count(topic, received)
        if topic == PROFILES:
            await self._tidy([record for record, _ in refused])
        self.dead_letters += [_dead_letter(topic, record, reason) for record, reason in refused]

    async def _know_versions(self, received: Sequence[ProfileRecord | SignalRecord]) -> None:
        """Have the policy of every version that these speak of; waiting for one is no part of a transaction."""
        spoken_of = {version_of(each) for each in received if isinstance(each, SignalRecord)}
        for number in spoken_of - self._known.keys():
            if self._policies is None:
                self._known[number] = self._own_policy
            else:
                self._known[number] = await self._policies.policy(number, self._own_policy)

    @property
    def _policy(self) -> Policy:
        """The newest that was heard of."""
        return self._known[max(self._known)] if self._known else self._own_policy

    def _count(self, topic: str, stored: Sequence[ProfileRecord | SignalRecord]) -> None:
        took, now_ms = metrics.TO_ROW.labels(topic), self._clock.now_ms()
        for each in stored:
            if isinstance(each, SignalRecord):
                took.observe(max(0, now_ms - each.at) / 1000)

    def _read(
        self, topic: str, record: Record, vocabulary: Vocabulary
    ) -> ProfileRecord | SignalRecord | Refusal | None:
        """What a record says; None for one that is to be passed over."""
        if refusal := unreadable_by_kafka(record.headers):
            return refusal
        if topic == PROFILES:
            return read_profile(record, self._homes, vocabulary)
        return read_signal(topic, record)

    async def _store(
        self, topic: str, received: Sequence[ProfileRecord | SignalRecord]
    ) -> list[tuple[Record, str]]:
        """Store all of them, or, where Postgres refuses a value, all but those that it refuses.

        A batch that is refused is halved, each half a transaction of its own, until what is refused stands alone: a
        value costs itself, and nobody waits for locks longer than a batch takes.
        """
        for attempt in range(1, DEADLOCK_ATTEMPTS + 1):
            try:
                async with self._pool.connection() as conn, conn.pipeline():
                    written = await self._save(conn, topic, received)
                    await conn.commit()
                if written is not None:
                    traced.end(*written)
            except (DataError, IntegrityError) as error:
                if len(received) == 1:
                    # Postgres' own message may repeat the value, so it stays out of the dead letter.
                    return [(received[0].record, f"wrong_field: Postgres refused it ({error.sqlstate})")]
                middle = len(received) // 2
                return [
                    *await self._store(topic, received[:middle]),
                    *await self._store(topic, received[middle:]),
                ]
            except errors.DeadlockDetected:
                # Delivery and the API take their locks in their own order; we were picked to give way.
                if attempt == DEADLOCK_ATTEMPTS:
                    raise
            else:
                break
        return []

    async def _save(
        self, conn: AsyncConnection, topic: str, received: Sequence[ProfileRecord | SignalRecord]
    ) -> tuple[traced.Spans, list[dict[str, Any]]] | None:
        """Save all of it; of signals the spans and the rows that are new."""
        wanted = {each.supplier_id for each in received}
        known = await suppliers.lock(conn, wanted, self._keys)
        profiles = []
        for each in received:
            if isinstance(each, ProfileRecord):
                if each.supplier_id in known:
                    profiles.append(each)
                elif each.columns is not None:  # they were erased before
                    self.tombstones[each.record.partition, each.supplier_id.encode()] = None
                if each.columns is None:
                    self.tombstones |= addresses_left(each, self._homes)
        signals = [each for each in received if isinstance(each, SignalRecord) and each.supplier_id in known]
        if profiles:
            await self._save_profiles(conn, profiles)
        if signals and topic == HEALTH:
            await self._save_snapshots(conn, signals)
        elif signals:
            return await self._save_signals(conn, topic, signals)
        return None

    async def _tidy(self, refused: Sequence[Record]) -> None:
        """What was refused on another partition than its own, of suppliers who were erased, leaves it."""
        keys = {
            record.key.decode()
            for record in refused
            if record.value and record.key and re.fullmatch(UUID_PATTERN.encode(), record.key)
        }
        if not keys or self._homes is None:
            return
        async with self._pool.connection() as conn:
            erased = await suppliers.erased_among(conn, keys, self._keys)
        for record in refused:
            if record.key and record.value and record.key.decode(errors="replace") in erased:
                self.tombstones[record.partition, record.key] = None

    async def _save_profiles(self, conn: AsyncConnection, profiles: Sequence[ProfileRecord]) -> None:
        erased, newest = erased_and_newest(profiles)
        await suppliers.save_profiles(conn, list(newest.values()))
        await consent.hold_addresses(conn, newest, self._keys)
        if erased:
            await suppliers.erase(conn, erased, self._keys, self._now())
        await interventions.wake_delivery(conn)

    async def _save_snapshots(self, conn: AsyncConnection, snapshots: Sequence[SignalRecord]) -> None:
        newest: dict[str, SignalRecord] = {}
        changes = {}
        for snapshot in snapshots:
            before = newest.setdefault(snapshot.supplier_id, snapshot)
            if snapshot.data["seq"] >= before.data["seq"]:
                newest[snapshot.supplier_id] = snapshot
            for change in snapshot.data["changes"]:
                changes[change["id"]] = {**change, "supplier_id": snapshot.supplier_id}
        await health.save_snapshots(conn, {key: snapshot.data for key, snapshot in newest.items()})
        await health.save_changes(conn, list(changes.values()))
        await suppliers.save_consent(
            conn, [{"supplier_id": key, **snapshot.data["consent"]} for key, snapshot in newest.items()]
        )
        spoke = [key for key, snapshot in newest.items() if snapshot.data["consent"]["email_at"]]
        if spoke:
            await consent.hold_addresses(conn, spoke, self._keys)
        goals = {key: snapshot.data.get("last_goals", {}) for key, snapshot in newest.items()}
        await tell(conn, await feedback.convert_new(conn, goals, self._policy))
        await interventions.wake_delivery(conn)

    async def _save_signals(
        self, conn: AsyncConnection, topic: str, signals: Sequence[SignalRecord]
    ) -> tuple[traced.Spans, list[dict[str, Any]]]:
        if topic == MILESTONES:
            await milestones.save(conn, [milestone_of(signal) for signal in signals])
        now_ms = self._clock.now_ms()
        await outbox.add_notes(conn, list(notes_of(signals, self._known.__getitem__, now_ms)))
        rows = rows_of(signals, self._known.__getitem__, now_ms)
        spans = traced.begin(rows.values(), signals)
        added = await interventions.add(conn, list(rows.values()))
        new = [row for row in rows.values() if row["id"] in added]
        for row in new:
            metrics.count_intervention(row["status"], row["reason"], row["template"])
        if new:
            await outbox.add(conn, list(events_of(new, now_ms)))
            await interventions.wake_delivery(conn)
        return spans, new

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)


def _dead_letter(topic: str, record: Record, reason: str) -> DeadLetter:
    """The record as it came, with the reason; of a profile without its value, which is personal."""
    place = record.topic, record.partition, record.offset
    value = None if topic == PROFILES else record.value
    return dead_letter(reason, place, record.key, value, record.headers)
