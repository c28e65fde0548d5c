"""All lanes of a worker, and what transport and store tell them.

An `Engine` has one `Lane` for each partition it consumes, opens it when the first record comes or its state is
recovered, and closes it when the partition goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any, Protocol, cast

from faust.types import TP, StreamT

from agents.engine.failure import FailStop, RefusedError, WorkerFailedError
from agents.engine.lane import BatchEvent, Confirm, Consumer, Lane, PartitionHandler
from agents.engine.record import Batch
from agents.engine.skew import ClockSkew


class Newest(Protocol):
    """Which of two state records of one key holds more, the first of them None if there is none yet."""

    def __call__(self, old: bytes | None, new: bytes) -> bytes:
        """One of the two."""
        ...


async def _takes_every_log(_topic: str | None, _since: float) -> None:
    """For lanes without a cluster."""


class Engine:
    """All lanes of a worker, and what transport and store tell them."""

    def __init__(
        self,
        open_lane: Callable[[TP], PartitionHandler],
        stateful_topic: str,
        compacted_topics: Iterable[str],
        newest: Newest,
        fail_stop: FailStop,
        now_ms: Callable[[], int],
    ) -> None:
        self.consumer: Consumer
        """Set by the app before anything is consumed."""
        self.letting_go = asyncio.Event()
        """A rebalance or the end begins: flush and let go."""
        self.open = asyncio.Event()
        """Sources are being read."""
        self.skew: ClockSkew | None = None
        """How far the clock behind `now_ms` was from the brokers'; None where it follows no clock of theirs."""
        self.recovering: dict[int, int] | None = None
        """Partition → records of its state that are left to read; None while nothing is recovered."""
        self.waiting_bytes = 0
        """Size of the records that wait in all lanes."""
        self.nothing_comes = False
        """The last fetch brought nothing, of any partition."""
        self.newest = newest
        self.now_ms = now_ms
        self.confirm: Confirm = _takes_every_log
        """Asked before anything is read after a rebalance, and before the handler gets a batch."""
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

    @property
    def closing(self) -> bool:
        """A rebalance or the end begins: flush and let go."""
        return self.letting_go.is_set()

    def unreadable(self) -> dict[TP, str]:
        """Partitions that stand still because nothing of them can be read, each with the reason."""
        return self.consumer.unreadable if hasattr(self, "consumer") else {}

    def refusal(self) -> Exception | None:
        """Why the group won't have us; None if it does, or nobody knows yet."""
        return self.consumer.refusal if hasattr(self, "consumer") else None

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
        self.letting_go.clear()
        self.open.set()
        for lane in self.lanes.values():
            lane.look_again()

    def on_sources_closed(self) -> None:
        """Reading ended: what was not begun is dropped, what was is flushed."""
        self.letting_go.set()
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
        await asyncio.gather(*(lane.close() for lane in lanes))

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
            if isinstance(error, RefusedError):
                self.failure = error
            else:
                self.failure = WorkerFailedError(f"{reason}: {error!r}" if error else reason)
                self.failure.__cause__ = error
        self.failed.set()
        self._fail_stop(reason, error)

    def assert_healthy(self) -> None:
        """Raise `WorkerFailedError` if the worker has failed."""
        if self.failure is not None:
            raise self.failure


class EngineApp(Protocol):
    """What transport and store, which Faust makes, need of the app that they are made for."""

    engine: Engine
