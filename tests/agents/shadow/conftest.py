"""A live pipeline without Kafka, and shadows beside it: fold, writer, delivery, one clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from agents.delivery.round import Delivery
from agents.health.fold import PartitionFold
from agents.interventions.writer import InterventionWriter
from agents.shadow.shadow import Shadow
from replay.simulator.simulate import population
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from scoring.time import DAY, HOUR
from store.database import Role, open_pool
from tests.agents.delivery.conftest import settings
from tests.agents.interventions.factory import Record
from topics.catalog import HEALTH, PROFILES
from topics.lines import read_line
from topics.time import parse_time

__all__ = ["settings"]

START = parse_time("2026-01-05T00:00:00Z")
STEP = 6 * HOUR


@dataclass
class Live:
    """The live pipeline; `shadows` get what it gets, at the same moments."""

    settings: Settings
    clock: ManualClock
    writer: InterventionWriter
    delivery: Delivery
    reader: AsyncConnectionPool[Any]
    shadows: list[Shadow]

    def add_shadow(self, policy: Policy, name: str = "shadow.toml", **options: Any) -> Shadow:
        """A shadow with a policy, which is seen at once."""
        made = Shadow(self.reader, self.clock, policy, name, self.settings.keys("secret_key"), **options)
        self.shadows.append(made)
        return made

    async def play(self, suppliers: int, days: int, seed: int = 4) -> None:
        """So many simulated suppliers for so many days, in steps of six hours."""
        fold = PartitionFold(0, 1, append_time=lambda _record: 1 << 60, grace_ms=None)
        lines = [read_line(orjson.dumps(line)) for line in population(suppliers, days, seed, START)]
        events = []
        for topic, key, value in lines:
            if topic == PROFILES:
                await self.writer.write(PROFILES, [Record(key, value, offset=len(events))])
            else:
                events.append(Record(key, value, offset=len(events)))
        times = [parse_time(orjson.loads(record.value)["time"]) for record in events]
        done = 0
        for shadow in self.shadows:
            self.clock.advance_to(START)
            await shadow.be_seen()
        for end in range(START + STEP, START + days * DAY + 1, STEP):
            upto = next((place for place in range(done, len(times)) if times[place] > end), len(times))
            fold.process(events[done:upto])
            fold.fire_due(end)
            done = upto
            flush = fold.take_flush()
            fold.confirm(flush)
            await self._hand_over(flush, end)
        for shadow in self.shadows:
            await shadow.be_seen()

    async def _hand_over(self, flush: Any, end: int) -> None:
        self.clock.advance_to(end)
        by_topic: dict[str, list[Record]] = {}
        for topic, key, value in flush.signals:
            by_topic.setdefault(topic, []).append(Record(key, value, topic=topic))
        await self.writer.write(HEALTH, [Record(key, value, topic=HEALTH) for key, value in flush.health])
        for topic, records in by_topic.items():
            await self.writer.write(topic, records)
            for shadow in self.shadows:
                await shadow.take(topic, records)
        await self.decide()

    async def decide(self) -> None:
        """Let delivery and shadows decide what is due now."""
        await self.delivery.deliver_due()
        for shadow in self.shadows:
            await shadow.decide_due()

    def select(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Rows as dicts, as the owner sees them."""
        with psycopg.connect(self.settings.database_url, row_factory=dict_row) as conn:
            return conn.execute(query.encode(), values).fetchall()


@pytest.fixture
def policy() -> Policy:
    """The default policy."""
    return Policy.load()


@pytest.fixture
async def live(settings: Settings, policy: Policy) -> AsyncIterator[Live]:
    """A live pipeline on a database of its own, with a real mail server, on Monday at midnight."""
    async with AsyncExitStack() as stack:
        clock = ManualClock(START)
        pool = await open_pool(settings.database_url, Role.WRITER)
        stack.push_async_callback(pool.close)
        reader = await open_pool(settings.database_url, Role.READER)
        stack.push_async_callback(reader.close)
        delivery = Delivery(settings, pool, clock, policy)
        stack.push_async_callback(delivery.aclose)
        writer = InterventionWriter(pool, clock, policy, settings.keys("secret_key"))
        yield Live(settings, clock, writer, delivery, reader, [])


@pytest.fixture
def gentler(policy: Policy) -> Policy:
    """The default policy with at most one message a week and no offer of a call."""
    caps = policy.caps.model_copy(update={"total": 1, "positive": 1})
    triggers = tuple(each for each in policy.triggers if each.name != "became_critical")
    return policy.model_copy(update={"caps": caps, "triggers": triggers})
