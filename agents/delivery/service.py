"""What `success deliver` runs: deliver when something is due, publish what was decided, until stopped."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import psycopg
from psycopg import AsyncConnection

from agents.delivery.brake import Brake
from agents.delivery.notes import Notes
from agents.delivery.outbox import Sender, keep_doing
from agents.delivery.round import Delivery, DeliveryCount
from agents.letters.dkim_signing import unsafe_mail
from runtime.away import Wait, passing, set_within
from store.database import Role, connect, open_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.letters.render import Letters
    from runtime.clock import Clock
    from runtime.configuration import Configuration
    from runtime.settings import Settings
    from scoring.decisions.policy import Policy

logger = logging.getLogger(__name__)

LONGEST_WAIT_S = 30.0
"""Between two looks, should a notification have been lost."""
SETTLE_S = 0.5
"""After a notification: what else belongs to the same moment comes on other topics and is decided together."""
STOP_CHECK_S = 0.5
LIMITS_EVERY_S = 5.0
"""Between two looks whether a version is past its limits."""
NOTES_EVERY_S = 10.0
"""Between two looks for notes whose time to be tried again has come."""


async def run_delivery(
    settings: Settings,
    clock: Clock,
    policy: Policy,
    stop: asyncio.Event,
    told: Callable[[DeliveryCount], None],
    *,
    once: bool = False,
    wait: bool = True,
    letters: Letters | None = None,
    before: Configuration | None = None,
) -> None:
    """Deliver and publish until `stop` is set, or `once`; `told` hears of every round in which something happened.

    A database or broker that is away is waited for, each by what needs it; with `once`, or without `wait`, one that is
    away at the start is an error. `before`: what a version is taken back to where nothing was activated before it
    (None: nobody looks at the limits of versions).
    """
    wait = wait and not once
    for problem in unsafe_mail(settings):  # no refusal: a relay may sign, a private network may do without
        logger.warning(problem)
    async with AsyncExitStack() as stack:
        starting = Wait("deliver")
        try:
            pool = await starting.until(
                lambda: open_pool(settings.database_url, Role.WRITER), stop, wait=wait
            )
        except psycopg.Error:
            if stop.is_set() and wait:
                return  # told to stop before Postgres came
            raise
        stack.push_async_callback(pool.close)
        send = Sender(settings)
        stack.push_async_callback(send.aclose)
        if not wait:
            await send.connect()
        delivery = Delivery(settings, pool, clock, policy, letters=letters)
        stack.push_async_callback(delivery.aclose)
        notes = Notes(settings, pool, clock, policy.retries)
        if once:
            told(await delivery.deliver_due())
            await delivery.publish_outbox(send)
            await notes.tell_due()
        else:
            brake = None if before is None else Brake(settings, pool, clock, before)
            service = _Service(settings.database_url, clock, delivery, send, notes, brake, stop, told)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(service.keep_delivering())
                tasks.create_task(service.keep_publishing())
                tasks.create_task(service.keep_telling_agents())
                tasks.create_task(service.keep_to_limits())
                tasks.create_task(service.stop_when_told())


class _Service:
    """The loops that run side by side, and what they share."""

    def __init__(
        self,
        database_url: str,
        clock: Clock,
        delivery: Delivery,
        send: Sender,
        notes: Notes,
        brake: Brake | None,
        stop: asyncio.Event,
        told: Callable[[DeliveryCount], None],
    ) -> None:
        self._database_url = database_url
        self._clock = clock
        self._delivery = delivery
        self._send = send
        self._notes = notes
        self._brake = brake
        self._stop = stop
        self._told = told
        self._publish = asyncio.Event()
        self._tell = asyncio.Event()
        self._look = asyncio.Event()
        self._wait = Wait("delivery")

    async def stop_when_told(self) -> None:
        """Let what is being sent finish, and claim nothing more."""
        await self._stop.wait()
        self._delivery.stop()
        self._publish.set()
        self._tell.set()
        self._look.set()

    async def keep_delivering(self) -> None:
        """Deliver whenever something is due or new."""
        while not self._stop.is_set():
            try:
                await self._deliver_while_connected()
            except psycopg.Error as error:
                why = passing(error)
                if why is None:
                    raise
                await self._wait.pause(why, self._stop)
                await self._delivery.drop_broken_connections()

    async def _deliver_while_connected(self) -> None:
        listener = await connect(self._database_url, 2 * LONGEST_WAIT_S, autocommit=True)
        async with listener:
            await listener.execute("LISTEN success_delivery")
            while not self._stop.is_set():
                count = await self._delivery.deliver_due()
                self._wait.worked()
                if count.total():
                    self._told(count)
                self._publish.set()
                self._tell.set()
                if await self._wait_for_news(listener, await self._next_look_s()):
                    await set_within(self._stop, SETTLE_S)
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
        await keep_doing(self._publish_all, self._publish, LONGEST_WAIT_S, Wait("the outbox"), self._stop)

    async def keep_telling_agents(self) -> None:
        """Tell agents' tools whatever they are to be told of, and once more what they did not take."""
        await keep_doing(self._notes.tell_due, self._tell, NOTES_EVERY_S, Wait("notes to agents"), self._stop)

    async def keep_to_limits(self) -> None:
        """Take a version back that is past its limits."""
        if self._brake is not None:
            wait = Wait("the limits of a version")
            await keep_doing(self._brake.look, self._look, LIMITS_EVERY_S, wait, self._stop)

    async def _publish_all(self) -> None:
        await self._send.connect()  # before there is anything to send, so that one who waits says for what
        await self._delivery.publish_outbox(self._send)
