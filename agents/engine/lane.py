"""The cycle that every batch-consuming agent shares: take in order, handle, have the effects acked, then ack.

A lane feeds the batches of one partition to its handler, decides when to flush, and acks only what a flush has made
durable. Whatever goes wrong stops the worker: the next one continues from the last durable state, and Faust never acks
what failed. `engine.py` has all lanes of a worker.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from faust.types import TP, EventT

from agents.engine.failure import WorkerFailedError
from agents.engine.record import Batch, Record
from runtime import metrics
from runtime.away import Passing, Wait, set_within

logger = logging.getLogger(__name__)

BatchEvent = EventT[Batch]
T = TypeVar("T")

MIB = 1024 * 1024
WAITING_BYTES = 128 * MIB
"""What may wait in all lanes of a worker together before even those with little are not read for a while."""
LITTLE = 16
"""A lane with less than this part of its own `hold_bytes` is always read."""
RECORD_BYTES = 100
"""What a record takes beside its value, some."""

LIVE_MS = 5_000
GIVE_BACK_S = 5.0
"""How long a flush that may be given up may still take once the partition has to go: the group waits for 30 s."""
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
    """So many records are flushed, whatever the clock says: no flush has more, however large the fetch."""
    bytes: int = 64 * MIB
    """So many bytes of records, in the same way; a single record may be larger."""
    seconds: float = 1.0
    backlog_seconds: float = 1.0
    hold_records: int = 20_000
    """A partition with this many records waiting is not read for a while."""
    hold_bytes: int = 16 * MIB
    """Nor is one with so many bytes of them."""
    urgent_seconds: float = 0.25
    """What is urgent waits no longer for the rest while a lane keeps up."""
    rest: float = 0.0
    """While more comes, the next flush waits so many times as long as the last one took, `backlog_seconds` at most.
    What is urgent need not wait for that."""
    owes: bool = True
    """What nobody acts on may be left to a later flush."""


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

    async def flush_rest(self) -> None:
        """Return when whatever else is owed is durable: the partition goes, and all that was added is flushed."""
        ...

    def away(self, error: Exception) -> Passing | None:
        """What a failed flush waits for before it is tried again; None if the worker is to stop."""
        ...

    @property
    def gives_back(self) -> bool:
        """Whether a flush may be left unfinished once the partition goes: its next owner does it again."""
        ...


class Consumer(Protocol):
    """What lanes ask of the transport."""

    def hold(self, tp: TP) -> None:
        """Stop delivering a partition for a while."""
        ...

    def release(self, tp: TP) -> None:
        """Deliver it again."""
        ...

    def end_of(self, tp: TP) -> int | None:
        """The end of what can be read; None if that is not known."""
        ...

    def caught_up(self, tp: TP, next_offset: int) -> bool:
        """Whether nothing is left to read."""
        ...

    @property
    def unreadable(self) -> dict[TP, str]:
        """Partitions that stand still because nothing of them can be read, each with the reason."""
        ...

    @property
    def refusal(self) -> Exception | None:
        """Why the group won't have us; None if it does, or nobody knows yet."""
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


class Confirm(Protocol):
    """Whether records fetched before `since` (`time.monotonic`) of a topic, or of any (None), are of the known log."""

    def __call__(self, topic: str | None, since: float, /) -> Awaitable[None]:
        """Return if they are; raise `WorkerFailedError` if they may not be."""
        ...


class Worker(Protocol):
    """What lanes share: the clock, what waits in all of them, and whether the worker goes on."""

    consumer: Consumer
    letting_go: asyncio.Event
    waiting_bytes: int
    nothing_comes: bool
    now_ms: Callable[[], int]
    confirm: Confirm

    @property
    def closing(self) -> bool:
        """A rebalance or the end begins: flush and let go."""
        ...

    async def note_progress(self, tp: TP, offset: int) -> None:
        """Everything up to `offset` is durable."""
        ...

    def fail_stop(self, reason: str, error: BaseException | None = None) -> None:
        """Stop the worker; nothing is acked after this."""
        ...

    def assert_healthy(self) -> None:
        """Raise `WorkerFailedError` if the worker has failed."""
        ...


class Lane:
    """One partition on its way through its handler."""

    def __init__(self, tp: TP, handler: PartitionHandler, worker: Worker) -> None:
        self.tp = tp
        self.handler = handler
        self.lock = asyncio.Lock()
        self.next_offset: int | None = handler.position()
        self.last_record_ms = worker.now_ms()
        """When a record last came, by the worker's clock; at first when the lane opened."""
        self.closed = False
        """The partition is being recovered, or somebody else's: what holds the lock now may do nothing."""
        self._worker = worker
        self._waiting: deque[tuple[BatchEvent, int]] = deque()
        self._waiting_records = 0
        self._waiting_bytes = 0
        self._changed = asyncio.Event()
        self._held = False
        self._unacked: list[BatchEvent] = []
        self._unflushed_records = 0
        self._unflushed_bytes = 0
        self._adding = False
        self._oldest_unacked_at = 0.0
        self._put_at = 0.0
        self._appended_ms = 0
        self._backlog_wait = handler.policy.backlog_seconds * (1 + tp.partition % TURNS) / TURNS
        self._pace = Pace()
        self._urgent_pace = Pace()
        self.wait = Wait(f"{tp.topic} partition {tp.partition}")
        """For what the handler writes to."""
        self.progressed_at = 0.0
        """When (seconds since the epoch) something of it was last made durable; 0 if nothing was yet."""
        self._fold_seconds = metrics.FOLD.labels(tp.topic)
        self._flush_seconds = metrics.FLUSH.labels(tp.topic)
        self._task = asyncio.create_task(self._run(), name=f"lane {tp.topic}[{tp.partition}]")
        self._trying: asyncio.Task[Passing | None] | None = None
        """The flush that is under way, or was given up."""
        self._working: asyncio.Task[Any] | None = None
        """What was begun with `to_the_end`: asyncio itself holds tasks weakly."""

    @property
    def idle(self) -> bool:
        """Nothing is waiting to be handled or acked."""
        return not self._waiting and not self._unacked and not self._adding

    def put(self, event: BatchEvent) -> None:
        """Queue a batch; when much waits, the partition is not read for a while."""
        self._put_at = time.monotonic()
        batch = cast("Batch", event.value)
        size = bytes_of(batch)
        self._waiting.append((event, size))
        self._count_waiting(len(batch), size)
        if not self._held and self._waits_much():
            self._held = True
            self._worker.consumer.hold(self.tp)
        self._changed.set()

    def _take(self) -> tuple[BatchEvent, int]:
        """The next batch and its size; reads the partition again when little is left."""
        event, size = self._waiting.popleft()
        self._count_waiting(-len(cast("Batch", event.value)), -size)
        if self._held and (not self._waiting or self._waits_little()):
            self._release()
        return event, size

    def _count_waiting(self, records: int, size: int) -> None:
        self._waiting_records += records
        self._waiting_bytes += size
        self._worker.waiting_bytes += size

    def _waits_much(self) -> bool:
        policy = self.handler.policy
        if self._waiting_records >= policy.hold_records or self._waiting_bytes >= policy.hold_bytes:
            return True
        return (
            self._worker.waiting_bytes >= WAITING_BYTES and self._waiting_bytes >= policy.hold_bytes // LITTLE
        )

    def _waits_little(self) -> bool:
        policy = self.handler.policy
        return (
            self._waiting_records < policy.hold_records // 2
            and self._waiting_bytes < policy.hold_bytes // 2
            and self._worker.waiting_bytes < WAITING_BYTES
        )

    def _release(self) -> None:
        if self._held:
            self._held = False
            self._worker.consumer.release(self.tp)

    def look_again(self) -> None:
        """Something has changed that may make a flush due."""
        if self._unacked:
            self._changed.set()

    def drop_waiting(self) -> None:
        """Forget what was not begun (it is read again after the rebalance) and flush the rest at once."""
        self._waiting.clear()
        self._count_waiting(-self._waiting_records, -self._waiting_bytes)
        self._release()
        self._changed.set()

    async def drain(self) -> None:
        """Return when all that was begun is acked."""
        async with self.lock:
            if self._unacked or self._unflushed_records:
                await self.flush()
            if not self.closed:
                await self._send(self.handler.flush_rest, Pace())

    async def close(self) -> None:
        """Finish what is being flushed, then end."""
        async with self.lock:
            self.closed = True
            self._task.cancel()
            self.drop_waiting()

    async def to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it whatever becomes of the caller; what fails stops the worker."""
        task = self._working = asyncio.create_task(self._guarded(work))
        return await asyncio.shield(task)

    async def _guarded(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        except Exception as error:
            self._worker.fail_stop(f"{self.tp.topic} partition {self.tp.partition}", error)
            raise

    async def _run(self) -> None:
        try:
            while True:
                await self._something_to_do()
                async with self.lock:
                    # Taken under the lock: a batch is either waiting, and may be dropped, or begun.
                    if self._waiting:
                        await self._add(*self._take())
                    if self._unacked:
                        await self._flush_what_is_due()
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing may be acked after it
            self._worker.fail_stop(f"{self.tp.topic} partition {self.tp.partition}", error)

    @property
    def _gives_back_now(self) -> bool:
        """The partition goes, and what the handler writes to is known to be away."""
        return self._worker.closing and self.wait.waiting_for is not None

    async def _something_to_do(self) -> None:
        """Return when a batch waits, or when it is time to flush."""
        if self._waiting:
            return
        self._changed.clear()
        if not self._unacked or self._gives_back_now:
            await self._changed.wait()
            return
        left = min(self._flush_at(), self._flush_urgent_at()) - time.monotonic()
        await set_within(self._changed, left)

    async def _add(self, event: BatchEvent, size: int) -> None:
        batch = cast("Batch", event.value)
        if self.next_offset is not None and batch.follows > self.next_offset:
            raise WorkerFailedError(
                f"offsets {self.next_offset} to {batch.follows - 1} never reached the agent; starting over"
            )
        if not self._unacked:
            self._oldest_unacked_at = time.monotonic()
        await self._worker.confirm(self.tp.topic, self._put_at)
        self._adding = True
        try:
            whole = await self._add_parts(batch, size)
        finally:
            self._adding = False
        self.last_record_ms = self._worker.now_ms()
        self._appended_ms = batch[-1].timestamp
        batch.clear()  # unacked events are kept until the next flush, which may be far; the records need not be
        if whole:
            self.next_offset = max(self.next_offset or 0, event.message.offset + 1)
            self._unacked.append(event)

    async def _add_parts(self, batch: Batch, size: int) -> bool:
        """Hand a batch to the handler in parts of which each fits into a flush; False if a rebalance came between.

        A flush between them acks the batches before this one. What is left off is read again after the rebalance.
        """
        policy = self.handler.policy
        for number, (part, bytes_) in enumerate(parts_of(batch, size, policy)):
            if number and self._worker.closing:
                return False
            if self._is_full(len(part), bytes_):
                await self.flush()
            with self._fold_seconds.time():
                await self.handler.add(part)
            self.next_offset = max(self.next_offset or 0, part[-1].offset + 1)
            self._unflushed_records += len(part)
            self._unflushed_bytes += bytes_
        return True

    def _is_full(self, more: int = 0, more_bytes: int = 0) -> bool:
        """Whether what was handled makes a flush, or would with so much more."""
        if not self._unflushed_records:
            return False
        policy = self.handler.policy
        over = (
            self._unflushed_records + more - policy.records,
            self._unflushed_bytes + more_bytes - policy.bytes,
        )
        return max(over) > 0 if more else max(over) >= 0

    async def _flush_what_is_due(self) -> None:
        now = time.monotonic()
        if self._flush_at() <= now:
            await self.flush()
        elif self._flush_urgent_at() <= now:
            await self._send(self.handler.flush_urgent, self._urgent_pace)

    async def _send(self, flush: Callable[[], Awaitable[None]], pace: Pace) -> None:
        self._worker.assert_healthy()
        with pace.measured(), self._flush_seconds.time():
            await flush()
        self._worker.assert_healthy()

    async def _flushed(self) -> Passing | None:
        """Flush; what is away if that can't be done now, or takes too long when the partition has to go."""
        if not self.handler.gives_back:
            return await self._tried()
        trying = self._trying = asyncio.create_task(self._tried())
        trying.add_done_callback(lambda done: done.cancelled() or done.exception())
        letting_go = asyncio.create_task(self._worker.letting_go.wait())
        try:
            await asyncio.wait({trying, letting_go}, return_when=asyncio.FIRST_COMPLETED)
            if not trying.done():
                await asyncio.wait({trying}, timeout=0.0 if self.wait.waiting_for else GIVE_BACK_S)
        finally:
            letting_go.cancel()
            if not trying.done():
                trying.cancel()  # a server that hangs may hold it for longer than anybody should wait
        if trying.done():
            return trying.result()
        return self.wait.waiting_for or Passing("what it writes to", f"no answer within {GIVE_BACK_S:g} s")

    async def _tried(self) -> Passing | None:
        try:
            await self._send(self.handler.flush, self._pace)
        except Exception as error:
            away = self.handler.away(error)
            if away is None:
                raise
            return away
        return None

    def _flush_at(self) -> float:
        """When (`time.monotonic`) all is to be flushed, as things stand."""
        policy = self.handler.policy
        if self._worker.closing or self._is_full():
            return 0.0
        rested = 0.0 if self._worker.nothing_comes else self._pace.rested(policy)
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
        return not self._waiting and self._worker.consumer.caught_up(self.tp, self.next_offset or 0)

    def _has_backlog(self) -> bool:
        return self._worker.now_ms() - self._appended_ms >= LIVE_MS

    async def flush(self) -> None:
        """Make durable what was handled, then ack it. Hold the lock.

        What the handler writes to may be away: then this waits until it is back. If a rebalance or the end begins
        meanwhile nothing is acked, and read again; nor is it tried once more: the group waits for no lane.
        """
        while not self._gives_back_now:
            away = await self._flushed()
            if away is None:
                return await self._ack()
            if self._worker.closing:
                self.wait.failed(away)
            else:
                await self.wait.pause(away, self._worker.letting_go)
        return None

    async def _ack(self) -> None:
        self.wait.worked()
        self.progressed_at = time.time()
        self._backlog_wait = self.handler.policy.backlog_seconds
        for event in self._unacked:
            event.ack()
        self._unacked.clear()
        self._unflushed_records = self._unflushed_bytes = 0
        if self.next_offset is not None:
            await self._worker.note_progress(self.tp, self.next_offset - 1)


def bytes_of(records: Iterable[Record]) -> int:
    """What records take in memory, about."""
    return sum(len(record.value or b"") + RECORD_BYTES for record in records)


def parts_of(batch: Batch, size: int, policy: FlushPolicy) -> Iterator[tuple[Sequence[Record], int]]:
    """A batch of `size` bytes in parts that the policy lets into one flush, each with its size; at least a record."""
    if len(batch) <= policy.records and size <= policy.bytes:
        yield batch, size
        return
    part: list[Record] = []
    part_size = 0
    for record in batch:
        one = bytes_of((record,))
        if part and (len(part) >= policy.records or part_size + one > policy.bytes):
            yield part, part_size
            part, part_size = [], 0
        part.append(record)
        part_size += one
    yield part, part_size
