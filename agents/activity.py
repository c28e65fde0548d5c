"""The scoring agent: folds `supplier.activity` and publishes what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from faust.types import TP

from agents.batch_agent import Engine, FlushPolicy, Lane
from agents.fold import Flush, PartitionFold
from agents.producer import BatchProducer, Outgoing
from agents.record import Record
from agents.slices import in_slices
from agents.snapshots import Mark
from agents.supplier_records import is_page
from topics.catalog import DEAD_LETTERS, HEALTH, full_name
from topics.encoding import STRUCTURED_HEADERS

SILENCE_MS = 60_000
"""How long a partition must have been caught up and silent before the wall clock moves its time."""
TICK_S = 1.0
SLICES_A_FLUSH = 160
"""So that very many timers are neither all in memory nor all lost to a crash."""
HEADERS = list(STRUCTURED_HEADERS)
NO_HEADERS: list[tuple[str, bytes]] = []
POLICY = FlushPolicy(records=200_000, seconds=1.0, backlog_seconds=10.0, hold_records=20_000, rest=4.0)
"""In a backlog snapshots and state records are spared: one a supplier in so many records or seconds. Short of one,
flushing takes a fifth of the time at most, lest it makes one."""


class ScoringHandler:
    """Scores one partition; its effects are durable when the brokers have acked them, changelog last.

    `wrote` is told of each flush: partition, number of changelog records, where the last of them lies.
    """

    def __init__(
        self,
        fold: PartitionFold,
        producer: BatchProducer,
        prefix: str,
        state_topic: str,
        policy: FlushPolicy,
        wrote: Callable[[int, int, Mark], None],
    ) -> None:
        self.fold = fold
        self.policy = policy
        self._producer = producer
        self._prefix = prefix
        self._state_topic = state_topic
        self._wrote = wrote

    def position(self) -> int | None:
        """The offset after the last that the state holds."""
        return self.fold.watermark + 1

    async def add(self, records: Sequence[Record]) -> None:
        """Fold records; flushes at once where a snapshot has grown as large as may be."""
        incoming = iter(records)
        more = True
        while more:
            more = await in_slices(self.fold.processing(incoming))
            if self.fold.full:
                await self.flush()

    async def flush(self) -> None:
        """Send snapshots first, then signals and dead letters, then the state, each acked before the next."""
        await self._send(await in_slices(self.fold.taking_flush()))

    def is_urgent(self) -> bool:
        """Signals wait: others act on them."""
        return self.fold.has_signals

    async def flush_urgent(self) -> None:
        """The same for those suppliers only that have signals."""
        await self._send(await in_slices(self.fold.taking_signals()))

    async def _send(self, flush: Flush) -> None:
        if not flush:
            return
        await self._send_snapshots(flush)
        await self._send_signals(flush)
        partition = self.fold.partition
        changelog: list[Outgoing] = [(key, value, NO_HEADERS) for key, value in flush.changelog]
        await self._producer.send(self._state_topic, partition, changelog, joined=is_page)
        self.fold.confirm(flush)
        place = self._state_topic, partition
        last = Mark(self._producer.last_offset[place], self._producer.last_append_ms[place])
        self._wrote(partition, len(flush.changelog), last)

    async def _send_snapshots(self, flush: Flush) -> None:
        records: list[Outgoing] = [(key, value, HEADERS) for key, value in flush.health]
        await self._producer.send(full_name(self._prefix, HEALTH), self.fold.partition, records)

    async def _send_signals(self, flush: Flush) -> None:
        """Signals and dead letters go to the partition they come from: counts are equal, and so are keys."""
        by_topic: dict[str, list[Outgoing]] = {DEAD_LETTERS: list(flush.dead_letters)}
        for topic, key, value in flush.signals:
            by_topic.setdefault(topic, []).append((key, value, HEADERS))
        pending = []
        for topic, records in by_topic.items():
            pending += await self._producer.queue(
                full_name(self._prefix, topic), self.fold.partition, records
            )
        await self._producer.acked(pending)


async def fire_due(lane: Lane, to_ms: int, stop: Callable[[], bool] = lambda: False) -> int:
    """Fire everything due at or before `to_ms` in a scoring lane; the number of signals, when all is acked.

    Other lanes go on meanwhile. When `stop` says so it ends early: what has fired is acked, the rest stays due.
    Cancelling the caller does not stop it in the middle of a flush, which would lose what was taken for it.
    """
    if not isinstance(lane.handler, ScoringHandler):
        raise TypeError(f"{lane.tp} is not scored")
    return await lane.to_the_end(_fire(lane, lane.handler.fold, to_ms, stop))


async def _fire(lane: Lane, fold: PartitionFold, to_ms: int, stop: Callable[[], bool]) -> int:
    signals = 0
    async with lane.lock:
        if lane.closed:
            return 0
        for number, fired in enumerate(fold.firing_due(to_ms), 1):
            signals += fired
            if stop():
                break
            if number % SLICES_A_FLUSH == 0:
                await lane.flush()
            await asyncio.sleep(0)
        await lane.flush()
    return signals


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
        """Fire what the wall clock has made due, where nothing is left to read."""
        now_ms = self._engine.now_ms()
        for lane in list(self._engine.lanes.values()):
            if self._may_fire(lane, now_ms) and await self._is_at_the_end(lane):
                await fire_due(lane, now_ms - self._grace_ms, lambda: self._engine.closing)

    def _may_fire(self, lane: Lane, now_ms: int) -> bool:
        if not isinstance(lane.handler, ScoringHandler) or self._engine.closing:
            return False
        if not lane.idle or now_ms - lane.last_record_ms < SILENCE_MS:
            return False
        due = lane.handler.fold.next_due()
        return due is not None and due <= now_ms - self._grace_ms

    async def _is_at_the_end(self, lane: Lane) -> bool:
        """Ask the broker: the end as of the last fetch may be old when the connection was lost."""
        end, position = await self._end_of(lane.tp)
        return (
            position >= end
            and lane.idle
            and self._engine.lanes.get(lane.tp) is lane
            and not self._engine.closing
        )
