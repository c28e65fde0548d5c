"""When a lane flushes: at once, soon, seldom, and what is urgent before the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from faust.types import TP

from agents.engine.engine import Engine
from agents.engine.lane import LIVE_MS, WAITING_BYTES, FlushPolicy, Lane
from agents.engine.record import Batch, Record
from agents.health.state_codec import newest
from runtime.away import Passing
from tests.agents.health.records import FakeRecord

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
        self.added: list[int] = []
        self.held = False
        self.fails: Exception | None = None
        self.may_add = asyncio.Event()
        self.may_add.set()
        self.engine = Engine(lambda _: self, HERE.topic, [], newest, lambda *_: None, lambda: NOW_MS)
        self.engine.consumer = self
        self.engine.on_recovered({HERE.partition})
        self.lane: Lane = self.engine.lanes[HERE]
        self._offset = 0

    # --- what the lane asks of the transport and of its handler

    def hold(self, tp: TP) -> None:
        assert (tp, self.held) == (HERE, False)
        self.held = True

    def release(self, tp: TP) -> None:
        assert (tp, self.held) == (HERE, True)
        self.held = False

    def caught_up(self, tp: TP, next_offset: int) -> bool:
        del tp, next_offset
        return self.at_the_end

    def position(self) -> int | None:
        return 0

    async def add(self, records: Sequence[Record]) -> None:
        await self.may_add.wait()
        self.added.append(len(records))

    tried = 0
    hangs: asyncio.Event | None = None

    async def flush(self) -> None:
        self.tried += 1
        if self.fails is not None:
            raise self.fails
        if self.hangs is not None:
            await self.hangs.wait()
        self.log.append(("whole", self.now))
        self.now += self.flush_takes
        self.urgent = False

    def is_urgent(self) -> bool:
        return self.urgent

    async def flush_urgent(self) -> None:
        self.log.append(("urgent", self.now))
        self.urgent = False

    gives_back = True
    rests = 0
    """How often the rest was flushed."""

    async def flush_rest(self) -> None:
        self.rests += 1

    def away(self, error: Exception) -> Passing | None:
        return Passing("Postgres", str(error)) if isinstance(error, TimeoutError) else None

    # --- what tests do

    def ack(self) -> None:
        self.acked += 1

    async def comes(self, *, behind_ms: int = 0) -> None:
        """A batch of one record, appended so long ago; returns when the lane has done all it would do now."""
        self.fetched(1, behind_ms=behind_ms)
        await self.settles()

    def fetched(self, records: int, size: int = 1, behind_ms: int = 0) -> None:
        """A batch of so many records, each of so many bytes."""
        at = NOW_MS - behind_ms
        offsets = range(self._offset, self._offset + records)
        batch = Batch([FakeRecord(b"k", bytes(size), offset, at) for offset in offsets], self._offset)
        message: Any = type("Message", (), {"tp": HERE, "offset": offsets[-1]})
        event: Any = type("Event", (), {"value": batch, "message": message, "ack": self.ack})
        self._offset += records
        self.lane.put(event)

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
    monkeypatch.setattr(
        "agents.engine.lane.time", type("Time", (), {"monotonic": lambda: made.now, "time": lambda: made.now})
    )
    yield made
    made.may_add.set()
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


# --- what waits is bounded, and so is what is flushed


async def test_a_partition_is_not_read_while_many_bytes_of_few_records_wait(world: World) -> None:
    world.may_add.clear()
    await world.comes()  # the lane is at work
    world.fetched(3, POLICY.hold_bytes // 4)
    assert not world.held
    world.fetched(1, POLICY.hold_bytes // 4)
    assert world.held
    world.may_add.set()
    await world.settles()
    assert not world.held
    assert world.engine.waiting_bytes == 0


async def test_nor_while_many_records_wait(world: World) -> None:
    world.may_add.clear()
    await world.comes()
    world.fetched(POLICY.hold_records)
    assert world.held


async def test_when_much_waits_in_all_lanes_those_with_little_are_read_on(world: World) -> None:
    world.may_add.clear()
    await world.comes()
    world.engine.waiting_bytes = WAITING_BYTES
    world.fetched(1, POLICY.hold_bytes // 20)
    assert not world.held
    world.fetched(1, POLICY.hold_bytes // 20)
    assert world.held
    world.may_add.set()
    await world.settles()
    assert not world.held, "nothing waits here, whatever the others do"


async def test_a_partition_that_was_held_when_a_rebalance_began_is_read_after_it(world: World) -> None:
    world.may_add.clear()
    await world.comes()
    world.fetched(1, POLICY.hold_bytes)
    world.lane.drop_waiting()
    assert (world.held, world.engine.waiting_bytes) == (False, 0)
    world.may_add.set()


async def test_a_fetch_larger_than_a_flush_may_be_is_flushed_in_parts_and_acked_once(world: World) -> None:
    world.fetched(2 * POLICY.records + 1)
    await world.settles()
    assert world.added == [POLICY.records, POLICY.records, 1]
    assert (world.did(), world.acked) == (["whole", "whole"], 0)
    await world.passes(1.1)
    assert (world.did(), world.acked) == (["whole"], 1)
    assert world.engine.progress[HERE] == 2 * POLICY.records


async def test_a_fetch_of_many_bytes_too_and_a_single_record_may_be_larger(world: World) -> None:
    world.fetched(1, 2 * POLICY.bytes)
    world.fetched(3, POLICY.bytes // 3)
    await world.settles()
    assert world.added == [1, 2, 1]


async def test_what_was_handled_before_is_flushed_and_acked_before_more_than_fits_is_added(
    world: World,
) -> None:
    world.fetched(POLICY.records // 2)
    await world.settles()
    world.fetched(POLICY.records)
    await world.settles()
    assert (world.did(), world.acked) == (["whole", "whole"], 2)


async def test_a_rebalance_does_not_wait_for_the_rest_of_a_large_fetch(world: World) -> None:
    """What is left off is not acked, and read again."""
    world.may_add.clear()
    world.fetched(3 * POLICY.records)
    await world.settles()
    world.engine.on_sources_closed()
    draining = asyncio.ensure_future(world.engine.drain())
    world.may_add.set()
    await draining
    assert world.rests == 1
    assert world.added == [POLICY.records]
    assert (world.did(), world.acked, world.lane.next_offset) == (["whole"], 0, POLICY.records)


# --- what a handler writes to is away


@pytest.fixture
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.away.BackOff.next", lambda _: 0.0)


@pytest.mark.usefixtures("_without_pauses")
async def test_a_lane_waits_for_what_is_away_then_flushes_and_acks(world: World) -> None:
    world.at_the_end, world.fails = True, TimeoutError("no route")
    await world.comes()
    assert world.lane.wait.waiting_for == Passing("Postgres", "no route")
    assert (world.did(), world.acked, world.engine.failure) == ([], 0, None)
    world.fails = None
    await world.settles()
    assert world.acked == 1
    assert (world.did(), world.lane.wait.waiting_for) == (["whole"], None)


async def test_a_rebalance_does_not_wait_for_what_is_away_and_nothing_is_acked(world: World) -> None:
    world.at_the_end, world.fails = True, TimeoutError("no route")
    await world.comes()
    world.engine.on_sources_closed()
    await world.engine.drain()
    assert (world.did(), world.acked, world.engine.failure) == ([], 0, None)


async def test_what_is_known_to_be_away_is_not_tried_again_when_the_partition_goes(world: World) -> None:
    world.at_the_end, world.fails = True, TimeoutError("no route")
    await world.comes()
    tried = world.tried
    world.engine.on_sources_closed()
    await world.engine.drain()
    await world.settles()
    await world.engine.close_lanes()
    assert world.tried == tried


async def test_a_flush_that_hangs_is_given_up_when_the_partition_goes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.engine.lane.GIVE_BACK_S", 0.01)
    world.at_the_end, world.hangs = True, asyncio.Event()
    await world.comes()
    world.engine.on_sources_closed()
    await world.engine.drain()
    await world.engine.close_lanes()
    world.hangs.set()
    await world.settles()
    assert (world.did(), world.acked, world.engine.failure) == ([], 0, None)


async def test_what_kafka_holds_already_is_flushed_to_its_end_however_long_it_takes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.engine.lane.GIVE_BACK_S", 0.01)
    world.gives_back, world.at_the_end, world.hangs = False, True, asyncio.Event()
    await world.comes()
    world.engine.on_sources_closed()
    draining = asyncio.ensure_future(world.engine.drain())
    await asyncio.sleep(0.05)
    assert not draining.done()
    world.hangs.set()
    await draining
    assert (world.did(), world.acked) == (["whole"], 1)


async def test_any_other_error_stops_the_worker(world: World) -> None:
    world.at_the_end, world.fails = True, ValueError("a bug")
    await world.comes()
    assert "a bug" in str(world.engine.failure)
    assert world.acked == 0
