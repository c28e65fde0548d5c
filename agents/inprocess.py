"""A whole worker inside this event loop: what `success worker` runs, and what `success run` drives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from aiokafka.admin import AIOKafkaAdminClient
from faust.types import TP
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from agents.activity import POLICY as SCORING_POLICY
from agents.activity import ScoringHandler, WallClock, fire_due
from agents.app import INTERVENTION_TOPICS, SuccessApp, build_app
from agents.batch_agent import FlushPolicy, Lane
from agents.failure import FailStop, WorkerFailedError
from agents.intervention_agent import Writer
from agents.interventions import InterventionWriter
from agents.kafka import client_options
from agents.partition_store import PartitionStore
from agents.provisioning import wanted_topics
from agents.record import Record, log_append_time
from agents.snapshots import Snapshots
from runtime.clock import Clock
from runtime.quiet import without_logs
from runtime.settings import Settings
from scoring.policy import Policy
from store.database import Role, open_pool
from topics.catalog import full_name

T = TypeVar("T")

POOL_SIZE = 8
"""Connections to Postgres of one worker."""
LAST_SNAPSHOTS_WITHIN_S = 10.0

logger = logging.getLogger(__name__)


class TopicsNotReadyError(Exception):
    """Topics are missing or do not fit together; the message says which and what to do."""


class InProcessWorker:
    """Scoring agent and, with `policy`, intervention agent, started and stopped with `start` and `stop`.

    `new_writer` stands in for the writer to Postgres. With `grace_ms` None nothing fires by itself, neither in
    the stream nor by the wall clock: call `fire_due`. Topics are named as in the catalogue, without prefix.
    With `snapshots` it keeps local snapshots of its state, as the settings say.
    Every waiting call raises `WorkerFailedError` once the worker has stopped itself; `fail_stop` is told as
    well, if given.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        grace_ms: int | None = None,
        append_time: Callable[[Record], int] = log_append_time,
        policy: Policy | None = None,
        new_writer: Callable[[], Writer] | None = None,
        instance_id: str | None = None,
        scoring_policy: FlushPolicy = SCORING_POLICY,
        snapshots: bool = False,
        fail_stop: FailStop | None = None,
    ) -> None:
        if policy is not None:
            new_writer = partial(self._new_writer, policy)
        self._pool: AsyncConnectionPool[AsyncConnection] | None = None
        self._writes = policy is not None
        self._settings = settings
        self._clock = clock
        self._grace_ms = grace_ms
        self._outer_fail_stop = fail_stop
        self._failed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.wall_clock: WallClock | None = None
        """Ticks once a second while the worker runs, if there is a grace."""
        self.app: SuccessApp = build_app(
            settings,
            clock,
            grace_ms=grace_ms,
            append_time=append_time,
            new_writer=new_writer,
            instance_id=instance_id,
            scoring_policy=scoring_policy,
            snapshot_folder=snapshot_folder(settings) if snapshots else None,
            fail_stop=self._on_failure,
        )

    # --- life

    async def start(self) -> None:
        """Connect, join the group and recover; returns when the state is recovered.

        Raises `TopicsNotReadyError` if `success migrate` has not been run.
        """
        await check_topics(self._settings)
        self.app.lease.renew()
        self._spawn(self.app.lease.keep())
        if self._writes:
            self._pool = await open_pool(self._settings.database_url, Role.WRITER, max_size=POOL_SIZE)
        await self.app.batch_producer.start()
        if self.app.snapshots is not None:
            await self.app.snapshots.open()
        await self._unless_failed(self.app.start())
        self._spawn(self._watch_app())
        if self._grace_ms is not None:
            self.wall_clock = WallClock(self.app.engine, self._grace_ms, self._end_of)
            self._spawn(self.wall_clock.run())
        if self.app.snapshots is not None:
            self._spawn(self._keep_snapshots(self.app.snapshots))

    async def stop(self) -> None:
        """Flush, commit and leave; after a failure just leave."""
        tasks, self._tasks = self._tasks, []
        for task in tasks[1:]:  # the lease is kept to the last
            task.cancel()
        if self._failed.is_set():
            await self.app.engine.close_lanes()
        await self.app.stop()
        await self.app.engine.close_lanes()
        await self.app.batch_producer.stop()
        if self.app.snapshots is not None:
            await self._save_before_the_end(self.app.snapshots)
        if self._pool is not None:
            await self._pool.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def failed(self) -> WorkerFailedError:
        """Wait for the worker to stop itself, and say why."""
        await self._failed.wait()
        failure = self.app.engine.failure
        return failure or WorkerFailedError("the worker stopped itself")

    # --- what a driver waits for

    async def started(self) -> None:
        """Return when the worker reads its partitions."""
        await self._unless_failed(self.app.engine.open.wait())

    async def processed(self, topic: str, partition: int, offset: int) -> None:
        """Return when the effects of everything up to this offset are durable."""
        tp = TP(full_name(self._settings.topic_prefix, topic), partition)
        await self._unless_failed(self.app.engine.processed(tp, offset))

    async def settled(self) -> None:
        """Return when the intervention agent has stored everything that the scoring agent has sent."""
        for (topic, partition), offset in self.produced.items():
            if topic in INTERVENTION_TOPICS:
                await self.processed(topic, partition, offset)

    async def fire_due(self, to_ms: int) -> int:
        """Fire everything due at or before `to_ms` on all partitions; the number of signals, once acked."""
        counts = [await self._unless_failed(fire_due(lane, to_ms)) for lane in self._scoring_lanes()]
        return sum(counts)

    def next_due_ms(self) -> int | None:
        """A lower bound of when something falls due next on any partition; None if nothing will."""
        due = [handler.fold.next_due() for handler in self._scoring_handlers()]
        return min((at for at in due if at is not None), default=None)

    @property
    def produced(self) -> dict[tuple[str, int], int]:
        """(catalogue topic, partition) → offset of the last record this worker has sent there."""
        prefix = self._settings.topic_prefix
        sent = self.app.batch_producer.last_offset
        return {
            (topic.removeprefix(prefix), partition): offset for (topic, partition), offset in sent.items()
        }

    # --- inside

    def _new_writer(self, policy: Policy) -> Writer:
        if self._pool is None:
            raise RuntimeError("the worker is not started")
        key = self._settings.secret("secret_key").encode()
        return InterventionWriter(self._pool, self._clock, policy, key)

    def _scoring_lanes(self) -> list[Lane]:
        lanes = self.app.engine.lanes.values()
        return [lane for lane in lanes if isinstance(lane.handler, ScoringHandler)]

    def _scoring_handlers(self) -> list[ScoringHandler]:
        lanes = self.app.engine.lanes.values()
        return [lane.handler for lane in lanes if isinstance(lane.handler, ScoringHandler)]

    async def _end_of(self, tp: TP) -> tuple[int, int]:
        consumer = self.app.consumer
        ends = await consumer.highwaters(tp)
        position = await consumer.position(tp)
        return ends[tp], position or 0

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _keep_snapshots(self, snapshots: Snapshots) -> None:
        while True:
            await asyncio.sleep(self._settings.snapshot_seconds)
            await self._save(snapshots)

    async def _save(self, snapshots: Snapshots) -> None:
        """A snapshot of each partition that has changed, one after another."""
        store = cast("PartitionStore", cast("Any", self.app.tables["activity-state"]).data)
        for number in sorted(store.marked()):
            if (mark := store.marked().get(number)) is not None:
                await snapshots.save(number, mark, store.partition(number))

    async def _save_before_the_end(self, snapshots: Snapshots) -> None:
        """Others have the partitions by now: only the end of this process waits for it."""
        try:
            async with asyncio.timeout(LAST_SNAPSHOTS_WITHIN_S):
                if not self._failed.is_set():
                    await self._save(snapshots)
                await snapshots.close()
        except TimeoutError:
            logger.warning(
                "not all snapshots were written within %.0f s: the older ones stay", LAST_SNAPSHOTS_WITHIN_S
            )

    async def _watch_app(self) -> None:
        """A crash inside Faust ends the worker too."""
        await self.app.wait_until_stopped()
        if self.app._crashed.is_set():  # noqa: SLF001 - mode offers no other way to ask
            self.app.engine.fail_stop("Faust crashed", self.app._crash_reason)  # noqa: SLF001

    def _on_failure(self, reason: str, error: BaseException | None = None) -> None:
        if self._outer_fail_stop is not None:
            self._outer_fail_stop(reason, error)
        self._failed.set()

    async def _unless_failed(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, or WorkerFailedError as soon as the worker has failed."""
        task = asyncio.ensure_future(work)
        failure = asyncio.ensure_future(self._failed.wait())
        try:
            await asyncio.wait({task, failure}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise await self.failed()
            return task.result()
        finally:
            failure.cancel()
            task.cancel()


def snapshot_folder(settings: Settings) -> Path | None:
    """Where local snapshots of the state go; None if the settings want none."""
    return settings.state_dir / "activity-state" if settings.snapshot_seconds else None


async def check_topics(settings: Settings) -> None:
    """Raise `TopicsNotReadyError` unless all topics are there, with the same number of partitions each."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    with without_logs("aiokafka"):  # what it logs when nobody is there, its error says
        await admin.start()
    try:
        described = await admin.describe_topics(list(wanted_topics(settings.topic_prefix)))
    finally:
        await admin.close()
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    missing = sorted(name for name, count in counts.items() if not count)
    if missing:
        raise TopicsNotReadyError(f"no topic {', '.join(missing)}: run `success migrate`")
    for name, count in counts.items():
        if count != settings.partitions:
            raise TopicsNotReadyError(
                f"topic {name} has {count} partitions and SUCCESS_PARTITIONS is {settings.partitions}: all topics "
                "must have the same number, or a supplier's records end up with different workers"
            )
