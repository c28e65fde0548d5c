"""Tells agents' own tools by HTTP what is in the outbox for them: one process at a time, at least once, each by its id.

Signed as Standard Webhooks are. What is not taken (anything but 2xx) is tried again, twice as long after each time, for
about a day; then it is `failed`, which `success webhook` lists and tries again. No transaction waits for the receiver.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import httpx2
import orjson
from standardwebhooks import Webhook

from agents.delivery.shapes import shaped
from runtime import metrics
from runtime.away import Passing, Wait
from scoring.decisions.backoff import retry_at
from store import outbox
from store.database import connect
from store.messages.delivery import NOTES_LINE, publish_alone

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from runtime.clock import Clock
    from runtime.settings import Settings
    from scoring.decisions.policy import Retries
    from store.outbox import DueNote

ANSWER_S = 10.0
"""How long a receiver may take."""
MOST_ATTEMPTS = 30
"""With the pauses of the policy as shipped: about a day."""
BATCH = 20
"""Notes of one round: fewer than the lock's idle time allows for, slow as a receiver may be."""
REST_S = 20.0
"""After a receiver that is away or says that it is too much."""
LONGEST_REST_MS = 3_600_000
ALONE_S = 10.0
GONE, TOO_MANY, SERVER_ERROR = 410, 429, 500

logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What a receiver said: `error` None if it took the note; `after_ms`: not before so many ms."""

    error: str | None = None
    for_good: bool = False
    is_away: bool = False
    after_ms: int = 0


class Notes:
    """Tells what is due. `pool`: role `success_writer`."""

    def __init__(
        self,
        settings: Settings,
        pool: AsyncConnectionPool[AsyncConnection],
        clock: Clock,
        retries: Retries,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._clock = clock
        self._retries = retries
        self._rest_until = 0.0
        self._wait = Wait("a note to agents")

    async def tell_due(self) -> None:
        """Tell what is due, once each; returns early where the receiver is away. Raises psycopg's errors."""
        if self._settings.agents_webhook_url is None:
            async with self._pool.connection() as conn:
                await outbox.forget_notes(conn)
            return
        if asyncio.get_running_loop().time() < self._rest_until or not await self._due(1):
            return
        async with await connect(str(self._pool.conninfo), ALONE_S, autocommit=True) as alone:
            if await publish_alone(alone, NOTES_LINE):
                async with httpx2.AsyncClient(timeout=ANSWER_S) as client:
                    await self._tell(client)

    async def _tell(self, client: httpx2.AsyncClient) -> None:
        for note in await self._due(BATCH):
            if not self._is_wanted(note):
                await self._note(note, Answer())
                continue
            answer = await post(client, self._settings, note, self._clock.now_ms())
            await self._note(note, answer)
            if answer.is_away:
                self._wait.failed(Passing("the agents' webhook", answer.error or ""))
                self._rest_until = asyncio.get_running_loop().time() + REST_S
                return
            self._wait.worked()

    def _is_wanted(self, note: DueNote) -> bool:
        return note.kind.partition(".")[0] in self._settings.agents_webhook_kinds()

    async def _due(self, limit: int) -> list[DueNote]:
        async with self._pool.connection() as conn:
            return await outbox.due_notes(conn, self._clock.now_ms(), limit)

    async def _note(self, note: DueNote, answer: Answer) -> None:
        now = self._clock.now_ms()
        async with self._pool.connection() as conn:
            if answer.error is None:
                metrics.NOTES.labels("told").inc()
                await outbox.note_told(conn, note.id)
            elif answer.for_good or note.attempts + 1 >= MOST_ATTEMPTS:
                metrics.NOTES.labels("failed").inc()
                logger.error("note %s to agents failed for good: %s", note.note_id, answer.error)
                await outbox.note_failed(conn, note.id, now, answer.error)
            else:
                metrics.NOTES.labels("later").inc()
                again = retry_at(now, note.note_id, note.attempts + 1, self._retries)
                await outbox.note_later(conn, note.id, max(again, now + answer.after_ms), answer.error)


async def post(client: httpx2.AsyncClient, settings: Settings, note: DueNote, now_ms: int) -> Answer:
    """Give one note to the receiver; never raises what is wrong with it."""
    body = orjson.dumps(shaped(settings.agents_webhook_shape, note, settings.public_url))
    headers = {"content-type": "application/json", "user-agent": "wedsync-success"}
    headers |= signature(settings, f"msg_{note.note_id}", now_ms, body)
    try:
        async with asyncio.timeout(ANSWER_S):
            answer = await client.post(settings.agents_webhook_url or "", content=body, headers=headers)
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError) as error:
        # The address is a secret of Slack's and Teams' kind, so it is not repeated.
        return Answer(f"no answer: {type(error).__name__}", is_away=True)
    if answer.is_success:
        return Answer()
    said = f"HTTP {answer.status_code}"
    if answer.status_code == GONE:
        return Answer(said, for_good=True)
    busy = answer.status_code == TOO_MANY or answer.status_code >= SERVER_ERROR
    return Answer(said, is_away=busy, after_ms=_retry_after_ms(answer.headers.get("retry-after", "")))


def signature(settings: Settings, message_id: str, now_ms: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks, one signature for each secret in force; none where no secret is set."""
    keys = settings.agents_webhook_keys()
    if keys is None:
        return {}
    at = datetime.fromtimestamp(now_ms // 1000, UTC)
    signed = [Webhook(key).sign(message_id, at, body.decode()) for key in keys.every]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(now_ms // 1000),
        "webhook-signature": " ".join(signed),
    }


def _retry_after_ms(said: str) -> int:
    return min(int(said) * 1000, LONGEST_REST_MS) if said.isascii() and said.isdigit() else 0
