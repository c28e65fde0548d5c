"""What is away and passes: how errors of Kafka and Postgres are judged, and how everybody waits for them.

An error is judged by what its server says of it, never by a list of exceptions: by the class of its SQLSTATE, or by
Kafka's own `retriable`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from scoring.backoff import doubled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")

PASSING_CLASSES = frozenset({"08", "25", "40", "53", "57", "58"})
"""Of SQLSTATE: connection, transaction state (a standby is read-only, a limit of time), rollback (deadlock), resources,
operator's intervention (restart, a statement's limit of time), system."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
SAID_EVERY_S = 30.0

logger = logging.getLogger(__name__)


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether an event is set, waiting for it that long at most.

    Unlike `asyncio.wait_for` of Python 3.11 it forgets no cancellation that comes together with the event.
    """
    try:
        async with asyncio.timeout(max(seconds, 0)):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True


class Passing(NamedTuple):
    """An error that passes by itself."""

    what: str
    """What is waited for: `Postgres`, `Kafka`, or `a connection of our own pool`, which is not away."""
    why: str
    """One line for people, in the server's own words; it names no password."""


def passing(error: BaseException) -> Passing | None:
    """What `error` waits for, None if waiting does not mend it. Of a group all must pass."""
    if isinstance(error, BaseExceptionGroup):
        found = [passing(each) for each in error.exceptions]
        return found[0] if all(found) else None
    what = _what(error)
    if what is None:
        return None
    why = " ".join(str(error).split()) or type(error).__name__
    if "Unable to bootstrap" in why:  # aiokafka's own words hide what each broker said
        why = "no broker of SUCCESS_KAFKA lets us in: `success doctor` says why"
    return Passing(what, why)


def _what(error: BaseException) -> str | None:
    # Slow to import; a supervisor, which is there to start others, judges no error.
    import psycopg  # noqa: PLC0415 - see above
    from aiokafka.errors import KafkaError, KafkaTimeoutError  # noqa: PLC0415 - see above
    from psycopg_pool import PoolTimeout  # noqa: PLC0415 - see above

    if isinstance(error, PoolTimeout):
        return "a connection of our own pool"
    if isinstance(error, psycopg.Error):
        if error.sqlstate is not None:
            return "Postgres" if error.sqlstate[:2] in PASSING_CLASSES else None
        # The server said nothing: the connection broke, or could not be made.
        return "Postgres" if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) else None
    # KafkaTimeoutError is the client's own: the cluster did not answer in time.
    is_kafkas = isinstance(error, KafkaError) and (error.retriable or isinstance(error, KafkaTimeoutError))
    return "Kafka" if is_kafkas else None


class BackOff:
    """How long to wait before the next attempt, in seconds: twice as long each time, with jitter if told."""

    def __init__(
        self, first_s: float = FIRST_PAUSE_S, longest_s: float = LONGEST_PAUSE_S, *, jitter: bool = True
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter
        self._attempt = 0

    def next(self) -> float:
        """The wait after one more failure."""
        self._attempt += 1
        pause = doubled(self._first_s, self._longest_s, self._attempt)
        return pause * random.uniform(0.5, 1.0) if self._jitter else pause  # noqa: S311 - no secret

    def reset(self) -> None:
        """It worked: begin anew with the shortest."""
        self._attempt = 0


class Wait:
    """One wait for what is away: says for what, one line at most each 30 s with a count, and when it is back.

    Use one object for each thing that waits; `name` says who waits, for people (`the outbox`).
    """

    def __init__(
        self, name: str, *, back_off: BackOff | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.waiting_for: Passing | None = None
        """What is waited for at this moment."""
        self._back_off = back_off or BackOff()
        self._now = now
        self._since = 0.0
        self._said_at = float("-inf")
        self._count = 0

    async def pause(self, why: Passing, stop: asyncio.Event | None = None) -> None:
        """Wait before the next attempt; returns at once when `stop` is set."""
        self.failed(why)
        seconds = self._back_off.next()
        if stop is None:
            await asyncio.sleep(seconds)
            return
        await set_within(stop, seconds)

    def failed(self, why: Passing) -> None:
        """Note one more attempt in vain, and say so if nothing was said for 30 s."""
        now = self._now()
        if self.waiting_for is None:
            self._since = now
        self.waiting_for = why
        self._count += 1
        if now - self._said_at >= SAID_EVERY_S:
            times = f", {self._count} attempts since the last line" if self._count > 1 else ""
            logger.warning("%s waits for %s (%s)%s", self.name, why.what, why.why, times)
            self._said_at, self._count = now, 0

    def worked(self) -> None:
        """Note that it worked."""
        if self.waiting_for is None:
            return
        logger.warning(
            "%s goes on: waited %.0f s for %s", self.name, self._now() - self._since, self.waiting_for.what
        )
        self.waiting_for, self._count = None, 0
        self._back_off.reset()

    async def until(
        self, work: Callable[[], Awaitable[T]], stop: asyncio.Event | None = None, *, wait: bool = True
    ) -> T:
        """The result of `work`, tried again while its errors pass.

        Raises what does not pass, what passes once `stop` is set, and with `wait` false everything.
        """
        while True:
            try:
                result = await work()
            except (Exception, BaseExceptionGroup) as error:
                why = passing(error)
                if why is None or not wait or (stop is not None and stop.is_set()):
                    raise
                await self.pause(why, stop)
            else:
                self.worked()
                return result


def waiting(waits: Iterable[Wait]) -> dict[str, str]:
    """Who waits for what, for `/readyz`."""
    return {each.name: each.waiting_for.what for each in waits if each.waiting_for is not None}
