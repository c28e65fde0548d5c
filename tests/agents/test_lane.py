"""When a lane flushes: at once, soon, seldom, and what is urgent before the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from faust.types import TP

from agents.batch_agent import LIVE_MS, Engine, FlushPolicy, Lane
from agents.record import Record
from agents.transport import Batch
from tests.agents.records import FakeRecord

HERE = TP("supplier.activity", 2)
NOW_MS = 1_790_000_000_000
POLICY = FlushPolicy(records=100, seconds=1.0, backlog_seconds=10.0, hold_records=100, rest=4.0)


class World:
    """A lane's surroundings, with a clock that tests turn."""

    policy = POLICY

    def __init__(self) -> None:
        self.now = 1_000.0
        self.at_the_end = False
        self.urgent = False
        self.flush_takes = 0.0
        self.log: list[tuple[str, float]] = []
        self.acked = 0
        self.engine = Engine(lambda _: self, HERE.topic, [], lambda *_: None, lambda: NOW_MS)
        self.engine.consumer = self
        self.engine.on_recovered({HERE.partition})
        self.lane: Lane = self.engine.lanes[HERE]
        self._offset = 0

    # --- what the lane asks of the transport and of its handler

    def hold(self, tp: TP) -> None:
        """It is never told to."""

    def release(self, tp: TP) -> None:
        """It is never told to."""

    def caught_up(self, tp: TP, next_offset: int) -> bool:
        del tp, next_offset
        return self.at_the_end

    def position(self) -> int | None:
        return 0

    async def add(self, records: Sequence[Record]) -> None:
        del records

    async def flush(self) -> None:
        self.log.append(("whole", self.now))
        self.now += self.flush_takes
        self.urgent = False

    def is_urgent(self) -> bool:
        return self.urgent

    async def flush_urgent(self) -> None:
        self.log.append(("urgent", self.now))
        self.urgent = False

    # --- what tests do

    def ack(self) -> None:
        self.acked += 1

    async def comes(self, *, behind_ms: int = 0) -> None:
        """A batch of one record, appended so long ago; returns when the lane has done all it would do now."""
        batch = Batch([FakeRecord(b"k", b"v", self._offset, NOW_MS - behind_ms)], self._offset)
        message: Any = type("Message", (), {"tp": HERE, "offset": self._offset})
        event: Any = type("Event", (), {"value": batch, "message": message, "ack": self.ack})
        self._offset += 1
        self.lane.put(event)
        await self.settles()

    async def passes(self, seconds: float) -> None:
        """Time passes, and the lane looks at the clock."""
        self.now += seconds
        self.lane.look_again()
        await self.settles()

    @staticmethod
    async def settles() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    def did(self) -> list[str]:
        """What was flushed since the last look."""
        done, self.log = [what for what, _ in self.log], []
        return done


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A lane that is open and has read nothing."""
    made = World()
    monkeypatch.setattr("agents.batch_agent.time", type("Time", (), {"monotonic": lambda: made.now}))
    yield made
    await made.lane.close()


async def test_a_lane_that_has_caught_up_flushes_and_acks_at_once(world: World) -> None:
    world.at_the_end = True
    await world.comes()
    assert (world.did(), world.acked) == (["whole"], 1)


async def test_one_that_keeps_up_flushes_after_a_second_though_more_comes(world: World) -> None:
    await world.comes()
    await world.passes(0.9)
    assert world.did() == []
    await world.passes(0.2)
    assert (world.did(), world.acked) == (["whole"], 1)


async def test_after_a_long_flush_it_rests_while_more_comes(world: World) -> None:
    world.at_the_end, world.flush_takes = True, 0.5
    await world.comes()
    await world.comes()
    await world.passes(1.9)
    assert world.did() == ["whole"]
    await world.passes(0.2)
    assert world.did() == ["whole"]


async def test_it_rests_no_longer_when_a_fetch_brings_nothing(world: World) -> None:
    world.at_the_end, world.flush_takes = True, 0.5
    await world.comes()
    await world.comes()
    assert world.did() == ["whole"]
    world.engine.on_fetched(something=False)
    await world.settles()
    assert (world.did(), world.acked) == (["whole"], 2)


async def test_what_is_urgent_waits_for_no_rest_and_is_not_acked_before_the_whole(world: World) -> None:
    world.at_the_end, world.flush_takes = True, 0.5
    await world.comes()
    world.urgent = True
    await world.comes()
    assert (world.did(), world.acked) == (["whole", "urgent"], 1)
    await world.passes(2.1)
    assert (world.did(), world.acked) == (["whole"], 2)


async def test_what_is_urgent_goes_out_four_times_a_second_while_more_comes(world: World) -> None:
    world.at_the_end, world.flush_takes = True, 2.0
    await world.comes()
    world.at_the_end = False
    world.did()
    for _ in range(3):
        world.urgent = True
        await world.comes()
        assert world.did() == []
        await world.passes(0.3)
        assert world.did() == ["urgent"]


@pytest.mark.parametrize("urgent", [False, True])
async def test_in_a_backlog_flushes_are_seldom_and_lanes_take_turns(world: World, urgent: bool) -> None:
    """The first is earlier than the others, by a different time on each of eight partitions."""
    waits = []
    for _ in range(3):
        world.urgent = urgent
        await world.comes(behind_ms=LIVE_MS)
        began = world.now
        while not world.log:
            await world.passes(0.25)
        waits.append(world.now - began)
        assert world.did() == ["whole"]
    assert waits == [(1 + HERE.partition) * 10.0 / 8, 10.0, 10.0]


async def test_a_lane_with_very_many_records_flushes_whatever_the_clock_says(world: World) -> None:
    for _ in range(POLICY.records):
        await world.comes(behind_ms=LIVE_MS)
    assert (world.did(), world.acked) == (["whole"], POLICY.records)


async def test_when_a_rebalance_begins_what_was_begun_is_flushed_at_once(world: World) -> None:
    world.at_the_end, world.flush_takes = True, 0.5
    await world.comes()
    await world.comes()
    world.did()
    world.engine.on_sources_closed()
    await world.settles()
    assert (world.did(), world.acked) == (["whole"], 2)
