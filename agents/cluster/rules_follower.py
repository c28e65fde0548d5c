"""Following `success.rules` in a running worker: what is said there is known within a moment."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError

from agents.cluster.describing import ClusterError
from agents.cluster.rules_log import RulesLog, read_on, rules_place
from agents.engine.connection import consumer_of
from agents.engine.parsing import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka import AIOKafkaConsumer, TopicPartition

    from runtime.settings import Settings
    from scoring.decisions.policy import Policy

POLL_MS = 500
RETRY_S = 0.5


class RulesFollower:
    """Reads the topic from its beginning, and goes on in the background once it is told to `follow`."""

    def __init__(self, settings: Settings) -> None:
        self.log = RulesLog()
        self._place = rules_place(settings)
        self._settings = settings
        self._connected: AIOKafkaConsumer | None = None
        self._moved = asyncio.Condition()
        self.news = asyncio.Event()
        """Something was read since somebody last cleared it."""
        self._task: asyncio.Task[None] | None = None
        self._error: Exception | None = None

    async def start(self) -> None:
        """Connect, and read all there is; after an error it may be tried again."""
        consumer = consumer_of(self._settings, auto_offset_reset="earliest")
        try:
            await consumer.start()
            await read_on(consumer, self._place, self.log)
        except BaseException:
            await consumer.stop()
            raise
        self._connected = consumer

    def follow(self, failed: Callable[[str, Exception], None]) -> None:
        """Read on in the background until `stop`; `failed` is told when that ends by itself."""
        self._task = asyncio.create_task(self._keep_following(failed))

    async def stop(self) -> None:
        """Read no further, and disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._connected is not None:
            await self._connected.stop()

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        if self._connected is None:
            raise RuntimeError("the versions are not followed yet")
        return self._connected

    async def _keep_following(self, failed: Callable[[str, Exception], None]) -> None:
        try:
            await self._follow()
        except Exception as error:  # noqa: BLE001 - without it nothing would be known of what is in force
            self._error = error
            async with self._moved:
                self._moved.notify_all()
            failed(f"following {self._place.topic}", error)

    async def _follow(self) -> None:
        while True:
            records = (await self._consumer.getmany(self._place, timeout_ms=POLL_MS)).get(self._place, ())
            if why := unreadable(self._consumer).get(self._place):
                raise ClusterError(f"topic {self._place.topic} can't be read: {why}")
            if records:
                self.log.take(records)
                self.news.set()
            async with self._moved:
                self._moved.notify_all()

    async def caught_up(self) -> RulesLog:
        """What the topic says, to its end as of now; a Kafka that is away is waited for."""
        end = await self.end_of(self._place)
        async with self._moved:
            await self._moved.wait_for(lambda: self._error is not None or self.log.position >= end)
        if self._error is not None:
            raise self._error
        return self.log

    async def end_of(self, place: TopicPartition) -> int:
        """The end of a partition of any topic, as of now; a Kafka that is away is waited for."""
        while True:
            with suppress(KafkaError, OSError, TimeoutError):
                return int((await self._consumer.end_offsets([place]))[place])
            await asyncio.sleep(RETRY_S)

    async def policy(self, number: int, own: Policy) -> Policy:
        """The policy of a version, as soon as the topic says it; `own`: where it says nothing of it."""
        if number not in self.log.versions:
            if not number:
                return own
            await self.caught_up()
        if number in self.log.versions:
            return self.log.policy(number)
        newest = self.log.newest()
        return own if newest is None else self.log.policy(newest.number)
