"""What is in force in a service that decides, writes or shows: as Postgres says, seconds after an activation.

Until something is activated it is what the settings name. Where a version is in force on some partitions only, it is so
for the suppliers who live there.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from agents.letters.render import Letters
from runtime.versions import configuration_of
from store import versions as store
from topics.partitioner import partition_of

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from runtime.configuration import Configuration
    from scoring.decisions.policy import Policy

logger = logging.getLogger("success.rules")


class Held(NamedTuple):
    """A version's policy and words; number 0: those that the settings name."""

    number: int
    policy: Policy
    letters: Letters
    partitions: tuple[int, ...] | None = None
    configuration: Configuration | None = None
    """All of it; None where it is what the settings name and nobody gave it whole."""


class InForce:
    """The versions that are in force; `refresh` brings it up to date."""

    def __init__(
        self, policy: Policy, letters: Letters, partitions: int, configuration: Configuration | None = None
    ) -> None:
        self._count = partitions
        self._held = [Held(0, policy, letters, configuration=configuration)]
        self._broken: set[int] = set()

    @property
    def current(self) -> Held:
        """That for everybody; what is in force on some partitions only is not."""
        return next(held for held in reversed(self._held) if held.partitions is None)

    def of(self, supplier_id: str) -> Held:
        """That for a supplier."""
        if len(self._held) == 1:
            return self._held[0]
        home = partition_of(supplier_id.encode(), self._count)
        return next(
            held for held in reversed(self._held) if held.partitions is None or home in held.partitions
        )

    async def refresh(self, conn: AsyncConnection) -> bool:
        """Look what is in force now; whether that is another. The role must be the writer's."""
        numbers = [number for number in await store.in_force(conn) if number not in self._broken]
        known = {held.number: held for held in self._held}
        if not numbers or numbers == [held.number for held in self._held if held.number]:
            return False
        found = [known[number] if number in known else await self._read(conn, number) for number in numbers]
        held = [each for each in found if each is not None]
        if not held:
            return False
        if held[0].partitions is not None:  # nothing is in force on all yet but what was before
            held.insert(0, self._held[0])
        self._held = held
        logger.info("in force: version %s", ", ".join(str(each.number) for each in held))
        return True

    async def _read(self, conn: AsyncConnection, number: int) -> Held | None:
        stored = await store.one(conn, number)
        if stored is None:
            return None
        try:
            configuration = configuration_of(stored.version, stored.words)
            letters = Letters.of(configuration)
            letters.check(configuration.policy)
        except ValueError as error:
            # It was checked when it was activated: this program is an older one, and goes on as it was.
            logger.error("version %d can't be used by this program: %s", number, error)  # noqa: TRY400 - it says all
            self._broken.add(number)
            return None
        return Held(number, configuration.policy, letters, stored.version.partitions, configuration)
