"""The intervention agent's writer: profiles, snapshots and signals become rows in Postgres.

Framework-free: whoever reads the topics hands over batches. Every batch may come again, and topics may
overtake each other; the rows end up the same (tests/agents_interventions).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from psycopg import DataError, IntegrityError, errors

from agents.feedback import tell
from agents.intervention_rows import events_of, milestone_of, rows_of
from agents.profiles import ProfileRecord, erased_and_newest, read_profile
from agents.received import SignalRecord, read_signal
from store import feedback, health, interventions, milestones, outbox, suppliers
from topics.catalog import HEALTH, MILESTONES, PROFILES
from topics.dead_letters import dead_letter_headers
from topics.outcome import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from agents.received import Record
    from agents.record import DeadLetter
    from runtime.clock import Clock
    from scoring.policy import Policy

DEADLOCK_ATTEMPTS = 5


class InterventionWriter:
    """Writes what the topics say into Postgres, a transaction a batch.

    `pool`: connections in the role `success_writer`. `erasure_key`: the key of the hashes by which erased
    suppliers are remembered. `dead_letters`: what could not be stored; send it before acking the batch.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool[AsyncConnection],
        clock: Clock,
        policy: Policy,
        erasure_key: bytes,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._policy = policy
        self._erasure_key = erasure_key
        self.dead_letters: list[DeadLetter] = []

    async def write(self, topic: str, records: Sequence[Record]) -> None:
        """Store a batch of one topic (the catalogue's name, without prefix); returns once it is committed.

        Records of one supplier must be in the log's order. After an exception nothing of it is stored.
        """
        received: list[ProfileRecord | SignalRecord] = []
        refused: list[tuple[Record, str]] = []
        for record in records:
            verdict = read_profile(record) if topic == PROFILES else read_signal(topic, record)
            if isinstance(verdict, Refusal):
                refused.append((record, verdict.reason))
            else:
                received.append(verdict)
        if received:
            refused += await self._store(topic, received)
        self.dead_letters += [_dead_letter(topic, record, reason) for record, reason in refused]

    async def _store(
        self, topic: str, received: Sequence[ProfileRecord | SignalRecord]
    ) -> list[tuple[Record, str]]:
        """Store all of them, or, where Postgres refuses a value, all but those that it refuses."""
        for attempt in range(1, DEADLOCK_ATTEMPTS + 1):
            try:
                async with self._pool.connection() as conn:
                    await self._save(conn, topic, received)
            except (DataError, IntegrityError):
                return await self._store_one_by_one(topic, received)
            except errors.DeadlockDetected:
                # Delivery and the API take their locks in their own order; we were picked to give way.
                if attempt == DEADLOCK_ATTEMPTS:
                    raise
            else:
                break
        return []

    async def _store_one_by_one(
        self, topic: str, received: Sequence[ProfileRecord | SignalRecord]
    ) -> list[tuple[Record, str]]:
        refused = []
        async with self._pool.connection() as conn:
            for each in sorted(received, key=lambda one: one.supplier_id):  # the order of locks
                try:
                    async with conn.transaction():
                        await self._save(conn, topic, [each])
                except (DataError, IntegrityError) as error:
                    # Postgres' own message may repeat the value, so it stays out of the dead letter.
                    refused.append((each.record, f"wrong_field: Postgres refused it ({error.sqlstate})"))
        return refused

    async def _save(
        self, conn: AsyncConnection, topic: str, received: Sequence[ProfileRecord | SignalRecord]
    ) -> None:
        wanted = {each.supplier_id for each in received}
        known = await suppliers.lock(conn, wanted, self._erasure_key)
        profiles = [
            each for each in received if isinstance(each, ProfileRecord) and each.supplier_id in known
        ]
        signals = [each for each in received if isinstance(each, SignalRecord) and each.supplier_id in known]
        if profiles:
            await self._save_profiles(conn, profiles)
        if signals and topic == HEALTH:
            await self._save_snapshots(conn, signals)
        elif signals:
            await self._save_signals(conn, topic, signals)

    async def _save_profiles(self, conn: AsyncConnection, profiles: Sequence[ProfileRecord]) -> None:
        erased, newest = erased_and_newest(profiles)
        await suppliers.save_profiles(conn, list(newest.values()))
        if erased:
            await suppliers.erase(conn, erased, self._erasure_key, self._now())
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
        await tell(conn, await feedback.convert(conn, newest, self._policy))
        await interventions.wake_delivery(conn)

    async def _save_signals(self, conn: AsyncConnection, topic: str, signals: Sequence[SignalRecord]) -> None:
        if topic == MILESTONES:
            await milestones.save(conn, [milestone_of(signal) for signal in signals])
        now_ms = self._clock.now_ms()
        rows = rows_of(signals, self._policy, now_ms)
        added = await interventions.add(conn, list(rows.values()))
        if added:
            await outbox.add(
                conn, list(events_of([row for row in rows.values() if row["id"] in added], now_ms))
            )
            await interventions.wake_delivery(conn)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)


def _dead_letter(topic: str, record: Record, reason: str) -> DeadLetter:
    """The record as it came, with the reason; of a profile without its value, which is personal."""
    headers = dead_letter_headers(
        reason, record.topic, record.partition, record.offset, tuple(record.headers)
    )
    return record.key, None if topic == PROFILES else record.value, headers
