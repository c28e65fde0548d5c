"""What `success deliver` runs: deliver when something is due, publish what was decided, until stopped."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from psycopg import AsyncConnection, InterfaceError, OperationalError
from psycopg_pool import PoolTimeout

from agents.delivery import Delivery, DeliveryCount
from agents.dkim_signing import unsafe_mail
from agents.kafka import client_options
from agents.outbox_publisher import keep_publishing, sender
from store.database import Role, open_pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from runtime.clock import Clock
    from runtime.settings import Settings
    from scoring.policy import Policy
    from store.outbox import Event

logger = logging.getLogger(__name__)

LONGEST_WAIT_S = 30.0
"""Between two looks, should a notification have been lost."""
SETTLE_S = 0.5
"""After a notification: what else belongs to the same moment comes on other topics and is decided together."""
STOP_CHECK_S = 0.5
LONGEST_PAUSE_S = 30.0
_DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)


async def run_delivery(
    settings: Settings,
    clock: Clock,
    policy: Policy,
    stop: asyncio.Event,
    told: Callable[[DeliveryCount], None],
    *,
    once: bool = False,
) -> None:
    """Deliver and publish until `stop` is set, or `once`; `told` hears of every round in which something happened.

    A database or broker that goes away later is waited for; one that is away at the start is an error.
    """
    for problem in unsafe_mail(settings):  # no refusal: a relay may sign, a private network may do without
        logger.warning(problem)
    async with AsyncExitStack() as stack:
        pool = await open_pool(settings.database_url, Role.WRITER)
        stack.push_async_callback(pool.close)
        producer = AIOKafkaProducer(**client_options(settings), enable_idempotence=True, acks="all")
        stack.push_async_callback(producer.stop)
        delivery = Delivery(settings, pool, clock, policy)
        stack.push_async_callback(delivery.aclose)
        await producer.start()
        send = sender(producer, settings)
        if once:
            told(await delivery.deliver_due())
            await delivery.publish_outbox(send)
        else:
            service = _Service(settings.database_url, clock, delivery, send, stop, told)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(service.keep_delivering())
                tasks.create_task(service.keep_publishing())
                tasks.create_task(service.stop_when_told())


class _Service:
    """The loops that run side by side, and what they share."""

    def __init__(
        self,
        database_url: str,
        clock: Clock,
        delivery: Delivery,
        send: Callable[[Sequence[Event]], Awaitable[None]],
        stop: asyncio.Event,
        told: Callable[[DeliveryCount], None],
    ) -> None:
        self._database_url = database_url
        self._clock = clock
        self._delivery = delivery
        self._send = send
        self._stop = stop
        self._told = told
        self._publish = asyncio.Event()
        self._pause = 1.0

    async def stop_when_told(self) -> None:
        """Let what is being sent finish, and claim nothing more."""
        await self._stop.wait()
        self._delivery.stop()
        self._publish.set()

    async def keep_delivering(self) -> None:
        """Deliver whenever something is due or new."""
        while not self._stop.is_set():
            try:
                await self._deliver_while_connected()
            except _DATABASE_AWAY as error:
                logger.warning("Postgres is away (%s); trying again in %.0f s", _line(error), self._pause)
                await self._sleep(self._pause)
                self._pause = min(LONGEST_PAUSE_S, self._pause * 2)
                await self._delivery.drop_broken_connections()

    async def _deliver_while_connected(self) -> None:
        listener = await AsyncConnection.connect(self._database_url, autocommit=True)
        async with listener:
            await listener.execute("LISTEN success_delivery")
            while not self._stop.is_set():
                count = await self._delivery.deliver_due()
                self._pause = 1.0
                if count.total():
                    self._told(count)
                self._publish.set()
                if await self._wait_for_news(listener, await self._next_look_s()):
                    await self._sleep(SETTLE_S)
                    async for _ in listener.notifies(timeout=0):
                        pass  # all of it is looked at now

    async def _next_look_s(self) -> float:
        due = await self._delivery.next_due_ms()
        if due is None:
            return LONGEST_WAIT_S
        # A row that is due all the same is held by another process, which looks after it.
        return min(LONGEST_WAIT_S, max(1.0, (due - self._clock.now_ms()) / 1000))

    async def _wait_for_news(self, listener: AsyncConnection, seconds: float) -> bool:
        deadline = asyncio.get_running_loop().time() + seconds
        while not self._stop.is_set():
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            async for _ in listener.notifies(timeout=min(STOP_CHECK_S, left), stop_after=1):
                return True
        return False

    async def keep_publishing(self) -> None:
        """Publish the outbox whenever something was decided, and what is left at the end."""
        await keep_publishing(self._publish_all, self._publish, LONGEST_WAIT_S, self._stop)

    async def _publish_all(self) -> None:
        await self._delivery.publish_outbox(self._send)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
