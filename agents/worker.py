"""A whole worker inside this event loop: what `success worker` runs, and what `success run` drives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
from aiokafka.errors import GroupAuthorizationFailedError
from faust.types import TP
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from agents.app import INTERVENE, build_app, topics_of
from agents.cluster.checks import faults_that_stop
from agents.cluster.describing import Described
from agents.cluster.identity import Watch, check_topics
from agents.cluster.ledger import Ledger
from agents.cluster.rules_follower import RulesFollower
from agents.engine.failure import FailStop, RefusedError, WorkerFailedError
from agents.engine.faust_app import BatchApp
from agents.engine.lane import FlushPolicy, Lane
from agents.engine.record import Record, log_append_time
from agents.health.handler import POLICY as SCORING_POLICY
from agents.health.handler import ScoringHandler, WallClock, fire_due
from agents.health.switching import RulesInForce, Switcher
from agents.interventions.handler import Writer
from agents.interventions.writer import InterventionWriter
from runtime.away import Wait, passing
from runtime.clock import Clock
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from scoring.health.rules import SHIPPED
from store.database import DatabaseError, Role, check_usable, connect, new_pool, open_pool
from topics.catalog import PROFILES, full_name

T = TypeVar("T")

POOL_SIZE = 8
"""Connections to Postgres of one worker."""
CONNECTION_WITHIN_S = 5.0
"""How long a lane waits for one of them before it tries again: a rebalance waits for it as long."""
GROUP_LOOK_S = 0.5
"""How often a worker that joins its group asks whether it is refused."""


class InProcessWorker:
    """Scoring agent and, with `policy`, intervention agent, started and stopped with `start` and `stop`.

    `new_writer` stands in for the writer to Postgres. With `grace_ms` None nothing fires by itself, neither in
    the stream nor by the wall clock: call `fire_due`. Topics are named as in the catalogue, without prefix.
    With `waits` a Kafka that is away at the start is waited for, and with Postgres away scoring begins without it.
    `alone`: the topics are its own, on a stack of its own; nobody makes them anew, and none is looked at again.
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
        fail_stop: FailStop | None = None,
        waits: bool = False,
        alone: bool = False,
    ) -> None:
        if policy is not None:
            new_writer = partial(self._new_writer, policy)
        own = SHIPPED if policy is None else policy.rules
        self.follower = RulesFollower(settings) if grace_ms is not None else None
        """Of what is in force; None where a driver says when time passes, and nothing is activated."""
        prefix = settings.topic_prefix
        self._rules = None if self.follower is None else RulesInForce(self.follower, [SHIPPED, own], prefix)
        self._name = instance_id or uuid4().hex
        self._pool: AsyncConnectionPool[AsyncConnection] | None = None
        self._writes = policy is not None
        self._waits = waits
        self._alone = alone
        self._settings = settings
        self._clock = clock
        self._grace_ms = grace_ms
        self._outer_fail_stop = fail_stop
        self._failed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._watch: Watch | None = None
        self._ledger = Ledger()
        self.wall_clock: WallClock | None = None
        """Ticks once a second while the worker runs, if there is a grace."""
        self.app: BatchApp = build_app(
            settings,
            clock,
            grace_ms=grace_ms,
            append_time=append_time,
            new_writer=new_writer,
            instance_id=instance_id,
            scoring_policy=scoring_policy,
            fail_stop=self._on_failure,
            rules=own,
            versions=self._rules,
            ledger=lambda: self._ledger,
        )

    # --- life

    async def start(self) -> None:
        """Connect, join the group and recover; returns when the state is recovered.

        Raises `TopicsNotReadyError` if `success migrate` has not been run, `RefusedError` if a topic was made anew,
        or has another number of partitions or a setting with which a worker would do wrong.
        """
        topics = await Wait("the worker").until(self._look_at_topics, wait=self._waits)
        if not self._alone:
            self._watch = Watch(self._settings, topics)
            await self._watch.open()
            self.app.engine.confirm = self._watch.confirm_lane
        self.app.lease.renew()
        self._spawn(self.app.lease.keep())
        if self._watch is not None:
            self._spawn(self._keep_watching(self._watch))
        if self._writes:
            await self._open_pool()
        await Wait("the worker").until(self.app.batch_producer.start, wait=self._waits)
        if self.follower is not None:
            await Wait("the worker").until(self.follower.start, wait=self._waits)
            self.follower.follow(self.app.engine.fail_stop)
        self._spawn(self._watch_app())
        self._spawn(self._watch_group())
        await self._unless_failed(self.app.start())
        if self._grace_ms is not None:
            self.wall_clock = WallClock(self.app.engine, self._grace_ms, self._end_of)
            self._spawn(self.wall_clock.run())
        if self.follower is not None and self._rules is not None and self.wall_clock is not None:
            engine, producer, prefix = self.app.engine, self.app.batch_producer, self._settings.topic_prefix
            switcher = Switcher(
                engine, self.follower, self._rules, producer, self.wall_clock, prefix, self._name
            )
            self._spawn(switcher.run())

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
        if self.follower is not None:
            await self.follower.stop()
        if self._pool is not None:
            await self._pool.close()
        if self._watch is not None:
            await self._watch.close()
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
            if topic in topics_of(INTERVENE):
                await self.processed(topic, partition, offset)

    async def fire_due(self, to_ms: int) -> int:
        """Fire everything due at or before `to_ms` on all partitions; the number of signals, once acked.

        No snapshot is owed after it.
        """
        counts = [
            await self._unless_failed(fire_due(lane, to_ms, tells_all=True)) for lane in self._scoring_lanes()
        ]
        return sum(counts)

    @property
    def recovering(self) -> dict[int, int] | None:
        """Partition → records of the state left to read; None once it is recovered, and while nothing is assigned."""
        return self.app.engine.recovering

    @property
    def not_ready(self) -> str | None:
        """Why the worker does not read its partitions at this moment, in words; None if it does."""
        engine = self.app.engine
        if engine.failure is not None:
            return f"failed: {engine.failure}"
        if engine.open.is_set():
            return None
        if engine.recovering is not None:
            return f"recovering: {sum(engine.recovering.values())} records left"
        return "joining"

    @property
    def clock_skew_ms(self) -> int:
        """How far this machine's clock is ahead of the brokers'; 0 until something was sent."""
        return self.app.engine.skew.ms if self.app.engine.skew else 0

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
        keys = self._settings.keys("secret_key")
        homes = self._ledger.homes(self._settings.partitions, PROFILES)
        return InterventionWriter(self._pool, self._clock, policy, keys, homes, self.follower)

    async def _look_at_topics(self) -> dict[str, Described]:
        """The topics, if this worker may read them; RefusedError if not."""
        self._ledger, topics = await check_topics(self._settings)
        if faults := await faults_that_stop(self._settings):
            mends = dict.fromkeys(fault.mend for fault in faults)
            raise RefusedError(f"{'; '.join(fault.found for fault in faults)}: {'; '.join(mends)}")
        return topics

    async def _open_pool(self) -> None:
        """Connect to Postgres. If it is away and may be waited for, scoring begins without it."""
        url = self._settings.database_url
        try:
            self._pool = await open_pool(url, Role.WRITER, max_size=POOL_SIZE)
        except DatabaseError as error:
            if not self._waits or not isinstance(error.__cause__, psycopg.OperationalError):
                raise
            self._pool = new_pool(url, Role.WRITER, max_size=POOL_SIZE)
            await self._pool.open(wait=False)
            self._spawn(self._check_database())
        self._pool.timeout = CONNECTION_WITHIN_S

    async def _check_database(self) -> None:
        """Once Postgres is back: a schema that is not the code's stops the worker."""

        async def check() -> None:
            async with await connect(self._settings.database_url) as connection:
                await check_usable(connection, Role.WRITER)

        wait = Wait("the intervention agent")
        while True:
            try:
                await check()
            except DatabaseError as error:
                away = passing(error)
                if away is None or not isinstance(error.__cause__, psycopg.OperationalError):
                    self.app.engine.fail_stop("the intervention agent", error)
                    return
                await wait.pause(away)
            else:
                wait.worked()
                return

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

    async def _keep_watching(self, watch: Watch) -> None:
        """A topic that is another one by now, or has more partitions, ends the worker."""
        try:
            await watch.keep_looking()
        except WorkerFailedError as error:
            self.app.engine.fail_stop(str(error), error)

    async def _watch_app(self) -> None:
        """A crash inside Faust ends the worker too."""
        await self.app.wait_until_stopped()
        if self.app._crashed.is_set():  # noqa: SLF001 - mode offers no other way to ask
            self.app.engine.fail_stop("Faust crashed", self.app._crash_reason)  # noqa: SLF001

    async def _watch_group(self) -> None:
        """A group that won't have us ends the worker, which would join for ever."""
        engine = self.app.engine
        while not engine.open.is_set():
            if (refusal := engine.refusal()) is not None:
                group = f"the group {self._settings.topic_prefix}success-worker"
                if isinstance(refusal, GroupAuthorizationFailedError):
                    refusal = RefusedError(
                        f"Kafka does not let this login into {group}: docs/operating.md has its rights"
                    )
                engine.fail_stop(f"joining {group}", refusal)
                return
            await asyncio.sleep(GROUP_LOOK_S)

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
