"""Suppliers, rows and deliveries for the tests of delivery: a test names only what it is about."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4, uuid5

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from agents.delivery.round import Delivery
from runtime.clock import ManualClock
from runtime.keys import Keys
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from scoring.time import DAY, MINUTE
from store import health, milestones, outbox, suppliers
from store.audit import Actor
from store.messages import interventions
from store.people import calls, holds
from topics.time import format_time, parse_time

NOW = parse_time("2026-01-19T09:00:00Z")
ERASURE_KEY = Keys("erasure key of the tests")


class World:
    """One database with its deliveries."""

    def __init__(
        self,
        settings: Settings,
        pool: AsyncConnectionPool[AsyncConnection],
        clock: ManualClock,
        policy: Policy,
    ) -> None:
        self.settings = settings
        self.pool = pool
        self.clock = clock
        self.policy = policy
        self._deliveries: list[Delivery] = []

    def delivery(self, **options: Any) -> Delivery:
        """Another delivery, as another process would have it."""
        made = Delivery(self.settings, self.pool, self.clock, self.policy, **options)
        self._deliveries.append(made)
        return made

    async def close(self) -> None:
        """Close all deliveries."""
        for each in self._deliveries:
            await each.aclose()

    async def supplier(self, **profile: Any) -> str:
        """A supplier with a profile, at risk, with five clients; keywords replace columns of the profile."""
        supplier_id = str(uuid4())
        await self.profile(supplier_id, **profile)
        await self.health(supplier_id)
        return supplier_id

    async def profile(self, supplier_id: str, **profile: Any) -> None:
        """Store a profile; keywords replace columns of it."""
        columns = {
            "id": supplier_id,
            "email": "photographer@example.com",
            "first_name": "Sarah",
            "business_name": "Golden Hour Weddings",
            "vendor_type": "photographer",
            "timezone": "Europe/London",
            "locale": "en-GB",
            "plan": "free",
            "signed_up_at": format_time(NOW - 14 * DAY),
            "offset": 0,
            "stamp": format_time(NOW),
        } | profile
        async with self.pool.connection() as conn:
            await suppliers.lock(conn, [supplier_id], ERASURE_KEY)
            await suppliers.save_profiles(conn, [columns])

    async def health(self, supplier_id: str, **data: Any) -> None:
        """Store a snapshot; keywords replace parts of it."""
        snapshot = {
            "seq": 10,
            "calculated_at": format_time(NOW),
            "score": 48,
            "sum": 47.5,
            "level": "at_risk",
            "breakdown": {
                "loginFrequency": 20,
                "featureAdoption": 12.5,
                "clientActivity": 10,
                "formCompletion": 5,
                "journeyPerformance": 0,
            },
            "metrics": {
                "loginFrequency": 8,
                "featureAdoption": 0.5,
                "clientActivity": 0.4,
                "formCompletion": 0.5,
                "journeyPerformance": 0,
            },
            "features": ["clients_imported", "forms_created"],
            "clients": {"known": 5, "active": 2},
            "forms": {"created": 1, "sent": 2, "completed": 1},
            "journeys": {"active": 0, "sent": 0, "opened": 0},
            "last_login": format_time(NOW - 8 * DAY),
            "signed_up_at": format_time(NOW - 30 * DAY),
            "plan": "free",
            "cancelled": False,
            "last_goals": {},
            "next_change_at": None,
            "churn_probability": 0.4,
        } | data
        async with self.pool.connection() as conn:
            await health.save_snapshots(conn, {supplier_id: snapshot})

    async def row(self, supplier_id: str, trigger: str, **given: Any) -> str:
        """A scheduled row of `trigger`, due now; `signal` is its signal's data, the rest are columns."""
        rule = self.policy.trigger(trigger)
        assert rule is not None
        kind, _, name = rule.cause.partition(":")
        signal: dict[str, Any] = {"type": f"success.{kind}", "seq": 10, "occurrence": 1} | given.pop(
            "signal", {}
        )
        if kind == "milestone":
            signal = {"milestone": name, "cause_type": "form.created"} | signal
        signal_id = str(uuid4())
        signal_at = given.pop("signal_at", self.clock.now_ms())
        row = {
            "id": str(uuid5(UUID(signal_id), trigger)),
            "supplier_id": supplier_id,
            "trigger": trigger,
            "channel": rule.channel,
            "template": rule.template,
            "kind": rule.kind,
            "priority": rule.priority,
            "status": "scheduled",
            "reason": None,
            "due_at": format_time(signal_at + rule.delay_ms),
            "signal_id": signal_id,
            "signal_at": format_time(signal_at),
            "seq": signal["seq"],
            "metadata": {"signal": signal},
            "created_at": format_time(signal_at),
        } | given
        async with self.pool.connection() as conn:
            await interventions.add(conn, [row])
            if kind == "milestone":
                await milestones.save(
                    conn,
                    [
                        {
                            "id": signal_id,
                            "supplier_id": supplier_id,
                            "milestone": name,
                            "at": format_time(signal_at),
                            "data": {},
                        }
                    ],
                )
        return str(row["id"])

    async def call(self, supplier_id: str, starts_at: int) -> str:
        """A booked call of 15 minutes, whose invitation waits; returns the call's id."""
        call = calls.Call(
            id=str(uuid4()),
            supplier_id=supplier_id,
            interaction_type="onboarding_call",
            status="scheduled",
            scheduled_at=starts_at,
            ends_at=starts_at + 15 * MINUTE,
            completed_at=None,
            duration_minutes=None,
            agent_id=None,
            notes=None,
            outcome=None,
            satisfaction_score=None,
            preferred_times=(starts_at,),
            urgency="medium",
            sequence=0,
            intervention_id=None,
            created_at=self.clock.now_ms(),
        )
        async with self.pool.connection() as conn:
            assert await calls.add(conn, call)
            await calls.queue_mail(conn, call, "REQUEST", self.clock.now_ms())
        return call.id

    async def invitation(self, call_id: str) -> dict[str, Any]:
        """The queued email about a call."""
        [found] = await self.query("SELECT * FROM transactional_mails WHERE call_id = %s", call_id)
        return found

    async def repeat(self, row_id: str) -> None:
        """The signal of a row once more, as the intervention agent writes it after a crash."""
        found = await self.find(row_id)
        times = {name: format_time(round(found[name].timestamp() * 1000)) for name in ("due_at", "signal_at")}
        row = {
            "id": row_id,
            "supplier_id": str(found["supplier_id"]),
            "trigger": found["trigger_condition"],
            "channel": found["intervention_type"],
            "template": found["template_used"],
            "kind": found["kind"],
            "priority": found["priority"],
            "status": "scheduled",
            "reason": None,
            "signal_id": str(found["signal_id"]),
            "seq": found["seq"],
            "metadata": {"signal": found["metadata"]["signal"]},
            "created_at": times["signal_at"],
        } | times
        async with self.pool.connection() as conn:
            await interventions.add(conn, [row])

    async def hold(self, supplier_id: str, *, is_held: bool) -> None:
        """An agent holds all messages to a supplier, or releases them."""
        agent = Actor("agent", "emma")
        async with self.pool.connection() as conn:
            if is_held:
                await holds.hold(conn, agent, supplier_id, self.clock.now_ms(), "talks to us")
            else:
                await holds.release(conn, agent, supplier_id, self.clock.now_ms())

    async def find(self, row_id: str) -> dict[str, Any]:
        """All columns of a row."""
        found = await self.query("SELECT * FROM success_interventions WHERE id = %s", row_id)
        return found[0]

    async def status(self, row_id: str) -> tuple[str, str | None]:
        """Status and reason of a row."""
        found = await self.find(row_id)
        return found["status"], found["reason"]

    async def query(self, text: str, *parameters: Any) -> list[dict[str, Any]]:
        """Rows of a query as dicts."""
        async with self.pool.connection() as conn, conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(text.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def events(self) -> list[dict[str, Any]]:
        """What the outbox holds for the topics, decoded, in order."""
        return [
            json.loads(found["value"])
            for found in await self.query("SELECT value FROM outbox WHERE note_id IS NULL ORDER BY id")
        ]

    async def published(self, delivery: Delivery) -> list[outbox.Event]:
        """Publish the outbox to a list."""
        sent: list[outbox.Event] = []

        async def send(events: Any) -> None:
            sent.extend(events)

        await delivery.publish_outbox(send)
        return sent
