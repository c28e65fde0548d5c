"""Sends the emails about calls that people asked for: no caps, no hours, no consent, but never twice.

The queue is the table `transactional_mails`; a claim, its owner's lock and `unknown` are those of `round`.
Of a call's emails that wait only the newest goes out, so an invitation that was overtaken is never sent.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from psycopg import AsyncConnection

from agents.delivery.handing import hand_over, note
from agents.letters.invitation import build_invitation
from agents.letters.smtp import Mailer, Verdict
from runtime import metrics
from scoring.decisions.backoff import retry_at
from store.messages import feedback
from store.people import calls as store
from store.people.calls import Mail, MailOutcome

if TYPE_CHECKING:
    import asyncio

    from psycopg_pool import AsyncConnectionPool

    from agents.letters.in_force import InForce
    from runtime.clock import Clock
    from runtime.settings import Settings

logger = logging.getLogger(__name__)


class CallMails:
    """Delivers the queue; any number of processes may do so side by side. `pool`: role `success_writer`."""

    def __init__(
        self,
        settings: Settings,
        pool: AsyncConnectionPool[AsyncConnection],
        clock: Clock,
        in_force: InForce,
        stop: asyncio.Event,
    ) -> None:
        self._in_force = in_force
        self._stop = stop
        self._settings = settings
        self._pool = pool
        self._clock = clock
        self._mailer = Mailer.from_settings(settings)
        self._in_flight: set[str] = set()

    async def next_due_ms(self) -> int | None:
        """When the queue next wants to be looked at, in ms; None if nothing waits."""
        async with self._pool.connection() as conn:
            return await store.next_mail_ms(conn)

    async def deliver_due(self, owner: int, count: Counter[str]) -> None:
        """Send what can be sent now, as the process that holds the owner's lock `owner`; adds to `count`."""
        await self._give_up(owner, count)
        while not self._stop.is_set():
            async with self._pool.connection() as conn:
                mail = await self._claim(conn, owner)
            if mail is None:
                await self._mailer.close_if_idle()
                return
            try:
                count[await self._send(self._mailer, mail, owner)] += 1
            finally:
                self._in_flight.discard(mail.id)

    def end_by(self, at: float) -> None:
        """Wait for the mail server no longer than until `at` (of the loop's clock)."""
        self._mailer.end_by(at)

    async def aclose(self) -> None:
        """Hang up on the mail server."""
        await self._mailer.close()

    async def _give_up(self, owner: int, count: Counter[str]) -> None:
        async with self._pool.connection() as conn:
            lost = await store.give_up_mails(conn, owner, self._in_flight)
            late = await store.expire_mails(conn, self._clock.now_ms())
            await store.set_aside_mails(conn, self._clock.now_ms())
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
        status = await note(
            self._pool,
            lambda conn: self._write_outcome(conn, mail, owner, outcome),
            lambda conn, why: self._write_barely(conn, mail, owner, replace(outcome, error=why)),
            self._stop,
        )
        if outcome.status != "sent":
            # The server's words stay in the row: they may repeat the address.
            logger.warning(
                "mail %s about call %s: %s", mail.id, mail.call_id, status or "its supplier has gone"
            )
        return "retried" if outcome.status == "queued" else outcome.status

    async def _hand_over(self, mailer: Mailer, mail: Mail) -> Verdict:
        return await hand_over(
            mailer,
            self._settings.mail_return_path,
            mail.email,
            lambda: build_invitation(
                mail, self._settings, self._clock.now_ms(), self._in_force.current.letters
            ),
        )

    def _outcome(self, mail: Mail, verdict: Verdict) -> MailOutcome:
        now = self._clock.now_ms()
        metrics.count_reply(verdict.said, accepted=verdict.outcome == "accepted", by_server=verdict.by_server)
        match verdict.outcome:
            case "accepted":
                return MailOutcome("sent", sent_at=now)
            case "refused" | "no_way":
                return MailOutcome("failed", error=verdict.said, refused=verdict.by_server)
            case "unknown":
                return MailOutcome("unknown", error=verdict.said)
            case "later":
                again = min(
                    retry_at(now, mail.id, mail.attempts + 1, self._in_force.current.policy.retries),
                    mail.expires_at,
                )
                return MailOutcome("queued", not_before=again, error=verdict.said)

    async def _write_barely(
        self, conn: AsyncConnection, mail: Mail, owner: int, outcome: MailOutcome
    ) -> str | None:
        """Note the outcome alone, where what follows from it can't be."""
        keys = self._settings.keys("secret_key")
        return await store.note_mail(conn, mail, owner, outcome, feedback.address_hash(mail.email, keys))

    async def _write_outcome(
        self, conn: AsyncConnection, mail: Mail, owner: int, outcome: MailOutcome
    ) -> str | None:
        keys = self._settings.keys("secret_key")
        status = await store.note_mail(conn, mail, owner, outcome, feedback.address_hash(mail.email, keys))
        if status is not None and outcome.refused:
            await feedback.record_bounce(
                conn,
                report_id=f"smtp:{mail.id}:{mail.attempts + 1}",
                at_ms=self._clock.now_ms(),
                row_id=mail.id,
                address=mail.email,
                said=outcome.error or "",
                keys=keys,
                policy=self._in_force.current.policy.feedback,
            )
        return status
