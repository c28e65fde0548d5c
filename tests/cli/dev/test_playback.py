"""How `success run` reads a file and steps through it (the stack itself: tests/run)."""

from __future__ import annotations

import json

import pytest

from cli.dev.playback import Playback
from cli.dev.recording import read_recording
from runtime.clock import ManualClock
from scoring.time import HOUR, MINUTE
from topics.catalog import ACTIVITY, PROFILES
from topics.time import format_time, parse_time

SUPPLIER = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"
NINE = parse_time("2026-01-05T09:00:00Z")


def login(at: int, event_id: str = "e") -> bytes:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": "/test",
            "type": "supplier.logged_in",
            "subject": SUPPLIER,
            "time": format_time(at),
        }
    ).encode()


PROFILE = json.dumps({"profile": {"id": SUPPLIER, "first_name": "Sarah"}}).encode()


class ScriptedWorker:
    """Records what playback asks of the worker; timers are given in advance."""

    def __init__(self, due: list[int] | None = None) -> None:
        self.calls: list[tuple[str, object]] = []
        self.due = sorted(due or [])

    async def publish(self, records):
        self.calls.append(("publish", [topic for topic, _, _ in records]))

    async def step(self, records, to_ms: int) -> None:
        if records:
            await self.publish(records)
        self.due = [at for at in self.due if at > to_ms]
        self.calls.append(("fire", to_ms))

    def next_due_ms(self) -> int | None:
        return self.due[0] if self.due else None

    def fired(self) -> list[int]:
        return [to for call, to in self.calls if call == "fire"]


class ScriptedDelivery:
    """Rows become due at the given times; delivering at a time takes all due by then."""

    def __init__(self, clock: ManualClock, due: list[int] | None = None) -> None:
        self.clock = clock
        self.due = sorted(due or [])
        self.delivered_at: list[int] = []

    async def deliver_due(self) -> None:
        now = self.clock.now_ms()
        if any(at <= now for at in self.due):
            self.delivered_at.append(now)
        self.due = [at for at in self.due if at > now]

    async def next_due_ms(self) -> int | None:
        return self.due[0] if self.due else None


async def play(lines, *, until=None, timers=None, rows=None):
    worker, delivery_clock = ScriptedWorker(timers), ManualClock()
    delivery = ScriptedDelivery(delivery_clock, rows)
    playback = Playback(worker, delivery, ManualClock(), delivery_clock)
    await playback.play(read_recording(lines, until), until)
    return worker, delivery


def test_events_after_until_are_not_read_nor_profiles_behind_them():
    lines = [login(NINE), login(NINE + 2 * HOUR), PROFILE, login(NINE + MINUTE)]
    recording = read_recording(lines, NINE + HOUR)
    assert [entry.at for entry in recording.entries] == [NINE, NINE + MINUTE]
    assert recording.ends_at == NINE + MINUTE


def test_a_line_that_cannot_be_used_is_played_but_moves_no_clock():
    wild = login(parse_time("2999-01-01T00:00:00Z")).replace(b"supplier.logged_in", b"form.created")
    recording = read_recording([login(NINE), wild, b"not json", b"", b"  \n"])
    assert len(recording.entries) == 3
    assert recording.ends_at == NINE


async def test_steps_end_on_the_hour_and_the_last_at_the_greatest_time():
    worker, _ = await play([login(NINE + MINUTE), login(NINE + 61 * MINUTE)])
    assert worker.fired() == [NINE + HOUR, NINE + 61 * MINUTE, NINE + 61 * MINUTE]


async def test_steps_with_nothing_to_read_fire_or_send_are_skipped():
    timer, row = NINE + 100 * HOUR, NINE + 200 * HOUR + MINUTE
    worker, delivery = await play([login(NINE)], until=NINE + 500 * HOUR, timers=[timer], rows=[row])
    assert worker.fired() == [NINE, timer, NINE + 201 * HOUR, NINE + 500 * HOUR]
    assert delivery.delivered_at == [row]


async def test_messages_leave_at_their_own_time_within_a_step():
    rows = [NINE + 10 * MINUTE, NINE + 40 * MINUTE]
    _, delivery = await play([login(NINE + MINUTE), login(NINE + HOUR)], rows=rows)
    assert delivery.delivered_at == rows


async def test_a_profile_applies_where_it_stands():
    """What stands before it is folded and delivered first; time does not run ahead of what stands behind it."""
    lines = [PROFILE, login(NINE), PROFILE, login(NINE + 30 * MINUTE)]
    worker, _ = await play(lines)
    assert worker.calls == [
        ("publish", [PROFILES]),
        ("publish", [ACTIVITY]),
        ("fire", NINE),
        ("publish", [PROFILES]),
        ("publish", [ACTIVITY]),
        ("fire", NINE + 30 * MINUTE),
        ("fire", NINE + 30 * MINUTE),
    ]


async def test_late_lines_are_read_in_their_place():
    worker, _ = await play([login(NINE + 5 * HOUR, "a"), login(NINE, "late"), login(NINE + 6 * HOUR, "b")])
    published = [call for call in worker.calls if call[0] == "publish"]
    assert [len(topics) for _, topics in published] == [2, 1]


@pytest.mark.parametrize("until", [None, NINE])
async def test_a_file_without_events_ends(until):
    worker, _ = await play([PROFILE], until=until)
    assert worker.calls[0] == ("publish", [PROFILES])
