"""Sends the emails about calls that people asked for: no caps, no hours, no consent, but never twice.

The queue is the table `transactional_mails`; a claim, its owner's lock and `unknown` are those of agents/delivery.py.
Of a call's emails that wait only the newest goes out, so an invitation that was overtaken is never sent.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from jinja2 import TemplateError
from psycopg import AsyncConnection

from agents.invitation import build_invitation
from agents.mail import Mailer, Verdict, without_addresses
from agents.noting import note
from scoring.backoff import retry_at
from store import calls as store
from store import feedback
from store.calls import Mail, MailOutcome

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool

    from runtime.clock import Clock
    from runtime.settings import Settings
    from scoring.policy import Policy

logger = logging.getLogger(__name__)


class CallMails:
    """Delivers the queue; any number of processes may do so side by side. `pool`: role `success_writer`."""

    def __init__(
        self,
        settings: Settings,
        pool: AsyncConnectionPool[AsyncConnection],
        clock: Clock,
        policy: Policy,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._clock = clock
        self._retries = policy.retries
        self._feedback = policy.feedback
        self._in_flight: set[str] = set()

    async def next_due_ms(self) -> int | None:
        """When the queue next wants to be looked at, in ms; None if nothing waits."""
        async with self._pool.connection() as conn:
            return await store.next_mail_ms(conn)

    async def deliver_due(self, owner: int, count: Counter[str], stopping: Callable[[], bool]) -> None:
        """Send what can be sent now, as the process that holds the owner's lock `owner`; adds to `count`."""
        await self._give_up(owner, count)
        async with Mailer.from_settings(self._settings) as mailer:
            while not stopping():
                async with self._pool.connection() as conn:
                    mail = await self._claim(conn, owner)
                if mail is None:
                    return
                try:
                    count[await self._send(mailer, mail, owner)] += 1
                finally:
                    self._in_flight.discard(mail.id)

    async def _give_up(self, owner: int, count: Counter[str]) -> None:
        async with self._pool.connection() as conn:
            lost = await store.give_up_mails(conn, owner, self._in_flight)
            late = await store.expire_mails(conn, self._clock.now_ms())
        for mail_id in lost:
            logger.warning("mail %s about a call was being sent when its process died: unknown", mail_id)
        for mail_id in late:
            logger.warning("mail %s about a call could not be sent in time: failed", mail_id)
        count.update(unknown=len(lost), failed=len(late))

    async def _claim(self, conn: AsyncConnection, owner: int) -> Mail | None:
        mail = await store.claim_mail(conn, owner, self._clock.now_ms())
        if mail is not None:
            self._in_flight.add(mail.id)
        return mail

    async def _send(self, mailer: Mailer, mail: Mail, owner: int) -> str:
        outcome = self._outcome(mail, await self._hand_over(mailer, mail))
        status = await note(self._pool, lambda conn: self._write_outcome(conn, mail, owner, outcome))
        if outcome.status != "sent":
            # The server's words stay in the row: they may repeat the address.
            logger.warning(
                "mail %s about call %s: %s", mail.id, mail.call_id, status or "its supplier has gone"
            )
        return "retried" if outcome.status == "queued" else outcome.status

    async def _hand_over(self, mailer: Mailer, mail: Mail) -> Verdict:
        try:
            message = build_invitation(mail, self._settings, self._clock.now_ms())
        except (TemplateError, ValueError, TypeError) as error:
            said = f"the message can't be written: {type(error).__name__}: {error}"
            return Verdict("refused", without_addresses(said))
        return await mailer.send(self._settings.mail_return_path, mail.email, message)

    def _outcome(self, mail: Mail, verdict: Verdict) -> MailOutcome:
        now = self._clock.now_ms()
        match verdict.outcome:
            case "accepted":
                return MailOutcome("sent", sent_at=now)
            case "refused":
                return MailOutcome("failed", error=verdict.said, refused=verdict.by_server)
            case "unknown":
                return MailOutcome("unknown", error=verdict.said)
            case "later":
                again = min(retry_at(now, mail.id, mail.attempts + 1, self._retries), mail.expires_at)
                return MailOutcome("queued", not_before=again, error=verdict.said)

    async def _write_outcome(
        self, conn: AsyncConnection, mail: Mail, owner: int, outcome: MailOutcome
    ) -> str | None:
        key = self._settings.secret("secret_key")
        status = await store.note_mail(conn, mail, owner, outcome, feedback.address_hash(mail.email, key))
        if status is not None and outcome.refused:
            await feedback.record_bounce(
                conn,
                report_id=f"smtp:{mail.id}:{mail.attempts + 1}",
                at_ms=self._clock.now_ms(),
                row_id=mail.id,
                address=mail.email,
                said=outcome.error or "",
                key=key,
                policy=self._feedback,
            )
        return status
