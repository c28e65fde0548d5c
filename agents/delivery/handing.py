"""Handing one claimed message to the mail server and noting what became of it, whatever goes wrong with it.

One for messages of the policy and for emails about calls. A message costs itself only: any error of its words, its
MIME or its signature makes it `failed`, with the reason, and the others go on. The note is the only trace of what was
sent, so Postgres is waited for.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

import psycopg
from psycopg import AsyncConnection

from agents.letters.smtp import Mailer, Verdict
from runtime.away import Wait, passing
from scoring.decisions.feedback import without_addresses

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from email.message import EmailMessage

    from psycopg_pool import AsyncConnectionPool

    from agents.delivery.pace import Pacer

LAST_TRIES = 4
"""So often Postgres is asked once the service is told to stop; what can't be noted is `unknown`, and not sent again."""
Noted = TypeVar("Noted")

logger = logging.getLogger(__name__)


async def hand_over(
    mailer: Mailer, sender: str, recipient: str, write: Callable[[], EmailMessage], pacer: Pacer | None = None
) -> Verdict:
    """Write a message and give it to the mail server; never raises what is wrong with the message."""
    try:
        letter = mailer.enveloped(sender, recipient, write())
    except Exception as error:  # noqa: BLE001 - of one message, and the others go on
        return Verdict("refused", problem(error))
    if pacer is not None:
        await pacer.turn(recipient)
    try:
        return await mailer.hand_over(letter)
    except Exception as error:
        # Ours, for the mailer knows those of servers: nobody can say how far it came.
        logger.exception("the mailer failed")
        return Verdict("unknown", problem(error))


def problem(error: BaseException) -> str:
    """Why a message can't be written, for its row and the log."""
    # No traceback: its last line repeats what could not be written, an address for instance.
    return without_addresses(f"the message can't be written: {type(error).__name__}: {error}")


async def note(
    pool: AsyncConnectionPool[AsyncConnection],
    write: Callable[[AsyncConnection], Awaitable[Noted]],
    barely: Callable[[AsyncConnection, str], Awaitable[Noted]],
    stop: asyncio.Event,
) -> Noted:
    """Run `write` in a transaction, pipelined, as often as it takes while Postgres is away.

    Where it can't be written for another reason, `barely` notes no more than that and why. Raises what the last try
    does after `stop`.
    """
    wait, last = Wait("noting what was sent"), 0
    while True:
        try:
            noted = await _once(pool, write)
        except psycopg.Error as error:
            why = passing(error)
            if why is None:
                return await _barely(pool, barely, error)
            last += stop.is_set()
            if last > LAST_TRIES:
                raise
            await wait.pause(why)
        except Exception as error:  # noqa: BLE001 - of one message, and the others go on
            return await _barely(pool, barely, error)
        else:
            wait.worked()
            return noted


async def _barely(
    pool: AsyncConnectionPool[AsyncConnection],
    barely: Callable[[AsyncConnection, str], Awaitable[Noted]],
    error: Exception,
) -> Noted:
    said = f"not all of it could be noted: {type(error).__name__}"
    logger.error("an email's fate: %s", said, exc_info=error)
    return await _once(pool, lambda conn: barely(conn, said))


async def _once(
    pool: AsyncConnectionPool[AsyncConnection], write: Callable[[AsyncConnection], Awaitable[Noted]]
) -> Noted:
    async with pool.connection() as conn, conn.pipeline():
        noted = await write(conn)
        await conn.commit()
        return noted
