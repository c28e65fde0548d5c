"""How far the machine's clock is from the brokers': from acks, as closely as they tell."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from agents.engine.skew import ClockSkew
from agents.health.handler import ScoringHandler
from runtime.clock import SystemClock
from runtime.settings import Settings
from scoring.time import DAY, HOUR
from tests.agents.health.records import event_record
from tests.agents.workers import ANNA, EVERYWHERE, now_ms, running, send, values
from topics.catalog import CONDITIONS

NOW = 1_790_000_000_000
FAST, SLOW = 10_000, -10_000


class Brokers:
    """Our clock, which may be wrong, and acks of brokers whose clock is right."""

    def __init__(self, ahead: int) -> None:
        self.now, self.ahead = NOW, ahead
        self.skew = ClockSkew(lambda: self.now + self.ahead)

    def ack(self, there_ms: int, back_ms: int) -> None:
        sent = self.now + self.ahead
        appended = self.now + there_ms
        self.now = appended + back_ms
        self.skew.note(sent, appended)


@pytest.mark.parametrize("ahead", [FAST, SLOW])
def test_an_ack_tells_how_far_the_clock_is_off_to_half_of_what_it_took(ahead: int) -> None:
    world = Brokers(ahead)
    assert not world.skew.known
    world.ack(10, 30)
    assert world.skew.known
    assert abs(world.skew.ms - ahead) <= 20
    assert abs(world.skew.broker_now_ms() - world.now) <= 20


def test_the_quickest_ack_tells_most() -> None:
    world = Brokers(FAST)
    for there, back in ((4_000, 10), (1, 1), (10, 9_000)):
        world.ack(there, back)
    assert abs(world.skew.ms - FAST) <= 1


def test_a_clock_that_may_as_well_be_right_is_right() -> None:
    world = Brokers(0)
    world.ack(500, 10)
    assert world.skew.ms == 0


def test_a_clock_that_was_set_is_measured_anew_at_the_next_ack() -> None:
    world = Brokers(FAST)
    world.ack(1, 1)
    world.ahead = SLOW
    world.ack(50, 50)
    assert abs(world.skew.ms - SLOW) <= 50


def test_a_clock_that_is_off_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    world = Brokers(SLOW)
    with caplog.at_level(logging.WARNING, "agents.engine.skew"):
        for _ in range(3):
            world.ack(1, 1)
    [line] = [record.getMessage() for record in caplog.records]
    assert line == (
        "this machine's clock is 10.0 s short of the brokers': theirs counts; keep clocks in step (NTP)"
    )


# --- a worker with such a clock


class WrongClock(SystemClock):
    """The machine's clock, so much ahead."""

    def __init__(self, ahead_ms: int) -> None:
        self._ahead_ms = ahead_ms

    def now_ms(self) -> int:
        return super().now_ms() + self._ahead_ms


def scoring(worker: Any) -> list[Any]:
    return [lane for lane in worker.app.engine.lanes.values() if isinstance(lane.handler, ScoringHandler)]


@pytest.mark.stack
@pytest.mark.parametrize("ahead", [FAST, SLOW])
async def test_a_worker_whose_clock_is_off_takes_no_lane_for_a_backlog(
    settings: Settings, ahead: int
) -> None:
    async with running(settings, clock=WrongClock(ahead)) as worker:
        await send(settings, worker, [event_record(s, at=now_ms()) for s in EVERYWHERE])
        await send(settings, worker, [event_record(s, at=now_ms()) for s in EVERYWHERE])
        assert abs(worker.clock_skew_ms - ahead) < abs(ahead) / 2
        assert worker.not_ready is None
        assert [lane for lane in scoring(worker) if lane._has_backlog()] == []


@pytest.mark.stack
async def test_a_fast_clock_moves_no_partition_s_time_although_nothing_was_sent_since_the_start(
    settings: Settings,
) -> None:
    due = now_ms() + HOUR
    async with running(settings, grace_ms=60_000) as worker:
        await send(settings, worker, [event_record(ANNA, at=due - 7 * DAY)])
    before = await values(settings, CONDITIONS)
    async with running(settings, grace_ms=60_000, clock=WrongClock(2 * HOUR)) as worker:
        for lane in scoring(worker):
            lane.last_record_ms = 0
        assert worker.wall_clock is not None
        await worker.wall_clock.tick()
        assert abs(worker.clock_skew_ms - 2 * HOUR) < HOUR
        assert max(lane.handler.fold.stream_time for lane in scoring(worker)) < due
    assert await values(settings, CONDITIONS) == before
