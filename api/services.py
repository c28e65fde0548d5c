"""What handlers work with: settings, clock, policy, database and the way to Kafka, opened by the app's lifespan."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from agents.letters.in_force import InForce
from agents.letters.render import Letters
from runtime.clock import Clock
from runtime.configuration import Configuration
from runtime.readiness import Readiness
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from store.outbox import Event

if TYPE_CHECKING:
    from api.auth import Caller


KAFKA = "kafka"
"""The part that most answers need not: `/readyz` names it and stays ready without it."""


@dataclass(frozen=True, slots=True)
class Services:
    """One object a running app."""

    settings: Settings
    clock: Clock
    given: Configuration
    """What the settings name: in force as long as nothing was activated."""
    in_force: InForce
    pool: AsyncConnectionPool[AsyncConnection]
    """Connections in the role `success_api`, which see nothing until `transaction` says who asks."""
    writer_pool: AsyncConnectionPool[AsyncConnection]
    """Connections in the role `success_writer`, for what no caller may do himself (publishing the outbox, erasure)."""
    publish: Callable[[Sequence[Event]], Awaitable[None]]
    """Send events to Kafka, in order; returns once they are acked."""
    wake_publisher: Callable[[], None]
    """Say that the outbox holds something new, after the commit."""
    readiness: Readiness

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.in_force.current.policy

    @property
    def letters(self) -> Letters:
        """The templates in force."""
        return self.in_force.current.letters

    @property
    def configuration(self) -> Configuration:
        """All that is in force for everybody."""
        return self.in_force.current.configuration or self.given

    @asynccontextmanager
    async def transaction(self, caller: Caller) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that sees and changes what row-level security lets `caller` see and change."""
        async with self.pool.connection() as conn:
            await conn.execute(_CLAIM, (_claims(caller),))
            yield conn

    @asynccontextmanager
    async def reading(self, caller: Caller) -> AsyncIterator[AsyncConnection]:
        """Open the same for reading: the claims travel with the first query instead of waiting for an answer.

        An error of a query is raised where its rows are fetched.
        """
        async with self.pool.connection() as conn, conn.pipeline():
            await conn.execute(_CLAIM, (_claims(caller),))
            yield conn
            await conn.commit()


_CLAIM = "SELECT set_config('request.jwt.claims', %s, true)"


def _claims(caller: Caller) -> str:
    return json.dumps({"role": caller.role, "sub": caller.subject})


def services(request: Request) -> Services:
    """Give a handler the app's services."""
    opened: Services = request.app.state.services
    return opened


async def _services(request: Request) -> Services:
    # Asynchronous for its own sake: FastAPI sends any other dependency to a thread, which costs more than all it does.
    return services(request)


InServices = Annotated[Services, Depends(_services)]
"""A handler's parameter: the app's services."""
