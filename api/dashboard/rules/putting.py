"""Putting rules into force from a page: what can go wrong is a sentence, and never half of it is done unsaid."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError

from agents.acts import versions as acts
from agents.cluster.describing import ClusterError
from api.dashboard.rules.page import look

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from api.auth import Caller
    from api.services import Services
    from store.versions import Stored

PATIENCE_S = 45.0
"""For Kafka to be asked, to be told and to say so."""
NOTE_NEEDED = "say why, in the note: the history shows it to whoever comes after you"


class NotPutError(Exception):
    """It could not be put into force; the message says why and what to do."""


def act_of(services: Services, agent: Caller, note: str, seen: int) -> acts.Act:
    """What this agent does now, on top of the newest version they saw."""
    return acts.Act(agent.actor, agent.subject, note, services.clock.now_ms(), seen)


async def put(services: Services, agent: Caller, seen: int, work: Awaitable[Stored]) -> Stored:
    """Await an activation or a rollback; NotPutError where it did not come about."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await work
    except ClusterError as error:
        raise NotPutError(str(error)) from error
    except (KafkaError, TimeoutError, OSError) as error:
        raise NotPutError(await _what_came_of_it(services, agent, seen, error)) from error


async def _what_came_of_it(services: Services, agent: Caller, seen: int, error: Exception) -> str:
    is_away = isinstance(error, KafkaConnectionError | KafkaTimeoutError | TimeoutError | OSError)
    why = "Kafka does not answer" if is_away else f"Kafka refused it ({type(error).__name__})"
    history = await look(services, agent)
    newest = history.entries[0] if history.entries else None
    if newest is None or newest.number == seen or newest.in_force_at is not None:
        return f"{why}: nothing was changed; try again when `success doctor` finds Kafka well"
    return (
        f"{why}: version {newest.number} is kept in the history and is not in force, unless Kafka has it after all; "
        "then the next look by `success config` or by whoever activates next notes it as in force"
    )
