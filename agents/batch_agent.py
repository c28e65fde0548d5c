"""The cycle that every batch-consuming agent shares: take in order, handle, have the effects acked, then ack.

An `Engine` has one `Lane` for each partition it consumes. A lane feeds batches to its handler, decides when to
flush, and acks only what a flush has made durable. Whatever goes wrong stops the worker: the next one
continues from the last durable state, and Faust never acks what failed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from faust.types import TP, EventT, StreamT

from agents.failure import FailStop, WorkerFailedError
from agents.record import Record
from agents.transport import Batch

logger = logging.getLogger(__name__)

BatchEvent = EventT[Batch]
T = TypeVar("T")

LIVE_MS = 5_000
TURNS = 8
"""In a backlog the lanes of so many partitions flush in turn: while one waits for the brokers the others fold, and a
worker that soon dies has got on with some."""


@dataclass(frozen=True, slots=True)
class FlushPolicy:
    """When a lane makes durable what it has handled: at once when caught up, else at these limits.

    A lane whose records were appended less than `LIVE_MS` ago keeps up, though more came while it worked:
    nobody should wait long for what follows from them. One further behind has a backlog, and spares flushes.
    """

    records: int = 20_000
    seconds: float = 1.0
    backlog_seconds: float = 1.0
    hold_records: int = 20_000
    """A partition with this many records waiting is not read for a while."""
    urgent_seconds: float = 0.25
    """What is urgent waits no longer for the rest while a lane keeps up."""
    rest: float = 0.0
    """While more comes, the next flush waits so many times as long as the last one took, `backlog_seconds` at most.
    What is urgent need not wait for that."""


class PartitionHandler(Protocol):
    """What a lane does with the records of one partition."""

    policy: FlushPolicy

    def position(self) -> int | None:
        """The offset to continue at, if the handler's own state decides; else the committed offset does."""
        ...

    async def add(self, records: Sequence[Record]) -> None:
        """Handle records, in offset order, without any effect outside yet; what takes long lets others run."""
        ...

    async def flush(self) -> None:
        """Return only when the effects of all that was added are durable."""
        ...

    def is_urgent(self) -> bool:
        """Whether others should not wait long for something of what was added."""
        ...

    async def flush_urgent(self) -> None:
        """Return when the effects of what is urgent are durable; the rest is not acked yet."""
        ...


class Consumer(Protocol):
    """What lanes ask of the transport."""

    def hold(self, tp: TP) -> None:
        """Stop delivering a partition for a while."""
        ...

    def release(self, tp: TP) -> None:
        """Deliver it again."""
        ...

    def caught_up(self, tp: TP, next_offset: int) -> bool:
        """Whether nothing is left to read."""
        ...


@dataclass(slots=True)
class Pace:
    """How long flushing takes, so that it does not take all the time."""

    ended_at: float = 0.0
    """When the last one ended (`time.monotonic`)."""
    took: float = 0.0

    @contextmanager
    def measured(self) -> Iterator[None]:
        """What happens here is the last one."""
        began = time.monotonic()
        yield
        self.ended_at = time.monotonic()
        self.took = self.ended_at - began

    def rested(self, policy: FlushPolicy) -> float:
        """When the next one may be."""
        return self.ended_at + min(policy.rest * self.took, policy.backlog_seconds)


class Lane:
    """One partition on its way through its handler."""

    def __init__(self, tp: TP, handler: PartitionHandler, engine: Engine) -> None:
        self.tp = tp
        self.handler = handler
        self.lock = asyncio.Lock()
        self.next_offset: int | None = handler.position()
        self.last_record_ms = engine.now_ms()
        """When a record last came, by the engine's clock; at first when the lane opened."""
        self.closed = False
        """The partition is being recovered, or somebody else's: what holds the lock now may do nothing."""
        self._engine = engine
        self._waiting: deque[BatchEvent] = deque()
        self._waiting_records = 0
        self._changed = asyncio.Event()
        self._held = False
        self._unacked: list[BatchEvent] = []
        self._unacked_records = 0
        self._oldest_unacked_at = 0.0
        self._appended_ms = 0
        self._backlog_wait = handler.policy.backlog_seconds * (1 + tp.partition % TURNS) / TURNS
        self._pace = Pace()
        self._urgent_pace = Pace()
        self._task = asyncio.create_task(self._run(), name=f"lane {tp.topic}[{tp.partition}]")
        self._working: asyncio.Task[Any] | None = None
        """What was begun with `to_the_end`: asyncio itself holds tasks weakly."""

    @property
    def idle(self) -> bool:
        """Nothing is waiting to be handled or acked."""
        return not self._waiting and not self._unacked

    def put(self, event: BatchEvent) -> None:
        """Queue a batch."""
        self._waiting.append(event)
        self._waiting_records += len(cast("Batch", event.value))
        if self._waiting_records >= self.handler.policy.hold_records and not self._held:
            self._held = True
            self._engine.consumer.hold(self.tp)
        self._changed.set()

    def look_again(self) -> None:
        """Something has changed that may make a flush due."""
        if self._unacked:
            self._changed.set()

    def drop_waiting(self) -> None:
        """Forget what was not begun (it is read again after the rebalance) and flush the rest at once."""
        self._waiting.clear()
        self._waiting_records = 0
        self._changed.set()

    async def drain(self) -> None:
        """Return when all that was begun is acked."""
        async with self.lock:
            if self._unacked:
                await self.flush()

    async def close(self) -> None:
        """Finish what is being flushed, then end."""
        async with self.lock:
            self.closed = True
            self._task.cancel()

    async def to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it whatever becomes of the caller; what fails stops the worker."""
        task = self._working = asyncio.create_task(self._guarded(work))
        return await asyncio.shield(task)

    async def _guarded(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        except Exception as error:
            self._engine.fail_stop(f"{self.tp.topic} partition {self.tp.partition}", error)
            raise

    async def _run(self) -> None:
        try:
            while True:
                await self._something_to_do()
                async with self.lock:
                    # Taken under the lock: a batch is either waiting, and may be dropped, or begun.
                    if self._waiting:
                        await self._add(self._waiting.popleft())
                    if self._unacked:
                        await self._flush_what_is_due()
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing may be acked after it
            self._engine.fail_stop(f"{self.tp.topic} partition {self.tp.partition}", error)

    async def _something_to_do(self) -> None:
        """Return when a batch waits, or when it is time to flush."""
        if self._waiting:
            return
        self._changed.clear()
        if not self._unacked:
            await self._changed.wait()
            return
        left = min(self._flush_at(), self._flush_urgent_at()) - time.monotonic()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout=max(left, 0))

    async def _add(self, event: BatchEvent) -> None:
        batch = cast("Batch", event.value)
        self._waiting_records -= len(batch)
        if self._held and self._waiting_records < self.handler.policy.hold_records // 2:
            self._held = False
            self._engine.consumer.release(self.tp)
        if self.next_offset is not None and batch.follows > self.next_offset:
            raise WorkerFailedError(
                f"offsets {self.next_offset} to {batch.follows - 1} never reached the agent; starting over"
            )
        if not self._unacked:
            self._oldest_unacked_at = time.monotonic()
        self._unacked.append(event)
        self._unacked_records += len(batch)
        await self.handler.add(batch)
        self.next_offset = max(self.next_offset or 0, event.message.offset + 1)
        self.last_record_ms = self._engine.now_ms()
        self._appended_ms = batch[-1].timestamp
        batch.clear()  # unacked events are kept until the next flush, which may be far; the records need not be

    async def _flush_what_is_due(self) -> None:
        now = time.monotonic()
        if self._flush_at() <= now:
            await self.flush()
        elif self._flush_urgent_at() <= now:
            await self._send(self.handler.flush_urgent, self._urgent_pace)

    async def _send(self, flush: Callable[[], Awaitable[None]], pace: Pace) -> None:
        self._engine.assert_healthy()
        with pace.measured():
            await flush()
        self._engine.assert_healthy()

    def _flush_at(self) -> float:
        """When (`time.monotonic`) all is to be flushed, as things stand."""
        policy = self.handler.policy
        if self._engine.closing or self._unacked_records >= policy.records:
            return 0.0
        rested = 0.0 if self._engine.nothing_comes else self._pace.rested(policy)
        if self._caught_up():
            return rested
        if self._has_backlog():
            return self._oldest_unacked_at + self._backlog_wait
        return max(self._oldest_unacked_at + policy.seconds, rested)

    def _flush_urgent_at(self) -> float:
        """When what is urgent is to be flushed, if there is something."""
        if not self.handler.is_urgent():
            return math.inf
        policy = self.handler.policy
        if self._caught_up():
            return self._urgent_pace.rested(policy)
        if self._has_backlog():
            return math.inf
        return max(self._oldest_unacked_at, self._urgent_pace.ended_at) + policy.urgent_seconds

    def _caught_up(self) -> bool:
        return not self._waiting and self._engine.consumer.caught_up(self.tp, self.next_offset or 0)

    def _has_backlog(self) -> bool:
        return self._engine.now_ms() - self._appended_ms >= LIVE_MS

    async def flush(self) -> None:
        """Make durable what was handled, then ack it. Hold the lock."""
        await self._send(self.handler.flush, self._pace)
        self._backlog_wait = self.handler.policy.backlog_seconds
        for event in self._unacked:
            event.ack()
        self._unacked.clear()
        self._unacked_records = 0
        if self.next_offset is not None:
            await self._engine.note_progress(self.tp, self.next_offset - 1)


class Engine:
    """All lanes of a worker, and what transport and store tell them."""

    def __init__(
        self,
        open_lane: Callable[[TP], PartitionHandler],
        stateful_topic: str,
        compacted_topics: Iterable[str],
        fail_stop: FailStop,
        now_ms: Callable[[], int],
    ) -> None:
        self.consumer: Consumer
        """Set by the app before anything is consumed."""
        self.closing = False
        """A rebalance or the end begins: flush and let go."""
        self.open = asyncio.Event()
        """Sources are being read."""
        self.nothing_comes = False
        """The last fetch brought nothing, of any partition."""
        self.now_ms = now_ms
        self.lanes: dict[TP, Lane] = {}
        self.progress: dict[TP, int] = {}
        """Offset up to which everything is durable and acked."""
        self.failure: WorkerFailedError | None = None
        self.failed = asyncio.Event()
        self._open_lane = open_lane
        self._stateful_topic = stateful_topic
        self._compacted_topics = frozenset(compacted_topics)
        self._fail_stop = fail_stop
        self._recovered: set[int] | None = None
        self._changed = asyncio.Condition()

    # --- the agents

    async def consume(self, stream: StreamT[Batch]) -> None:
        """Hand each batch to its partition's lane, forever; the body of every agent."""
        try:
            async for event in cast("AsyncIterable[BatchEvent]", cast("Any", stream).noack().events()):
                self._lane(event.message.tp).put(event)
        except Exception as error:  # noqa: BLE001 - Faust would restart the agent and ack what failed
            self.fail_stop("consuming stopped", error)

    def _lane(self, tp: TP) -> Lane:
        lane = self.lanes.get(tp)
        if lane is None:
            if tp.topic == self._stateful_topic and tp.partition not in (self._recovered or ()):
                raise WorkerFailedError(
                    f"a record of partition {tp.partition} before its state was recovered"
                )
            lane = self.lanes[tp] = Lane(tp, self._open_lane(tp), self)
        return lane

    # --- the transport

    def positions(self, sources: Iterable[TP]) -> dict[TP, int]:
        """Where the sources continue whose state knows it; the others continue at their commit."""
        return {
            tp: position
            for tp in sources
            if tp.topic == self._stateful_topic
            and (position := self._lane(tp).handler.position()) is not None
        }

    def expects_gaps(self, topic: str) -> bool:
        """Whether missing offsets are in the nature of a topic."""
        return topic in self._compacted_topics

    def on_fetched(self, *, something: bool) -> None:
        """A fetch is over."""
        self.nothing_comes = not something
        if self.nothing_comes:
            for lane in self.lanes.values():
                lane.look_again()

    def on_sources_open(self) -> None:
        """Reading begins."""
        self.closing = False
        self.open.set()

    def on_sources_closed(self) -> None:
        """Reading ended: what was not begun is dropped, what was is flushed."""
        self.closing = True
        self.open.clear()
        for lane in self.lanes.values():
            lane.drop_waiting()

    async def drain(self) -> None:
        """Return when all that was begun is acked, or the worker has failed: then it never will be."""
        try:
            await asyncio.gather(*(lane.drain() for lane in list(self.lanes.values())))
        except Exception as error:  # noqa: BLE001 - as in the lane itself
            self.fail_stop("flushing before a rebalance", error)

    # --- the store

    async def close_lanes(self) -> None:
        """Before a recovery: nothing folds until it is over."""
        self._recovered = None
        lanes, self.lanes = list(self.lanes.values()), {}
        for lane in lanes:
            await lane.close()

    def on_recovered(self, partitions: set[int]) -> None:
        """The state of these partitions is complete."""
        self._recovered = partitions
        for partition in sorted(partitions):
            self._lane(TP(self._stateful_topic, partition))

    # --- the outside

    async def note_progress(self, tp: TP, offset: int) -> None:
        """Everything up to `offset` is durable."""
        async with self._changed:
            self.progress[tp] = max(offset, self.progress.get(tp, -1))
            self._changed.notify_all()

    async def processed(self, tp: TP, offset: int) -> None:
        """Return when everything up to `offset` is durable.

        Raises `WorkerFailedError` when the worker stops itself before that.
        """
        async with self._changed:
            await self._changed.wait_for(
                lambda: self.failure is not None or self.progress.get(tp, -1) >= offset
            )
        self.assert_healthy()

    def fail_stop(self, reason: str, error: BaseException | None = None) -> None:
        """Stop the worker; nothing is acked after this."""
        if self.failure is None:
            self.failure = WorkerFailedError(f"{reason}: {error!r}" if error else reason)
            self.failure.__cause__ = error
        self.failed.set()
        self._fail_stop(reason, error)

    def assert_healthy(self) -> None:
        """Raise `WorkerFailedError` if the worker has failed."""
        if self.failure is not None:
            raise self.failure
