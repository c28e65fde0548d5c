"""Delivery: claims what is due, decides it under the supplier's lock, and sends it once.

A message that leaves goes through three commits: the decision (`sending`, `claimed_at`), the mail server's yes, and
our note of it (`sent`). A process that dies in between leaves `sending`, which the others make `unknown` and never
send again by themselves. They know that it died because each process holds an advisory lock of its own, which
Postgres drops with its connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from email.errors import MessageError
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError
from psycopg import AsyncConnection

from agents.call_mails import CallMails
from agents.feedback import tell
from agents.letter import variables
from agents.mail import Mailer, MailServer, Verdict, without_addresses
from agents.message import build_message, message_id
from agents.noting import note
from agents.outbox_publisher import publish_all
from agents.owner import OwnerLock
from agents.pace import Pacer
from agents.render import FOLDERS, check_templates, render_email, render_text
from agents.status_events import status_event
from scoring.backoff import retry_at
from scoring.decide import Decision, decide
from scoring.experiments import template_file
from scoring.time import DAY
from store import delivery as store
from store import feedback, outbox

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from psycopg_pool import AsyncConnectionPool

    from runtime.clock import Clock
    from runtime.settings import Settings
    from scoring.policy import Policy

logger = logging.getLogger(__name__)

WORKERS = 4
"""Suppliers handled at once; a crash leaves at most these claims open."""
LOOK_AROUND_S = 5.0
"""How often a long round looks for what others left behind and for emails about calls."""


@dataclass(slots=True)
class DeliveryCount:
    """How many rows came to what: `sent`, `suppressed`, `failed`, `unknown`, `waiting`, `retried`."""

    by_result: Counter[str] = field(default_factory=Counter)

    def __getattr__(self, name: str) -> int:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.by_result[name]

    def total(self) -> int:
        """All rows looked at."""
        return self.by_result.total()


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to a supplier: a claimed email that is to be sent, or the words of a task."""

    supplier: store.Supplier
    intervention: store.Intervention
    variables: dict[str, Any]
    owner: int
    """Under whose lock it was claimed."""
    template: str
    """The file it is written in: the row's template, or the variant that fell to her."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one transaction decided of one supplier's rows."""

    letter: Letter | None
    results: list[str]
    """Of the rows whose fate is known already: all but the letter's."""


class Delivery:
    """Delivers what is due; any number of processes may do so side by side.

    `pool`: connections in the role `success_writer`, as many as `workers` for full speed. Nothing connects before
    the first call; connections to the mail server stay open between calls; `aclose` at the end.
    """

    def __init__(
        self,
        settings: Settings,
        pool: AsyncConnectionPool[AsyncConnection],
        clock: Clock,
        policy: Policy,
        workers: int = WORKERS,
        pacer: Pacer | None = None,
    ) -> None:
        check_templates(policy)
        settings.secret("secret_key")  # missing, it must stop the start and not the first email
        self._settings = settings
        self._pool = pool
        self._clock = clock
        self._policy = policy
        self._mailers = [Mailer.from_settings(settings) for _ in range(workers)]
        # A mail server on this machine keeps its own pace towards the others, or is the sink.
        is_local = MailServer.from_url(settings.smtp_url).is_local
        self._pacer = pacer or (None if is_local else Pacer(policy.pace))
        self._call_mails = CallMails(settings, pool, clock, policy)
        self._owner = OwnerLock(settings)
        self._in_flight: set[str] = set()
        self._stopping = False
        self._look_around_at = 0.0

    def stop(self) -> None:
        """Claim nothing more; `deliver_due` returns once what is being sent is noted."""
        self._stopping = True

    async def aclose(self) -> None:
        """Hang up on the mail server and let go of the lock that says this process lives."""
        for mailer in self._mailers:
            await mailer.close()
        await self._owner.release()

    async def drop_broken_connections(self) -> None:
        """Replace what a restart of Postgres broke: each one would fail a round of its own."""
        await self._pool.check()

    async def deliver_due(self) -> DeliveryCount:
        """Decide and send everything due at the clock's time, until nothing is."""
        count = DeliveryCount()
        await self._owner.prove_alive()
        await self._look_around(count)
        # One begins with the newest: a celebration does not stand in line behind a night's letters.
        works = [self._work(mailer, count, newest=mailer is self._mailers[0]) for mailer in self._mailers]
        failures = [done for done in await asyncio.gather(*works, return_exceptions=True) if done is not None]
        if failures:
            raise failures[0]
        return count

    async def next_due_ms(self) -> int | None:
        """When a scheduled row or a mail about a call next wants to be looked at, in ms; None if there is none."""
        async with self._pool.connection() as conn:
            row_due = await store.next_due_ms(conn)
        mail_due = await self._call_mails.next_due_ms()
        return min((due for due in (row_due, mail_due) if due is not None), default=None)

    async def publish_outbox(self, send: Callable[[Sequence[outbox.Event]], Awaitable[None]]) -> int:
        """Publish what the outbox holds and return how much that was.

        `send` gets events in order and returns when Kafka has acked them all; a crash before our note of that
        publishes them again.
        """
        return await publish_all(self._pool, send)

    # life ----------------------------------------------------------------------------------------------------

    async def _look_around(self, count: DeliveryCount) -> None:
        """Do what must not wait for the end of a long backlog: what others left, and what suppliers asked for."""
        self._look_around_at = asyncio.get_running_loop().time() + LOOK_AROUND_S
        await self._give_up_abandoned(count)
        await self._call_mails.deliver_due(self._owner.number, count.by_result, lambda: self._stopping)

    async def _give_up_abandoned(self, count: DeliveryCount) -> None:
        async with self._pool.connection() as conn:
            for row_id, supplier_id in await store.abandoned(conn, self._owner.number, self._in_flight):
                intervention = await store.give_up(
                    conn, row_id, "its delivery died before noting the outcome"
                )
                if intervention is None:
                    continue
                now = self._clock.now_ms()
                await outbox.add(conn, [status_event(supplier_id, intervention, "unknown", None, now)])
                count.by_result["unknown"] += 1
                logger.warning("intervention %s was being sent when its process died: unknown", row_id)

    # work ----------------------------------------------------------------------------------------------------

    async def _work(self, mailer: Mailer, count: DeliveryCount, *, newest: bool) -> None:
        while not self._stopping:
            if newest and asyncio.get_running_loop().time() > self._look_around_at:
                await self._look_around(count)
            claim = await self._claim_next(newest=newest)
            if claim is None:
                await mailer.close_if_idle()
                return
            count.by_result.update(claim.results)
            if claim.letter is not None:
                count.by_result[await self._send(mailer, claim.letter)] += 1

    async def _claim_next(self, *, newest: bool) -> Claim | None:
        """Decide what is due of one supplier, in one transaction under her lock; None if nothing is due."""
        now = self._clock.now_ms()
        claimed: list[str] = []
        try:
            async with self._pool.connection() as conn, conn.pipeline():
                locked = await store.lock_supplier(conn, now, newest=newest)
                claim = await self._decide(conn, *locked, now, claimed) if locked else None
                await conn.commit()
                return claim
        except BaseException:
            self._in_flight.difference_update(claimed)
            raise

    async def _decide(
        self, conn: AsyncConnection, supplier_id: str, email: str | None, now: int, claimed: list[str]
    ) -> Claim:
        span = max(self._policy.caps.window_ms, self._policy.spacing.after_rescue_ms) + DAY
        supplier, rows, history = await store.read_due(
            conn, supplier_id, email, now, span, self._settings.secret("secret_key")
        )
        if any(row.status == "sending" for row in history):
            return Claim(None, [])  # claimed by another a moment before we had the lock
        letter, results, changes = None, [], []
        due = {each.row.id: each for each in rows}
        for decision in decide(supplier.facts, [each.row for each in rows], history, now, self._policy):
            row = due[decision.row_id]
            if decision.action == "send" and row.row.channel == "email":
                if letter is not None:
                    continue  # decided again once the fate of this one is known
                letter = self._letter(supplier, row, decision, now)
                claimed.append(row.row.id)
                self._in_flight.add(row.row.id)
                change = self._claimed(letter, decision, now)
            else:
                change = await self._carry_out(conn, supplier, row, decision, now)
                results.append("waiting" if change.status == "scheduled" else change.status)
            changes.append(replace(change, experiment=decision.experiment, variant=decision.variant))
        await store.apply_decisions(conn, changes)
        events = [
            status_event(supplier_id, due[change.id], change.status, change.reason, now)
            for change in changes
            if change.status != "scheduled"
        ]
        await outbox.add(conn, events)
        if "sent" in results:
            await tell(conn, await feedback.convert(conn, [supplier_id], self._policy))
        return Claim(letter, results)

    def _letter(
        self, supplier: store.Supplier, intervention: store.Intervention, decision: Decision, now: int
    ) -> Letter:
        words = variables(supplier, intervention, now, self._settings)
        template = template_file(intervention.template or "", decision.template_variant)
        return Letter(supplier, intervention, words, self._owner.number, template)

    def _claimed(self, letter: Letter, decision: Decision, now: int) -> store.Change:
        metadata = {**decision.inputs, "why": decision.why, "claim": letter.owner}
        return store.Change(letter.intervention.row.id, "sending", metadata, claimed_at=now)

    async def _carry_out(
        self,
        conn: AsyncConnection,
        supplier: store.Supplier,
        intervention: store.Intervention,
        decision: Decision,
        now: int,
    ) -> store.Change:
        """Turn a decision into a change of the row, and do what it says where that is not an email."""
        row = intervention.row
        metadata: dict[str, Any] = {**decision.inputs, "why": decision.why}
        if decision.action == "suppress":
            return store.Change(row.id, "suppressed", metadata, reason=decision.reason)
        if decision.action == "wait":
            metadata["waiting"] = decision.waiting
            return store.Change(row.id, "scheduled", metadata, not_before=decision.until)
        if row.channel == "support_call":
            letter = self._letter(supplier, intervention, decision, now)
            try:
                notes = render_text(f"{FOLDERS[row.channel]}/{letter.template}", letter.variables)
            except TemplateError as error:
                logger.error("intervention %s: %s", row.id, _template_problem(error))  # noqa: TRY400 - see there
                return store.Change(row.id, "failed", metadata, last_error=_template_problem(error))
            await store.open_call(conn, row.id, supplier.facts.supplier_id, notes.text, now)
        return store.Change(row.id, "sent", metadata, claimed_at=now, sent_at=now)

    # sending -------------------------------------------------------------------------------------------------

    async def _send(self, mailer: Mailer, letter: Letter) -> str:
        """Send one claimed email and note what became of it."""
        row = letter.intervention.row
        try:
            verdict = await self._hand_over(mailer, letter)
            outcome = self._outcome(letter.intervention, verdict)
            await note(self._pool, lambda conn: self._write_outcome(conn, letter, outcome))
        finally:
            self._in_flight.discard(
                row.id
            )  # if it could not be noted, it is one that nobody works on any more
        if outcome.error:
            logger.warning("intervention %s: %s (%s)", row.id, outcome.status, outcome.error)
        return "retried" if outcome.status == "scheduled" else outcome.status

    async def _hand_over(self, mailer: Mailer, letter: Letter) -> Verdict:
        settings, row = self._settings, letter.intervention.row
        recipient = letter.supplier.facts.email or ""
        try:
            message = build_message(
                render_email(letter.template, letter.variables),
                row_id=row.id,
                template=letter.intervention.template or "",
                recipient=recipient,
                recipient_name=letter.variables["firstName"],
                mail_from=settings.mail_from,
                unsubscribe_url=letter.variables["unsubscribeUrl"],
                now_ms=self._clock.now_ms(),
            )
        except (TemplateError, MessageError, ValueError, TypeError) as error:
            logger.error("intervention %s: %s", row.id, _template_problem(error))  # noqa: TRY400 - see there
            return Verdict("refused", _template_problem(error))
        if self._pacer is not None:
            await self._pacer.turn(recipient)
        return await mailer.send(settings.mail_return_path, recipient, message)

    def _outcome(self, intervention: store.Intervention, verdict: Verdict) -> store.Outcome:
        now = self._clock.now_ms()
        row = intervention.row
        match verdict.outcome:
            case "accepted":
                return store.Outcome("sent", sent_at=now)
            case "refused":
                return store.Outcome("failed", error=verdict.said, refused=verdict.by_server)
            case "unknown":
                return store.Outcome("unknown", error=verdict.said)
            case "later":
                again = retry_at(now, row.id, intervention.attempts + 1, self._policy.retries)
                expires = row.due_at + self._policy.lifetime.expires_after_ms
                return store.Outcome("scheduled", not_before=min(again, expires), error=verdict.said)

    async def _write_outcome(self, conn: AsyncConnection, letter: Letter, outcome: store.Outcome) -> None:
        row, supplier_id = letter.intervention.row, letter.supplier.facts.supplier_id
        address, key = letter.supplier.facts.email or "", self._settings.secret("secret_key")
        noted = {
            "message_id": message_id(row.id, self._settings.mail_from),
            "address_hash": feedback.address_hash(address, key).hex(),
        }
        if outcome.status == "scheduled":
            noted["waiting"] = "retry"
        found = await store.note_outcome(conn, row.id, letter.owner, outcome, noted)
        if found is None:
            logger.info("intervention %s has gone while it was being sent", row.id)
            return
        now = self._clock.now_ms()
        if outcome.status == "sent" and row.milestone:
            await store.celebrate(conn, supplier_id, row.milestone, now)
        tried = letter.intervention._replace(attempts=letter.intervention.attempts + 1)
        told = tried if outcome.status == "scheduled" else letter.intervention
        await outbox.add(conn, [status_event(supplier_id, told, outcome.status, None, now)])
        if outcome.status == "sent" and found.went_on:  # what she did meanwhile came before we noted this
            await tell(conn, await feedback.convert(conn, [supplier_id], self._policy))
        if outcome.refused:
            bounced = await feedback.record_bounce(
                conn,
                report_id=f"smtp:{row.id}:{tried.attempts}",
                at_ms=now,
                row_id=row.id,
                address=address,
                said=outcome.error or "",
                key=key,
                policy=self._policy.feedback,
            )
            await tell(conn, [bounced.told] if bounced and bounced.told else [])


def _template_problem(error: Exception) -> str:
    # No traceback: its last line repeats what could not be written, an address for instance.
    return without_addresses(f"the message can't be written: {type(error).__name__}: {error}")
