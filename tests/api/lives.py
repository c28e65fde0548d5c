"""A supplier's life told event by event through the scoring machine, stored as the writer stores it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from scoring.health import machine
from scoring.health.signals import MILESTONE_ACHIEVED
from scoring.health.snapshot import snapshot
from scoring.health.state import State
from store import health, milestones, suppliers
from tests.agents.delivery.world import ERASURE_KEY, NOW, World
from tests.reference.events import event
from topics.time import format_time


class Life:
    """One supplier; times are ms before `NOW`, which is the clock of the API's tests."""

    def __init__(self, world: World, **profile: Any) -> None:
        self.world = world
        self.id = str(uuid4())
        self.state = State()
        self.profile = profile
        self.told = 0
        self.snapshots: list[dict[str, Any]] = []
        self.signals: list[Any] = []

    def happens(self, event_type: str, ago: int, *, times: int = 1, **data: Any) -> None:
        """So many events of this type, so long ago."""
        for _ in range(times):
            self.told += 1
            made = event(event_type, NOW - ago, f"e{self.told}", **data)
            self.signals += machine.apply(self.state, self.id, made)
        self.snapshots.append(snapshot(self.state, supplier_id=self.id))

    def passes(self, until_ago: int = 0) -> None:
        """Let time pass."""
        self.signals += machine.advance(self.state, self.id, NOW - until_ago)
        self.snapshots.append(snapshot(self.state, supplier_id=self.id))

    async def stored(self) -> str:
        """Store all that has happened; their id."""
        columns = dict.fromkeys(
            (
                "email",
                "phone",
                "first_name",
                "business_name",
                "vendor_type",
                "timezone",
                "locale",
                "plan",
                "signed_up_at",
            )
        )
        stamp = {"id": self.id, "offset": 0, "stamp": format_time(NOW)}
        reached = [
            {
                "id": signal.id,
                "supplier_id": self.id,
                "milestone": signal.data["milestone"],
                "at": format_time(signal.at),
                "data": signal.data,
            }
            for signal in self.signals
            if signal.type == MILESTONE_ACHIEVED
        ]
        async with self.world.pool.connection() as conn:
            await suppliers.lock(conn, [self.id], ERASURE_KEY)
            await suppliers.save_profiles(conn, [columns | stamp | self.profile])
            if self.snapshots:
                await health.save_snapshots(conn, {self.id: self.snapshots[-1]})
            changes = [change for each in self.snapshots for change in each["changes"]]
            await health.save_changes(conn, [{**change, "supplier_id": self.id} for change in changes])
            await milestones.save(conn, reached)
        return self.id
