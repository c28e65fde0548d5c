"""The brake: a version of the configuration is taken back by itself once its messages pass the limits given with it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaTimeoutError

from agents.acts import versions as acts
from agents.cluster.describing import ClusterError
from store import versions as store
from store.audit import Actor

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from runtime.clock import Clock
    from runtime.configuration import Configuration
    from runtime.settings import Settings

WHO = "success deliver"

logger = logging.getLogger("success.rules")


class Brake:
    """Looks at what came of the messages of the version in force last."""

    def __init__(
        self,
        settings: Settings,
        pool: AsyncConnectionPool[AsyncConnection],
        clock: Clock,
        before: Configuration,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._clock = clock
        self._before = before
        """What is in force where nothing was activated."""

    async def look(self) -> None:
        """Take the version back if it is past its limits: what was in force before is a new version then.

        Two who look at the same moment may both do so, which changes nothing. Raises what is away; then it is looked
        again.
        """
        async with self._pool.connection() as conn:
            found = await store.past_its_limits(conn)
        if found is None:
            return
        number, why = found
        logger.warning("version %d is taken back: %s", number, why)
        note = f"version {number} is taken back: {why}"
        act = acts.Act(Actor("service", WHO), WHO, note, self._clock.now_ms())
        try:
            stored = await acts.take_back(self._settings, self._pool, number, self._before, act)
        except ClusterError as error:
            logger.error("version %d can't be taken back: %s; it is tried again", number, error)  # noqa: TRY400
            return
        except TimeoutError as error:  # of the whole act
            raise KafkaTimeoutError(f"version {number} could not be taken back in time") from error
        logger.warning("version %d is in force, what was before version %d", stored.version.number, number)
