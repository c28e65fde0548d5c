"""A delivery in its own process that dies by kill -9 at a step.

Processes are forks of one that has imported everything, which takes a second: `started(STEP, KIND, ENVIRONMENT)`. KIND
is what dies at the step, `letters` or `calls`, the emails about calls.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from typing import Any

from agents.delivery.call_mails import CallMails
from agents.delivery.round import Delivery
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from store.database import Role, open_pool
from tests.agents.delivery.world import NOW

STEPS = ("decided", "claimed", "accepted", "noted", "finished")


def die() -> None:
    """Be killed, with nothing flushed, closed or rolled back by us."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(step: str, sender: Delivery | CallMails) -> None:
    """Make `sender` die at a step: `decided` and `noted` before their commit, `claimed` and `accepted` behind one."""
    claim = "_claim" if isinstance(sender, CallMails) else "_decide"
    if step == "claimed":
        setattr(sender, "_hand_over", dying(None))  # noqa: B010 - a method of its class
        return
    methods = {"decided": claim, "accepted": "_hand_over", "noted": "_write_outcome"}
    if step in methods:
        setattr(sender, methods[step], dying(getattr(sender, methods[step])))


def dying(method: Callable[..., Awaitable[Any]] | None) -> Callable[..., Awaitable[Any]]:
    """Do what `method` does, then die."""

    async def last(*given: Any) -> None:
        if method is not None:
            await method(*given)
        die()

    return last


async def deliver(step: str, kind: str) -> None:
    """Deliver once, or die trying."""
    settings = Settings()
    pool = await open_pool(settings.database_url, Role.WRITER)
    delivery = Delivery(settings, pool, ManualClock(NOW), Policy.load(), workers=1)
    die_at(step, delivery if kind == "letters" else delivery._call_mails)
    await delivery.deliver_due()
    if step == "finished":
        die()
    await delivery.aclose()
    await pool.close()


def run(step: str, kind: str, environment: Mapping[str, str]) -> None:
    """What the process does."""
    os.environ.update(environment)
    asyncio.run(deliver(step, kind))


def started(step: str, kind: str, environment: Mapping[str, str]) -> ForkServerProcess:
    """A process that dies there."""
    processes = get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    process = processes.Process(target=run, args=(step, kind, dict(environment)))
    process.start()
    return process
