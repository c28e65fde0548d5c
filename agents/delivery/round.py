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
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection

from agents.acts.events import status_event, tell
from agents.acts.notes import of_task
from agents.delivery.call_mails import CallMails
from agents.delivery.handing import hand_over, note, problem
from agents.delivery.outbox import publish_all
from agents.delivery.owner import OwnerLock
from agents.delivery.pace import Pacer
from agents.letters.in_force import InForce
from agents.letters.links import without_tokens
from agents.letters.message import build_message, message_id
from agents.letters.render import FOLDERS, Letters, Rendered, ours
from agents.letters.smtp import Mailer, MailServer, Verdict
from agents.letters.words import variables
from runtime import metrics, tracing
from runtime.away import passing, set_within
from scoring.decisions.backoff import retry_at
from scoring.decisions.decide import Decision, decide
from scoring.decisions.experiments import template_file
from scoring.time import DAY
from store import outbox
from store.messages import delivery as store
from store.messages import feedback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from email.message import EmailMessage

    from opentelemetry.trace import Span
    from psycopg_pool import AsyncConnectionPool

    from agents.letters.in_force import Held
    from runtime.clock import Clock
    from runtime.settings import Settings
    from scoring.decisions.policy import Policy

logger = logging.getLogger(__name__)

WORKERS = 4
"""Suppliers handled at once; a crash leaves at most these claims open."""
LOOK_AROUND_S = 5.0
"""How often a long round looks for what others left behind and for emails about calls."""
LOOK_AGAIN_S = 1.0
"""How often a worker with nothing to do looks for what fell due while another waits for a slow mail server."""
STAND_IN_S = 20.0
"""How long one message may take before somebody else goes on with the others: a server may keep one for ten minutes."""
MOST_SENDERS = 16
STOP_GRACE_S = 8.0
"""How long the mail server may take for what is being sent when we are told to stop: a platform kills after 10 s."""


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
    """The file it is written in: the row's template, or the variant that fell to them."""
    held: Held
    """What was in force when it was decided."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one transaction decided of one supplier's rows."""

    letter: Letter | None
    results: list[str]
    """Of the rows whose fate is known already: all but the letter's."""


class Delivery:
    """Delivers what is due; any number of processes may do so side by side.

    `pool`: connections in the role `success_writer`, as many as `workers` for full speed. Nothing connects before
    the first call; connections to the mail server stay open between calls; `aclose` at the end. `alone`: nobody else
    writes to this database, so nobody dies over a claim, activates a version or books a call: that is not looked for.
    """

    def __init__(
        self,
        settings: Settings,
        pool: AsyncConnectionPool[AsyncConnection],
        clock: Clock,
        policy: Policy,
        workers: int = WORKERS,
        pacer: Pacer | None = None,
        letters: Letters | None = None,
        *,
        alone: bool = False,
    ) -> None:
        letters = letters or ours()
        letters.check(policy)
        self.in_force = InForce(policy, letters, settings.partitions)
        """What is decided and written by; `deliver_due` looks whether it is another by now."""
        settings.secret("secret_key")  # missing, it must stop the start and not the first email
        self._settings = settings = settings.settled()
        self._pool = pool
        self._clock = clock
        self._mailers = [Mailer.from_settings(settings) for _ in range(workers)]
        self._workers = workers
        self._alone = alone
        self._stand_ins: list[asyncio.Task[None]] = []
        # A mail server on this machine keeps its own pace towards the others, or is the sink.
        is_local = MailServer.from_url(settings.smtp_url).is_local
        self._pacer = pacer or (None if is_local else Pacer(policy.pace))
        self._owner = OwnerLock(settings)
        self._in_flight: set[str] = set()
        self._stopping = asyncio.Event()
        self._call_mails = CallMails(settings, pool, clock, self.in_force, self._stopping)
        self._look_around_at = 0.0
        self._at_work = 0
        self._over = asyncio.Event()

    def stop(self) -> None:
        """Claim nothing more; `deliver_due` returns once what is being sent is noted, in `STOP_GRACE_S` or so.

        A message that the mail server has not answered by then is `unknown` if it had all of it, else it waits.
        """
        self._stopping.set()
        until = asyncio.get_running_loop().time() + STOP_GRACE_S
        for mailer in self._mailers:
            mailer.end_by(until)
        self._call_mails.end_by(until)
        self._over.set()

    async def aclose(self) -> None:
        """Hang up on the mail server and let go of the lock that says this process lives."""
        for mailer in self._mailers:
            await mailer.close()
        await self._call_mails.aclose()
        await self._owner.release()

    async def drop_broken_connections(self) -> None:
        """Replace what a restart of Postgres broke: each one would fail a round of its own."""
        await self._pool.check()

    async def deliver_due(self) -> DeliveryCount:
        """Decide and send everything due at the clock's time, until nothing is.

        A slow mail server holds up the message that it is slow with, not the others: as long as one is being sent,
        the other workers go on looking.
        """
        count = DeliveryCount()
        if not (self._alone and self._owner.number):
            await self._begin(count)
        self._over.clear()
        # One begins with the newest: a celebration does not stand in line behind a night's letters.
        looks = [
            partial(self._work, mailer, count, newest=mailer is self._mailers[0]) for mailer in self._mailers
        ]
        done = await asyncio.gather(
            self._until_all_rest(partial(self._look_around, count), LOOK_AROUND_S),
            *(self._until_all_rest(look, LOOK_AGAIN_S) for look in looks),
            return_exceptions=True,
        )
        done += await asyncio.gather(*self._stand_ins, return_exceptions=True)
        await self._dismiss_stand_ins()
        failures = [failure for failure in done if failure is not None]
        if failures:
            for failure in failures[1:]:  # the first is raised, and said by whoever gets it
                logger.error("another of this round: %s: %s", type(failure).__name__, failure)
            raise next((each for each in failures if passing(each) is None), failures[0])
        return count

    async def next_due_ms(self) -> int | None:
        """When a scheduled row or a mail about a call next wants to be looked at, in ms; None if there is none."""
        async with self._pool.connection() as conn:
            row_due = await store.next_due_ms(conn)
        if self._alone:
            return row_due
        mail_due = await self._call_mails.next_due_ms()
        return min((due for due in (row_due, mail_due) if due is not None), default=None)

    async def publish_outbox(self, send: Callable[[Sequence[outbox.Event]], Awaitable[None]]) -> int:
        """Publish what the outbox holds and return how much that was.

        `send` gets events in order and returns when Kafka has acked them all; a crash before our note of that
        publishes them again.
        """
        return await publish_all(self._pool, send)

    # life ----------------------------------------------------------------------------------------------------

    async def _begin(self, count: DeliveryCount) -> None:
        """Prove that we live, and see who does not; a broken connection shows here, before anything is claimed."""
        await self._owner.prove_alive()
        await self._look_what_is_in_force()
        await self._give_up_abandoned(count)
        self._look_around_at = asyncio.get_running_loop().time() + LOOK_AROUND_S

    async def _look_what_is_in_force(self) -> None:
        async with self._pool.connection() as conn:
            changed = await self.in_force.refresh(conn)
        if changed and self._pacer is not None:
            self._pacer.keep_to(self.in_force.current.policy.pace)

    async def _look_around(self, count: DeliveryCount) -> bool:
        """Do what must not wait for the end of a long backlog: what others left, and what suppliers asked for."""
        if self._alone:
            return False
        if asyncio.get_running_loop().time() >= self._look_around_at:
            await self._begin(count)
        await self._call_mails.deliver_due(self._owner.number, count.by_result)
        return False

    async def _until_all_rest(self, look: Callable[[], Awaitable[bool]], pause_s: float) -> None:
        """Look as long as there is something to do (then `look` says so), and every `pause_s` while others work."""
        self._at_work += 1
        try:
            while not self._stopping.is_set():
                if await look():
                    continue
                self._at_work -= 1
                try:
                    if await self._all_rest(pause_s):
                        return
                finally:
                    self._at_work += 1
        finally:
            self._at_work -= 1
            await self._all_rest(0)

    async def _all_rest(self, seconds: float) -> bool:
        """Whether nobody of this round works any more; while somebody does, wait that long at most."""
        if not self._at_work:
            self._over.set()
        return await set_within(self._over, seconds)

    async def _give_up_abandoned(self, count: DeliveryCount) -> None:
        async with self._pool.connection() as conn:
            for row_id, supplier_id in await store.abandoned(conn, self._owner.number, self._in_flight):
                if row_id in self._in_flight:  # claimed by us while the question was on its way
                    continue
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

    async def _work(self, mailer: Mailer, count: DeliveryCount, *, newest: bool) -> bool:
        """Decide what is due of one supplier and send what is to be sent; False if nothing is due."""
        claim = await self._claim_next(newest=newest)
        if claim is None:
            await mailer.close_if_idle()
            return False
        count.by_result.update(claim.results)
        if claim.letter is not None:
            with self._stood_in_for(count):
                result = await self._send(mailer, claim.letter)
            count.by_result[result] += 1
        return True

    @contextmanager
    def _stood_in_for(self, count: DeliveryCount) -> Iterator[None]:
        """Have another go on with the other messages if this one takes its time."""
        timer = asyncio.get_running_loop().call_later(STAND_IN_S, self._stand_in, count)
        try:
            yield
        finally:
            timer.cancel()

    def _stand_in(self, count: DeliveryCount) -> None:
        if self._stopping.is_set() or len(self._mailers) >= MOST_SENDERS:
            return
        logger.warning(
            "the mail server takes over %.0f s for a message; others are sent meanwhile", STAND_IN_S
        )
        mailer = Mailer.from_settings(self._settings)
        self._mailers.append(mailer)
        look = partial(self._work, mailer, count, newest=False)
        self._stand_ins.append(asyncio.create_task(self._until_all_rest(look, LOOK_AGAIN_S)))

    async def _dismiss_stand_ins(self) -> None:
        self._stand_ins.clear()
        for mailer in self._mailers[self._workers :]:
            await mailer.close()
        del self._mailers[self._workers :]

    async def _claim_next(self, *, newest: bool) -> Claim | None:
        """Decide what is due of one supplier, in one transaction under their lock; None if nothing is due."""
        now = self._clock.now_ms()
        claimed: list[str] = []
        locked: tuple[str, str | None] | None = None
        try:
            async with self._pool.connection() as conn, conn.pipeline():
                locked = await store.lock_supplier(conn, now, newest=newest)
                claim = await self._decide(conn, *locked, now, claimed) if locked else None
                await conn.commit()
                return claim
        except Exception as error:
            self._in_flight.difference_update(claimed)
            if locked is None or passing(error) is not None:
                raise
            logger.exception("supplier %s can't be decided on", locked[0])
            return await self._fail_due(locked[0], now, f"can't be decided on: {type(error).__name__}")
        except BaseException:
            self._in_flight.difference_update(claimed)
            raise

    async def _fail_due(self, supplier_id: str, now: int, why: str) -> Claim:
        """Whatever is due of a supplier fails, lest one supplier hold up all others."""
        async with self._pool.connection() as conn:
            failed = await store.fail_due(conn, supplier_id, now, why)
            await outbox.add(conn, [status_event(supplier_id, row, "failed", None, now) for row in failed])
        return Claim(None, ["failed"] * len(failed))

    async def _decide(
        self, conn: AsyncConnection, supplier_id: str, email: str | None, now: int, claimed: list[str]
    ) -> Claim:
        held = self.in_force.of(supplier_id)
        span = held.policy.counts_back_ms + DAY
        supplier, rows, history = await store.read_due(
            conn, supplier_id, email, now, span, self._settings.keys("secret_key")
        )
        if any(row.status == "sending" for row in history):
            return Claim(None, [])  # claimed by another a moment before we had the lock
        letter, results, changes = None, [], []
        due = {each.row.id: each for each in rows}
        for decision in decide(supplier.facts, [each.row for each in rows], history, now, held.policy):
            decision.inputs["decided_version"] = held.number
            row = due[decision.row_id]
            if decision.action == "send" and row.row.channel == "email":
                if letter is not None:
                    continue  # decided again once the fate of this one is known
                try:
                    letter = self._letter(supplier, row, decision, now, held)
                except Exception as error:  # noqa: BLE001 - of one row, and the others go on
                    change = self._unwritable(row, decision, error)
                    results.append(change.status)
                else:
                    claimed.append(row.row.id)
                    self._in_flight.add(row.row.id)
                    change = self._claimed(letter, decision, now)
            else:
                change = await self._carry_out(conn, supplier, row, decision, now, held)
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
            await tell(conn, await feedback.convert(conn, [supplier_id], held.policy))
        return Claim(letter, results)

    def _letter(
        self,
        supplier: store.Supplier,
        intervention: store.Intervention,
        decision: Decision,
        now: int,
        held: Held,
    ) -> Letter:
        template = template_file(intervention.template or "", decision.template_variant)
        words = variables(supplier, intervention, now, self._settings, held.letters, template)
        return Letter(supplier, intervention, words, self._owner.number, template, held)

    def _claimed(self, letter: Letter, decision: Decision, now: int) -> store.Change:
        metadata = {**decision.inputs, "why": decision.why, "claim": letter.owner}
        return store.Change(letter.intervention.row.id, "sending", metadata, claimed_at=now)

    def _unwritable(
        self, intervention: store.Intervention, decision: Decision, error: Exception
    ) -> store.Change:
        logger.error("intervention %s: %s", intervention.row.id, problem(error))
        metadata = {**decision.inputs, "why": decision.why}
        return store.Change(intervention.row.id, "failed", metadata, last_error=problem(error))

    async def _carry_out(
        self,
        conn: AsyncConnection,
        supplier: store.Supplier,
        intervention: store.Intervention,
        decision: Decision,
        now: int,
        held: Held,
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
            try:
                letter = self._letter(supplier, intervention, decision, now, held)
                words = held.letters.text(f"{FOLDERS[row.channel]}/{letter.template}", letter.variables)
            except Exception as error:  # noqa: BLE001 - of one row, and the others go on
                return self._unwritable(intervention, decision, error)
            await store.open_call(conn, row.id, supplier.facts.supplier_id, words.text, now)
            await outbox.add_notes(conn, [of_task(row.id, supplier.facts.supplier_id, row.trigger, now)])
        return store.Change(row.id, "sent", metadata, claimed_at=now, sent_at=now)

    # sending -------------------------------------------------------------------------------------------------

    async def _send(self, mailer: Mailer, letter: Letter) -> str:
        """Send one claimed email and note what became of it."""
        row, span = letter.intervention.row, _span(letter)
        outcome = None
        try:
            verdict, words = await self._hand_over(mailer, letter)
            outcome = self._outcome(letter.intervention, verdict, letter.held.policy)
            await note(
                self._pool,
                lambda conn: self._write_outcome(conn, letter, outcome, words),
                lambda conn, why: self._write_barely(conn, letter, outcome, why),
                self._stopping,
            )
        finally:
            # If it could not be noted, it is one that nobody works on any more.
            self._in_flight.discard(row.id)
            status = outcome.status if outcome else "unknown"
            tracing.end(span, failed=status in {"failed", "unknown"}, status=status)
        supplier = letter.supplier.facts.supplier_id
        if outcome.error:
            logger.warning(
                "intervention %s of supplier %s: %s (%s)", row.id, supplier, outcome.status, outcome.error
            )
        else:
            logger.info("intervention %s of supplier %s: %s", row.id, supplier, outcome.status)
        return "retried" if outcome.status == "scheduled" else outcome.status

    async def _hand_over(self, mailer: Mailer, letter: Letter) -> tuple[Verdict, Rendered | None]:
        """Hand it over; what the mail server said, and the letter in words if it could be written."""
        settings, row = self._settings, letter.intervention.row
        recipient = letter.supplier.facts.email or ""
        rendered: Rendered | None = None

        def write() -> EmailMessage:
            nonlocal rendered
            rendered = letter.held.letters.email(letter.template, letter.variables)
            return build_message(
                rendered,
                row_id=row.id,
                template=letter.intervention.template or "",
                recipient=recipient,
                recipient_name=letter.variables["firstName"],
                mail_from=settings.mail_from,
                unsubscribe_url=letter.variables["unsubscribeUrl"],
                now_ms=self._clock.now_ms(),
            )

        verdict = await hand_over(mailer, settings.mail_return_path, recipient, write, self._pacer)
        return verdict, rendered

    def _outcome(self, intervention: store.Intervention, verdict: Verdict, policy: Policy) -> store.Outcome:
        now = self._clock.now_ms()
        row = intervention.row
        metrics.count_reply(verdict.said, accepted=verdict.outcome == "accepted", by_server=verdict.by_server)
        match verdict.outcome:
            case "accepted":
                template = metrics.templates(intervention.template)
                metrics.TO_EMAIL.labels(template).observe(max(0, now - row.signal_at) / 1000)
                metrics.DUE_TO_EMAIL.observe(max(0, now - row.due_at) / 1000)
                return store.Outcome("sent", sent_at=now)
            case "refused":
                return store.Outcome("failed", error=verdict.said, refused=verdict.by_server)
            case "unknown":
                return store.Outcome("unknown", error=verdict.said)
            case "no_way":
                return store.Outcome("suppressed", reason="no_address", error=verdict.said)
            case "later":
                again = retry_at(now, row.id, intervention.attempts + 1, policy.retries)
                expires = row.due_at + policy.lifetime.expires_after_ms
                return store.Outcome("scheduled", not_before=min(again, expires), error=verdict.said)

    async def _write_barely(
        self, conn: AsyncConnection, letter: Letter, outcome: store.Outcome, why: str
    ) -> None:
        """Note the outcome alone, where what follows from it can't be."""
        row, barely = letter.intervention.row, replace(outcome, error=why)
        if await store.note_outcome(conn, row.id, letter.owner, barely, {}) is not None:
            supplier_id, now = letter.supplier.facts.supplier_id, self._clock.now_ms()
            await outbox.add(
                conn, [status_event(supplier_id, letter.intervention, outcome.status, None, now)]
            )

    async def _write_outcome(
        self, conn: AsyncConnection, letter: Letter, outcome: store.Outcome, words: Rendered | None
    ) -> None:
        row, supplier_id = letter.intervention.row, letter.supplier.facts.supplier_id
        address, keys = letter.supplier.facts.email or "", self._settings.keys("secret_key")
        noted = {
            "message_id": message_id(row.id, self._settings.mail_from),
            "address_hash": feedback.address_hash(address, keys).hex(),
        }
        if outcome.status == "scheduled":
            noted["waiting"] = "retry"
        found = await store.note_outcome(conn, row.id, letter.owner, outcome, noted)
        if found is None:
            logger.info("intervention %s has gone while it was being sent", row.id)
            return
        now = self._clock.now_ms()
        if words is not None and outcome.status in {"sent", "unknown"}:
            said = without_tokens(words.text, self._settings.public_url)
            await store.keep_words(conn, row.id, words.subject, said, now)
        if outcome.status == "sent" and row.milestone:
            await store.celebrate(conn, supplier_id, row.milestone, now)
        tried = letter.intervention._replace(attempts=letter.intervention.attempts + 1)
        told = tried if outcome.status == "scheduled" else letter.intervention
        await outbox.add(conn, [status_event(supplier_id, told, outcome.status, outcome.reason, now)])
        if outcome.status == "sent" and found.went_on:  # what they did meanwhile came before we noted this
            await tell(conn, await feedback.convert(conn, [supplier_id], letter.held.policy))
        if outcome.refused:
            bounced = await feedback.record_bounce(
                conn,
                report_id=f"smtp:{row.id}:{tried.attempts}",
                at_ms=now,
                row_id=row.id,
                address=address,
                said=outcome.error or "",
                keys=keys,
                policy=letter.held.policy.feedback,
            )
            await tell(conn, [bounced.told] if bounced and bounced.told else [])


def _span(letter: Letter) -> Span | None:
    """Of the email, below that of its row; it ends when what became of it is noted."""
    if not tracing.is_on():
        return None
    intervention = letter.intervention
    about = {
        "intervention_id": intervention.row.id,
        "supplier_id": letter.supplier.facts.supplier_id,
        "trigger": intervention.row.trigger,
        "template": intervention.template or "",
    }
    if intervention.signal_id:
        about["signal_id"] = intervention.signal_id
    return tracing.begin("send email", intervention.traceparent, about, "client")
