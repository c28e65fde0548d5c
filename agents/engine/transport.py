"""Faust's Kafka transport, made fast and safe: one message a fetched batch of a partition, and no holes.

Registered under a scheme of its own (`SCHEME`). Three rules beside vanilla Faust's transport:

- A message's value is a `Batch`: the raw records of one partition from one fetch. Its offset is the last one's.
- Source partitions are read only while they are open: from the seek at the end of a recovery until the next
  rebalance begins. (Vanilla resumes them before the seek and then clears what was already queued.)
- What was fetched across a seek or a rebalance is not delivered: delivery stays contiguous, `Batch.follows`
  says so, and the agents check it.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, cast

from aiokafka.errors import IllegalStateError, TopicAuthorizationFailedError
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from faust.types.tuples import Message

from agents.engine.engine import Engine, EngineApp
from agents.engine.failure import WorkerFailedError
from agents.engine.parsing import Reading, read_everything, watched
from agents.engine.record import Batch, Record
from agents.engine.static_member import leave_as_static_member

SCHEME = "successkafka"
POLL_S = 0.2
"""How long one poll waits, so that a partition that was held is soon read again."""
FETCH_MAX_WAIT_MS = 50
"""How long the broker holds an empty fetch; what arrives for a partition not in that fetch waits as long."""
CLOSED_PAUSE_S = 0.02
ANSWER_POLL_S = 0.1


class Stretch(list[Record]):
    """What a fetch brought of a partition: the records of the offsets [begin, end), which may be none.

    Transactions' markers, what they gave up and what compaction took have offsets and are no records.
    """

    __slots__ = ("begin", "end")

    def __init__(self, records: Iterable[Record], begin: int, end: int) -> None:
        super().__init__(records)
        self.begin, self.end = begin, end


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer with what Faust has no settings for."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS  # noqa: SLF001
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        self.reading = Reading(raw=True)
        return watched(consumer, self.reading)

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        max_records: int | None = None,
    ) -> Any:
        """Fetch once; what came, and which offsets it stands for, records or not."""
        before = _positions(consumer, active_partitions)
        try:
            fetched = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        except TopicAuthorizationFailedError:  # `reading` has said so; the others' records come the next time
            fetched = {}
        behind = _positions(consumer, active_partitions)
        stretches = {}
        for tp in active_partitions:
            records = fetched.get(tp, ())
            begin, end = before.get(tp), behind.get(tp)
            if tp in self.reading.jumped:
                begin = None
                if records:
                    self.reading.jumped.discard(tp)
                    begin = records[0].offset
            elif records and (begin is None or end is None or end <= records[-1].offset):
                begin, end = records[0].offset, records[-1].offset + 1
            if begin is not None and end is not None and (records or end > begin):
                stretches[ensure_TP(tp)] = Stretch(records, begin, end)
        return stretches

    def _log_slow_processing(
        self, msg: str, *args: Any, causes: Iterable[str], setting: str, current_value: float
    ) -> None:
        """Say nothing: Faust takes a lane that waits for Postgres for a stuck stream; lanes say what they wait for."""

    async def on_thread_stop(self) -> None:
        """Leave the group for good when stopping gracefully, so that others take over at once."""
        consumer = self._consumer
        if consumer is not None and self.app.conf.consumer_group_instance_id:
            await leave_as_static_member(consumer._coordinator)  # noqa: SLF001
        await super().on_thread_stop()

    reading = Reading()
    """What the consumer's parser has to say, once there is a consumer."""

    @property
    def refusal(self) -> Exception | None:
        """Why the group won't have us: aiokafka raises it where records are fetched, which nobody does without any."""
        coordinator = getattr(self._consumer, "_coordinator", None)
        return getattr(coordinator, "_pending_exception", None)

    def next_unread(self, tp: TP) -> int | None:
        """The end of what can be read of a partition, as of the last fetch."""
        consumer = self._ensure_consumer()
        if tp not in consumer.assignment():
            return None
        return cast("int | None", consumer.last_stable_offset(tp))


def _positions(consumer: Any, partitions: Iterable[TP]) -> dict[TP, int]:
    """Where reading continues in each partition of which that is known."""
    subscription = consumer._subscription.subscription  # noqa: SLF001 - its own `position` waits for one
    assignment = subscription.assignment if subscription is not None else None
    if assignment is None or not assignment.active:
        return {}
    states = {tp: assignment.state_value(tp) for tp in partitions}
    return {
        tp: state.position for tp, state in states.items() if state is not None and state.has_valid_position
    }


class BatchConsumer(driver.Consumer):
    """Delivers whole batches, only from open partitions, without holes."""

    _thread: BatchConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._open = False
        self._closings = 0
        self._seeks = 0
        self._seeks_before_fetch = 0
        self._next: dict[TP, int] = {}
        """Everything below was delivered, or is no record."""
        self._delivered: dict[TP, int] = {}
        """Where the last batch that was delivered ends, or the seek went."""
        self._acked_to: dict[TP, int] = {}
        self._known_gaps: dict[TP, tuple[int, int]] = {}
        self._held: set[TP] = set()
        super().__init__(*args, **kwargs)
        self._engine.consumer = self

    @property
    def _engine(self) -> Engine:
        return cast("EngineApp", self.app).engine

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def create_topic(self, topic: str, *_: Any, **__: Any) -> None:
        """Topics are made by `success migrate`, never by a worker."""
        self.log.debug("not creating topic %s", topic)

    # --- when source partitions are read

    def hold(self, tp: TP) -> None:
        """Stop delivering a partition for a while."""
        self._held.add(tp)

    def release(self, tp: TP) -> None:
        """Deliver a held partition again."""
        self._held.discard(tp)

    def stop_flow(self) -> None:
        """Close the sources: a rebalance or the end begins."""
        self._open = False
        self._closings += 1
        self._seeks += 1
        super().stop_flow()
        self._engine.on_sources_closed()

    async def wait_empty(self) -> None:
        """Wait for what was begun to be acked, and commit it; unless the worker has failed.

        Vanilla waits for every message that something still refers to. A batch that was dropped unbegun is never
        acked, but the agent's loop refers to the last one it saw: it would wait for ever, and the group with it.
        """
        engine = self._engine
        failed = asyncio.ensure_future(engine.failed.wait())
        draining = asyncio.ensure_future(engine.drain())
        try:
            await asyncio.wait({failed, draining}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            failed.cancel()
            draining.cancel()
        self._unacked_messages.clear()
        if engine.failure is None:
            await self.commit_and_end_transactions()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Keep the sources closed until the recovery that follows has sought."""
        self._open = False
        self._closings += 1
        self._held.clear()
        await super().on_partitions_assigned(assigned, generation_id)

    async def threadsafe_partitions_revoked(self, receiver_loop: AbstractEventLoop, revoked: set[TP]) -> None:
        """Tell the main thread, from the consumer's."""
        await self._answered(self.on_partitions_revoked, receiver_loop, revoked)

    async def threadsafe_partitions_assigned(
        self, receiver_loop: AbstractEventLoop, assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Tell the main thread, from the consumer's."""
        await self._answered(self.on_partitions_assigned, receiver_loop, assigned, generation_id)

    async def _answered(
        self, callback: Callable[..., Any], receiver_loop: AbstractEventLoop, *args: Any
    ) -> None:
        """Wait for the main thread, unless it stops: it answers no more then, and Faust would wait for ever."""
        answer = await self._method_queue.call(receiver_loop.create_future(), callback, *args)
        while not answer.done() and not self.should_stop:
            await asyncio.wait({answer}, timeout=ANSWER_POLL_S)
        if answer.done():
            answer.result()

    async def perform_seek(self) -> None:
        """Seek the sources to where their state, or else their commit, has them continue; then open them."""
        closings = self._closings
        self._seeks += 1
        self._next.clear()
        self._delivered.clear()
        self._acked_to.clear()
        try:
            await self._engine.confirm(None, time.monotonic())
        except WorkerFailedError as error:
            self._engine.fail_stop("before reading on", error)
            return
        await super().perform_seek()
        positions = await self._source_positions()
        await self.seek_wait(positions)
        self._delivered.update(positions)
        self._acked_to.update(positions)
        if self._closings == closings:
            self._open = True
            self._engine.on_sources_open()

    async def _source_positions(self) -> dict[TP, int]:
        sources = {tp for tp in self.assignment() if not self._is_changelog_tp(tp)}
        positions = self._engine.positions(sources)
        self._commit_what_the_state_holds(positions)
        ends = await self.highwaters(*positions) if positions else {}
        for tp, position in positions.items():
            if position > ends[tp]:
                self._engine.fail_stop(
                    f"the state of {tp.topic} partition {tp.partition} is ahead of its log (continues at {position}, "
                    f"the log ends at {ends[tp]}): the topic was deleted and made again; delete the state topic too"
                )
        for tp in sources - positions.keys():
            committed = self._committed_offset[tp]
            if committed is not None:
                positions[tp] = committed
        unread = sources - positions.keys()
        if unread:
            earliest = await self.earliest_offsets(*unread)
            positions.update({ensure_TP(tp): offset or 0 for tp, offset in earliest.items()})
        return positions

    def _commit_what_the_state_holds(self, positions: Mapping[TP, int]) -> None:
        """Have the next commit follow the state, lest the group seems to lag where nothing is left to read.

        The acks of a worker that died, or of partitions that were revoked in the middle of a flush, were lost.
        """
        for tp, position in positions.items():
            if position > (self._committed_offset[tp] or 0):
                self._acked[tp].append(position - 1)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Seek, and have delivery continue there."""
        if not partitions:
            return
        self._seeks += 1
        for tp, offset in partitions.items():
            self._next[ensure_TP(tp)] = offset
            if self._is_changelog_tp(tp):
                self._delivered[ensure_TP(tp)] = offset
        await super().seek_wait(
            {self._new_topicpartition(tp.topic, tp.partition): o for tp, o in partitions.items()}
        )

    def end_of(self, tp: TP) -> int | None:
        """The end of what can be read, as of the last fetch; None if that is not known."""
        return self._thread.next_unread(tp)

    def caught_up(self, tp: TP, next_offset: int) -> bool:
        """Whether nothing is left to read at `next_offset`, as of the last fetch: at most what is no record."""
        end = self._thread.next_unread(tp)
        if end is None:
            return False
        return next_offset >= end or (
            self._next.get(tp, 0) >= end and next_offset >= self._delivered.get(tp, end)
        )

    @property
    def refusal(self) -> Exception | None:
        """Why the group won't have us; None if it does, or nobody knows yet."""
        return self._thread.refusal

    @property
    def unreadable(self) -> dict[TP, str]:
        """Partitions that stand still because nothing of them can be read, each with the reason."""
        return {ensure_TP(tp): why for tp, why in dict(self._thread.reading.unreadable).items()}

    # --- fetching

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's signature
        self._seeks_before_fetch = self._seeks
        wanted = {tp for tp in active_partitions or () if self._is_open(tp) and tp not in self._held}
        if not wanted:
            await asyncio.sleep(CLOSED_PAUSE_S)
            return {}
        return await super()._getmany(wanted, min(timeout, POLL_S))

    def _is_open(self, tp: TP) -> bool:
        return self._is_changelog_tp(tp) or (self._open and not self.app.rebalancing)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109 - as above
        """Fetch once; a message for each partition that records came from."""
        fetched, _ = await self._wait_next_records(timeout)
        stretches = cast("dict[TP, Stretch]", fetched or {})
        self._engine.on_fetched(something=any(stretches.values()))
        if not stretches or self.should_stop:
            return
        seeks = self._seeks_before_fetch
        waiting = dict(stretches)
        while waiting:
            tp, stretch = waiting.popitem()
            if self._seeks != seeks or not self.flow_active or not self._is_open(tp):
                await self._give_back({tp: stretch, **waiting})
                return
            expected = self._next.get(tp, stretch.begin)
            if stretch.begin > expected and not self._gap_is_known(tp, expected, stretch.begin):
                await self._give_back({tp: stretch, **waiting})
                return
            self._next[tp] = stretch.end
            if not stretch:
                self._pass_over(tp)
                continue
            follows = self._delivered.get(tp, stretch.begin)
            self._delivered[tp] = stretch.end
            yield tp, self._message(tp, Batch(stretch, follows), stretch.end)

    def _pass_over(self, tp: TP) -> None:
        """Have the next commit, and the lane, know of offsets that are no records and follow what was delivered."""
        if self._is_changelog_tp(tp):
            return
        if self._acked_to.get(tp, -1) >= self._delivered.get(tp, 0):
            self._acked[tp].append(self._next[tp] - 1)
        if lane := self._engine.lanes.get(tp):
            lane.look_again()

    async def _give_back(self, undelivered: Mapping[TP, Stretch]) -> None:
        """Have what was not delivered fetched again; in a rebalance the seek at its end does that."""
        targets = {tp: self._next.get(tp, stretch.begin) for tp, stretch in undelivered.items()}
        assigned = self.assignment()
        try:
            await self.seek_wait({tp: offset for tp, offset in targets.items() if tp in assigned})
        except IllegalStateError:
            if not self.app.rebalancing:
                raise

    def _gap_is_known(self, tp: TP, follows: int, first: int) -> bool:
        """A gap seen twice, the second time after a seek to its start, is one of the log's own.

        Compaction, retention and transaction markers leave such gaps; a batch that went missing does not.
        """
        if self._is_changelog_tp(tp) or self._engine.expects_gaps(tp.topic):
            return True
        if self._known_gaps.get(tp) != (follows, first):
            self._known_gaps[tp] = follows, first
            self.log.info("gap in %s: expected offset %d, got %d; fetching again", tp, follows, first)
            return False
        self.log.warning("offsets %d to %d of %s are no longer in the log", follows, first - 1, tp)
        return True

    def _message(self, tp: TP, batch: Batch, end: int) -> ConsumerMessage:
        last: Any = batch[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset if self._is_changelog_tp(tp) else end - 1,
            last.timestamp / 1000.0,
            last.timestamp_type,
            None,
            None,
            cast("bytes", batch),
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    # --- acks: the batches of a partition are acked in order, by their last offsets

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Between the last offsets of two batches lie the records of the second: no gap."""

    def _new_offset(self, tp: TP) -> int | None:
        acked = self._acked[tp]
        if not acked:
            return None
        end = max(acked) + 1
        acked.clear()
        self._acked_index[tp].clear()
        if end >= self._delivered.get(tp, end):
            end = max(end, self._next.get(tp, end))
        self._acked_to[tp] = max(end, self._acked_to.get(tp, 0))
        return end


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport with `BatchConsumer`."""

    Consumer = BatchConsumer


def register() -> None:
    """Make `SCHEME` known to Faust."""
    read_everything()
    TRANSPORTS.aliases[SCHEME] = f"{__name__}:{BatchTransport.__name__}"
