"""The main job on a recorded file: the live worker and delivery, on clocks that follow the file.

A step takes the lines of at most an hour, lets the worker fold them and fire what is due, and then delivers at
each instant at which something is due. A step with nothing to read, fire or send is skipped. A profile stands
where it stands in the file: what came before it is finished, messages included, before it is applied.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import islice, takewhile
from typing import Protocol

from cli.dev.recording import Entry, Recording
from runtime.clock import ManualClock
from scoring.time import HOUR


class Worker(Protocol):
    """What playback needs of the live worker."""

    async def publish(self, records: list[tuple[str, bytes | None, bytes | None]]) -> None:
        """Publish (topic, key, value) in order and return when all their effects are in Kafka and Postgres."""

    async def step(self, records: list[tuple[str, bytes | None, bytes | None]], to_ms: int) -> None:
        """The same, then fire what is due at or before `to_ms`."""

    def next_due_ms(self) -> int | None:
        """When silence next changes any supplier; None if never."""


class Delivering(Protocol):
    """What playback needs of delivery."""

    async def deliver_due(self) -> object:
        """Decide and send everything due at the clock's time."""

    async def next_due_ms(self) -> int | None:
        """The earliest time a scheduled row wants to be looked at."""


class Playback:
    """Plays a recording. `ingest_clock` leads a step, `delivery_clock` follows from due time to due time."""

    def __init__(
        self,
        worker: Worker,
        delivery: Delivering,
        ingest_clock: ManualClock,
        delivery_clock: ManualClock,
        progress: Callable[[int, int], Awaitable[None]] | None = None,
    ) -> None:
        self.worker = worker
        self.delivery = delivery
        self.ingest_clock = ingest_clock
        self.delivery_clock = delivery_clock
        self.progress = progress
        self._rows: int | None = None
        """When a scheduled row next wants to be looked at, as of the last look."""

    async def play(self, recording: Recording, until: int | None = None) -> None:
        """Play every entry and then silence up to `until` (ms), or up to the last event without one."""
        limit = until if until is not None else recording.ends_at
        entries = recording.entries
        position = 0
        self._rows = await self.delivery.next_due_ms()
        while True:
            if position < len(entries) and entries[position].is_profile:
                taken = _run_of_profiles(entries, position)
                await self.worker.publish(_records(entries[position : position + taken]))
                self._rows = await self.delivery.next_due_ms()
            else:
                step_end = self._next_step_end(entries, position, limit)
                if step_end is None:
                    break
                taken, step_end = _events_of_step(entries, position, self.ingest_clock.now_ms(), step_end)
                await self.step(entries[position : position + taken], step_end)
            position += taken
            if self.progress is not None:
                await self.progress(position, self.ingest_clock.now_ms())
        if limit is not None:
            await self.step([], limit)

    def _next_step_end(self, entries: list[Entry], position: int, limit: int | None) -> int | None:
        """The end of the next step that has something to do: on the hour, never past `limit`; None at the end."""
        now = self.ingest_clock.now_ms()
        moments = []
        if position < len(entries):
            moments.append(entries[position].at or now)
        if limit is not None:
            silent = (self.worker.next_due_ms(), self._rows)
            moments.extend(moment for moment in silent if moment is not None and now < moment <= limit)
        if not moments:
            return None
        on_the_hour = _hour_end(max(now, min(moments)))
        return on_the_hour if limit is None else max(now, min(limit, on_the_hour))

    async def step(self, entries: list[Entry], step_end: int) -> None:
        """Take entries, fire what is due at or before `step_end` (ms), and deliver at each moment up to it."""
        self.ingest_clock.advance_to(step_end)
        await self.worker.step(_records(entries), step_end)
        await self._deliver(step_end)

    async def step_if_needed(self, entries: list[Entry], step_end: int) -> None:
        """The same, where there is something to read, to fire or to send; else the clocks move alone."""
        silent = (self.worker.next_due_ms(), await self.delivery.next_due_ms())
        if entries or any(moment is not None and moment <= step_end for moment in silent):
            await self.step(entries, step_end)
            return
        self.ingest_clock.advance_to(step_end)
        self.delivery_clock.advance_to(step_end)

    async def _deliver(self, step_end: int) -> None:
        due = await self.delivery.next_due_ms()
        while due is not None and due <= step_end:
            before, looked_at = self.delivery_clock.now_ms(), due
            self.delivery_clock.advance_to(due)
            await self.delivery.deliver_due()
            due = await self.delivery.next_due_ms()
            if looked_at <= before and due == looked_at:
                break  # it waits for something that this step does not bring
        self._rows = due
        self.delivery_clock.advance_to(step_end)


def _records(entries: list[Entry]) -> list[tuple[str, bytes | None, bytes | None]]:
    return [(entry.topic, entry.key, entry.value) for entry in entries]


def _hour_end(moment: int) -> int:
    return -(-moment // HOUR) * HOUR


def _run_of_profiles(entries: list[Entry], position: int) -> int:
    return sum(1 for _ in takewhile(lambda entry: entry.is_profile, entries[position:]))


def _events_of_step(entries: list[Entry], position: int, now: int, step_end: int) -> tuple[int, int]:
    """How many events from `position` belong to a step that ends at `step_end`, and where it really ends.

    A profile that stands before the next event ends the step at the greatest time so far, lest time fires what the
    events behind the profile still have a say in.
    """
    greatest = now
    for taken, entry in enumerate(islice(entries, position, None)):
        if entry.is_profile:
            return taken, greatest
        if entry.at is not None:
            if entry.at > step_end:
                return taken, step_end
            greatest = max(greatest, entry.at)
    return len(entries) - position, step_end
