"""The scoring agent: folds `supplier.activity` and publishes what comes of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from faust.types import TP

from agents.engine.engine import Engine
from agents.engine.lane import FlushPolicy, Lane
from agents.engine.producer import BatchProducer, Outgoing
from agents.engine.record import Record
from agents.health.fold import SLICES_A_FLUSH, PartitionFold
from agents.health.misspelt import misspelt
from agents.health.outgoing import HEADERS, Flush
from agents.health.slices import in_slices
from agents.health.stored_supplier import is_page
from runtime import metrics
from runtime.away import Passing
from runtime.configuration import vocabulary_of
from topics.catalog import ACTIVITY, DEAD_LETTERS, HEALTH, full_name

SILENCE_MS = 60_000
"""How long a partition must have been caught up and silent before the wall clock moves its time."""
TICK_S = 1.0
_TO_SIGNAL = {by_time: metrics.TO_SIGNAL.labels("time" if by_time else "event") for by_time in (False, True)}
NO_HEADERS: list[tuple[str, bytes]] = []
POLICY = FlushPolicy(records=200_000, seconds=1.0, backlog_seconds=10.0, hold_records=20_000, rest=4.0)
"""In a backlog snapshots and state records are spared: one a supplier in so many records or seconds. Short of one,
flushing takes a fifth of the time at most, lest it makes one."""


class RulesOf(Protocol):
    """Who knows which rules are in force where."""

    async def tell(self, fold: PartitionFold) -> int:
        """Tell a fold all there is by now; how far that was read."""
        ...


class ScoringHandler:
    """Scores one partition; its effects are durable when the brokers have acked them, changelog last.

    `wrote` is told of each flush: partition, number of changelog records, offset of the last of them. `now_ms` is the
    worker's clock, by which snapshots wait that nobody acts on.
    """

    def __init__(
        self,
        fold: PartitionFold,
        producer: BatchProducer,
        prefix: str,
        state_topic: str,
        policy: FlushPolicy,
        wrote: Callable[[int, int, int], None],
        now_ms: Callable[[], int],
        rules: RulesOf | None = None,
    ) -> None:
        self.fold = fold
        self.policy = policy
        self._producer = producer
        self._prefix = prefix
        self._state_topic = state_topic
        self._wrote = wrote
        self._now_ms = now_ms
        self._rules = rules
        self.read_to = 0
        """How far `success.rules` was read when this partition was taken over."""

    async def ready(self) -> None:
        """Know by which rules what lies where is to be folded; to be asked before anything is."""
        if self.fold.is_told and self._rules is not None:
            self.read_to = await self._rules.tell(self.fold)

    def position(self) -> int | None:
        """The offset after the last that the state holds."""
        return self.fold.watermark + 1

    async def add(self, records: Sequence[Record]) -> None:
        """Fold records; flushes at once where a snapshot has grown as large as may be."""
        await self.ready()
        incoming = iter(records)
        more = True
        while more:
            more = await in_slices(self.fold.processing(incoming))
            if self.fold.full:
                await self.flush()
        for kind, outcome, count in self.fold.take_tally():
            if outcome == "unknown":
                misspelt.note(kind, vocabulary_of(self.fold.rules).types)
            name = metrics.unknown_types(kind) if outcome == "unknown" else kind or metrics.NONE
            metrics.EVENTS.labels(name, outcome).inc(count)

    async def flush(self) -> None:
        """Send snapshots first, then signals and dead letters, then the state, each acked before the next."""
        if not self.fold.is_told:  # else nothing was folded yet
            now_ms = self._now_ms() if self.policy.owes else None
            await self._send(await in_slices(self.fold.taking_flush(now_ms)))

    gives_back = False
    """Kafka holds what it sent so far: a flush goes to its end."""

    async def flush_rest(self) -> None:
        """The same with every snapshot that is owed."""
        if not self.fold.is_told:
            await self._send(await in_slices(self.fold.taking_flush()))

    def owes_now(self) -> bool:
        """Whether a snapshot has waited as long as it may."""
        by = self.fold.owes_by()
        return by is not None and by <= self._now_ms()

    def is_urgent(self) -> bool:
        """Signals wait: others act on them."""
        return self.fold.has_signals

    async def flush_urgent(self) -> None:
        """The same for those suppliers only that have signals."""
        await self._send(await in_slices(self.fold.taking_signals()))

    def away(self, error: Exception) -> Passing | None:
        """Nothing is tried again: what was taken for a flush that failed is read again by the next worker."""
        del error
        return None

    async def note_time(self) -> None:
        """Send the partition's meta record once more, with its time; the brokers' time is heard with it.

        Nothing may be unflushed.
        """
        await self.ready()
        await self._send(self.fold.only_meta())

    async def _send(self, flush: Flush) -> None:
        if not flush:
            return
        await self._send_snapshots(flush)
        await self._send_signals(flush)
        partition = self.fold.partition
        changelog: list[Outgoing] = [(key, value, NO_HEADERS) for key, value in flush.changelog]
        await self._producer.send(self._state_topic, partition, changelog, joined=is_page)
        self.fold.confirm(flush)
        self._count(flush)
        last_offset = self._producer.last_offset[self._state_topic, partition]
        self._wrote(partition, len(flush.changelog), last_offset)

    def _count(self, flush: Flush) -> None:
        metrics.count_dead_letters(ACTIVITY, flush.dead_letters)
        for topic, count in Counter(topic for topic, _, _ in flush.signals).items():
            metrics.SIGNALS.labels(topic).inc(count)
        now_ms = time.time_ns() // 1_000_000
        for at_ms, by_time in flush.signal_times:
            _TO_SIGNAL[by_time].observe(max(0, now_ms - at_ms) / 1000)

    async def _send_snapshots(self, flush: Flush) -> None:
        records: list[Outgoing] = [(key, value, HEADERS) for key, value in flush.health]
        await self._producer.send(full_name(self._prefix, HEALTH), self.fold.partition, records)

    async def _send_signals(self, flush: Flush) -> None:
        """Signals and dead letters go to the partition they come from: counts are equal, and so are keys.

        Events that another count brought here go home.
        """
        by_topic: dict[str, list[Outgoing]] = {DEAD_LETTERS: list(flush.dead_letters)}
        for topic, key, value in flush.signals:
            by_topic.setdefault(topic, []).append((key, value, self.fold.headers_of(value)))
        going_home: dict[int, list[Outgoing]] = {}
        for home, record in flush.astray:
            going_home.setdefault(home, []).append(record)
        pending = []
        for home, astray in going_home.items():
            pending += await self._producer.queue(full_name(self._prefix, ACTIVITY), home, astray)
        for topic, records in by_topic.items():
            pending += await self._producer.queue(
                full_name(self._prefix, topic), self.fold.partition, records
            )
        await self._producer.acked(pending)


async def fire_due(
    lane: Lane, to_ms: int, stop: Callable[[], bool] = lambda: False, *, tells_all: bool = False
) -> int:
    """Fire everything due at or before `to_ms` in a scoring lane; the number of signals, when all is acked.

    Other lanes go on meanwhile. With `tells_all` no snapshot is owed after it. When `stop` says so it ends early: what
    has fired is acked, the rest stays due. Cancelling the caller does not stop it in the middle of a flush, which would
    lose what was taken for it.
    """
    if not isinstance(lane.handler, ScoringHandler):
        raise TypeError(f"{lane.tp} is not scored")
    return await lane.to_the_end(_fire(lane, lane.handler, to_ms, stop, tells_all=tells_all))


async def _fire(
    lane: Lane, handler: ScoringHandler, to_ms: int, stop: Callable[[], bool], *, tells_all: bool
) -> int:
    signals = 0
    async with lane.lock:
        if lane.closed:
            return 0
        await handler.ready()
        await lane.flush()
        if handler.fold.let_pass(to_ms):
            await handler.note_time()
        for number, fired in enumerate(handler.fold.firing_due(to_ms), 1):
            signals += fired
            if stop():
                break
            if number % SLICES_A_FLUSH == 0:
                await lane.flush()
            await asyncio.sleep(0)
        await lane.flush()
        if tells_all:
            await handler.flush_rest()
    return signals


async def _tell(lane: Lane) -> None:
    async with lane.lock:
        if isinstance(lane.handler, ScoringHandler) and not lane.closed:
            await lane.handler.ready()
            await lane.flush()


async def _measure_clock(lane: Lane) -> None:
    async with lane.lock:
        if isinstance(lane.handler, ScoringHandler) and lane.idle and not lane.closed:
            await lane.handler.note_time()


class WallClock:
    """Lets the wall clock move partitions that are caught up and silent (contract section 4).

    `end_of` asks the broker: (the end of a partition, our position in it).
    """

    def __init__(
        self, engine: Engine, grace_ms: int, end_of: Callable[[TP], Awaitable[tuple[int, int]]]
    ) -> None:
        self._engine = engine
        self._grace_ms = grace_ms
        self._end_of = end_of

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.tick()
            except Exception as error:  # noqa: BLE001 - a lost tick would go unnoticed
                self._engine.fail_stop("the tick of the wall clock", error)

    async def tick(self) -> None:
        """Fire what the wall clock has made due, where nothing is left to read; send what has waited long enough."""
        for lane in list(self._engine.lanes.values()):
            if self._owes(lane):
                await lane.to_the_end(_tell(lane))
            if self._may_fire(lane, self._engine.now_ms()) and await self.is_at_the_end(lane):
                await self._compare_clocks(lane)
                now_ms = self._engine.now_ms()
                if self._may_fire(lane, now_ms):
                    await fire_due(lane, now_ms - self._grace_ms, lambda: self._engine.closing)

    async def time_passed(self, lane: Lane) -> int | None:
        """Up to when (ms) the wall clock has let time pass on a lane; None where records still move its time.

        Hold its lock, with nothing unflushed.
        """
        silent = lane.idle and self._engine.now_ms() - lane.last_record_ms >= SILENCE_MS
        if not silent or not await self.is_at_the_end(lane):
            return None
        skew = self._engine.skew
        if skew is not None and not skew.known and isinstance(lane.handler, ScoringHandler):
            await lane.handler.note_time()
        return self._engine.now_ms() - self._grace_ms

    async def _compare_clocks(self, lane: Lane) -> None:
        """Learn how far this machine's clock is from the brokers' before it moves the time of a partition for good."""
        skew = self._engine.skew
        if skew is not None and not skew.known:
            await lane.to_the_end(_measure_clock(lane))

    def _owes(self, lane: Lane) -> bool:
        """Whether a lane that does not flush by itself has to."""
        return (
            isinstance(lane.handler, ScoringHandler)
            and lane.idle
            and not self._engine.closing
            and lane.handler.owes_now()
        )

    def _may_fire(self, lane: Lane, now_ms: int) -> bool:
        if not isinstance(lane.handler, ScoringHandler) or self._engine.closing:
            return False
        if not lane.idle or now_ms - lane.last_record_ms < SILENCE_MS:
            return False
        due = lane.handler.fold.next_due()
        return due is not None and due <= now_ms - self._grace_ms

    async def is_at_the_end(self, lane: Lane) -> bool:
        """Ask the broker: the end as of the last fetch may be old when the connection was lost."""
        end, position = await self._end_of(lane.tp)
        return (
            position >= end
            and lane.idle
            and self._engine.lanes.get(lane.tp) is lane
            and not self._engine.closing
        )
