"""Writing to a supplier: the letter as delivery would write it, its first lines in the agent's words, when it leaves.

A message that an agent asks for is a row of the queue of all messages, decided like every other; it leaves half a
minute later at the earliest, and can be taken back until it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple
from uuid import UUID, uuid4, uuid5

from fastapi import APIRouter, Form, Path, Query, Request
from starlette.responses import HTMLResponse, Response

from agents.acts.events import status_event
from agents.interventions.rows import events_of
from agents.letters import opening as first_lines
from agents.letters.in_force import Held
from agents.letters.render import Rendered
from api.auth import Caller
from api.dashboard.forms import SupplierId, back, gone
from api.dashboard.rendering import IN_A_FRAME, WITH_A_FRAME, PageRoute, page
from api.dashboard.session import CheckedCsrf, SignedIn
from api.dashboard.writing.written import CANT_BE_WRITTEN, rendered
from api.problems import Problem
from api.services import InServices, Services
from scoring.decisions.decide import COUNTED, Decision, Row, decide
from scoring.decisions.experiments import assign
from scoring.decisions.policy import Trigger
from scoring.time import DAY, SECOND
from store import audit, outbox
from store.dashboard import supplier as store
from store.messages import delivery, interventions
from store.messages.delivery import Intervention, Supplier
from store.times import to_optional_time
from topics.time import format_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from scoring.health.rules import Rules

router = APIRouter(prefix="/dashboard/suppliers/{supplierId}", route_class=PageRoute, include_in_schema=False)

REQUESTED = "dashboard.message.requested"
"""Type of the signal that a message asked for by an agent answers; it is on no topic."""
UNDO_MS = 30 * SECOND
"""So long a message that an agent asked for stays, to be taken back."""
_LONGEST_FIELD = 4 * first_lines.LONGEST
"""Of a form: browsers send a line's end as two characters; what is kept is measured when it is cleaned."""

TriggerName = Annotated[str, Path(alias="trigger", max_length=64)]
Opening = Annotated[str, Form(max_length=_LONGEST_FIELD)]
As = Literal["html", "text"]


class Option(NamedTuple):
    """A message that an agent may ask for, and what delivery would decide of it now."""

    trigger: Trigger
    decision: Decision

    @property
    def until(self) -> datetime | None:
        """When it is looked at again, where it would wait."""
        return to_optional_time(self.decision.until)


class Letter(NamedTuple):
    """A message to a supplier, ready to be written."""

    option: Option
    held: Held
    supplier: Supplier
    intervention: Intervention
    variant: str | None
    now_ms: int

    def write(self, services: Services, opening: str | None = None) -> Rendered:
        """It in words; Problem where its template can't be written to them."""
        try:
            return rendered(
                self.held,
                services.settings,
                self.supplier,
                self.intervention._replace(opening=opening),
                self.now_ms,
                self.variant,
            )
        except CANT_BE_WRITTEN as error:
            raise Problem(HTTPStatus.CONFLICT, f"this letter can't be written: {error}") from error

    def own_opening(self, services: Services) -> str | None:
        """The first lines that the letter has by itself; None where its templates show no others in their place."""
        found = self.write(services).opening
        if not found or self.option.trigger.channel != "email":
            return None
        try:
            self.write(services, found)
        except Problem:
            return None
        return found


# what can be asked for --------------------------------------------------------------------------------


def offered(trigger: Trigger, rules: Rules) -> bool:
    """Whether an agent may ask for a trigger's message: not for a good word about what happens once in a life."""
    kind, _, name = trigger.cause.partition(":")
    once = {one.name for one in rules.conditions if one.reaches is not None and one.rearms is None}
    return kind != "milestone" and not (trigger.kind == "positive" and name in once)


def requested_row(trigger: Trigger, signal_id: UUID, seq: int, now_ms: int) -> Row:
    """The row that an agent's request at `now_ms` makes: due when nobody can take it back, decided like every other."""
    return Row(
        id=str(uuid5(signal_id, trigger.name)),
        trigger=trigger.name,
        channel=trigger.channel,
        kind=trigger.kind,
        priority=trigger.priority,
        signal_at=now_ms,
        due_at=now_ms + UNDO_MS,
        seq=seq,
    )


async def message_options(
    conn: AsyncConnection, services: Services, found: dict[str, Any], now_ms: int
) -> list[Option]:
    """What could be sent, each with what delivery would decide of it: the agent knows before they ask."""
    supplier, counted = await _known(conn, services, found, now_ms)
    policy = services.in_force.of(found["id"]).policy
    options = []
    for trigger in (one for one in policy.triggers if offered(one, policy.rules)):
        row = requested_row(trigger, UUID(int=0), found["seq"], now_ms)
        [decision] = decide(supplier.facts, [row], counted, row.due_at, policy)
        options.append(Option(trigger, decision))
    return sorted(
        options, key=lambda one: ({"send": 0, "wait": 1}.get(one.decision.action, 2), -one.trigger.priority)
    )


async def _known(
    conn: AsyncConnection, services: Services, found: dict[str, Any], now_ms: int
) -> tuple[Supplier, Sequence[Row]]:
    policy = services.in_force.of(found["id"]).policy
    span = max(policy.caps.window_ms, policy.spacing.after_rescue_ms) + DAY
    keys = services.settings.keys("secret_key")
    return await store.known_for_decision(conn, found["id"], found["email"], now_ms, span, keys)


async def _letter(conn: AsyncConnection, services: Services, supplier_id: UUID, trigger: str) -> Letter:
    """The message of a trigger to a supplier, as delivery would write it. Raises Problem where there is none."""
    held, now_ms = services.in_force.of(str(supplier_id)), services.clock.now_ms()
    rule = held.policy.trigger(trigger)
    if rule is None or not offered(rule, held.policy.rules):
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "the policy has no such message to ask for")
    found = await store.supplier(conn, str(supplier_id))
    if found is None:
        raise gone()
    if found["seq"] is None:
        raise Problem(HTTPStatus.CONFLICT, "nothing is known of them yet that a message could rest on")
    supplier, counted = await _known(conn, services, found, now_ms)
    row = requested_row(rule, UUID(int=0), found["seq"], now_ms)
    [decision] = decide(supplier.facts, [row], counted, row.due_at, held.policy)
    groups = assign(str(supplier_id), rule, held.policy)
    return Letter(
        option=Option(rule, decision),
        held=held,
        supplier=supplier,
        intervention=Intervention(row, rule.template, 0, None, 1, requested=True),
        variant=None if groups.held_out else groups.variant,
        now_ms=now_ms,
    )


# the page ---------------------------------------------------------------------------------------------


@router.get("/write/{trigger}")
async def write(
    request: Request, supplier_id: SupplierId, trigger: TriggerName, agent: SignedIn, services: InServices
) -> Response:
    """The letter before it is sent: all of it, its first lines to be changed, and when it leaves."""
    async with services.transaction(agent) as conn:
        found = await store.supplier(conn, str(supplier_id))
        letter = await _letter(conn, services, supplier_id, trigger)
    here = f"/dashboard/suppliers/{supplier_id}"
    made = page(
        request,
        "write",
        supplier=found,
        here=here,
        option=letter.option,
        rendered=letter.write(services),
        opening=letter.own_opening(services),
        longest=first_lines.LONGEST,
        seconds=UNDO_MS // SECOND,
        frame=f"{here}/write/{trigger}/letter",
        request_id=uuid4(),
    )
    made.headers.update(WITH_A_FRAME)
    return made


@router.get("/write/{trigger}/letter")
async def letter(
    request: Request,
    supplier_id: SupplierId,
    trigger: TriggerName,
    agent: SignedIn,
    services: InServices,
    form: Annotated[As, Query(alias="as")] = "html",
) -> Response:
    """The letter by itself, for a frame."""
    return await _framed(request, services, agent, supplier_id, trigger, form, "")


@router.post("/write/{trigger}/letter", dependencies=[CheckedCsrf])
async def changed_letter(
    request: Request,
    supplier_id: SupplierId,
    trigger: TriggerName,
    agent: SignedIn,
    services: InServices,
    form: Annotated[As, Form(alias="as")] = "html",
    opening: Opening = "",
) -> Response:
    """The same with the first lines as they are typed, which are in no address and in no log."""
    return await _framed(request, services, agent, supplier_id, trigger, form, opening)


async def _framed(
    request: Request,
    services: Services,
    agent: Caller,
    supplier_id: UUID,
    trigger: str,
    form: As,
    opening: str,
) -> Response:
    async with services.transaction(agent) as conn:
        found = await _letter(conn, services, supplier_id, trigger)
    said = found.write(services, _kept(opening))
    if form == "html" and said.html:
        return HTMLResponse(said.html, headers=IN_A_FRAME)
    made = page(request, "_letter_text", text=said.text)
    made.headers.update(IN_A_FRAME)
    return made


# asking and taking back -------------------------------------------------------------------------------


@router.post("/message", dependencies=[CheckedCsrf])
async def message(
    supplier_id: SupplierId,
    agent: SignedIn,
    services: InServices,
    request_id: Annotated[UUID, Form()],
    trigger: Annotated[str, Form(max_length=64)],
    opening: Opening = "",
) -> Response:
    """Put a message into the queue of all messages: delivery decides it by the same caps, hours and consent."""
    # The API's own role may not write messages, so that no supplier's request can; an agent's does, here and only so.
    async with services.writer_pool.connection() as conn:
        if not await store.lock(conn, str(supplier_id)):
            raise gone()
        letter = await _letter(conn, services, supplier_id, trigger)
        rule, now = letter.option.trigger, letter.now_ms
        row = requested_row(rule, request_id, letter.intervention.row.seq, now)
        level = letter.supplier.facts.health and letter.supplier.facts.health.level
        metadata: dict[str, Any] = {
            "signal": {"type": REQUESTED, "by": agent.subject, "seq": row.seq, "level": level}
        }
        own = _kept(opening)
        if own and own != letter.own_opening(services):
            letter.write(services, own)  # one that would be lost is refused now, not when it is sent
            metadata["opening"] = own
        columns = {
            "id": row.id,
            "supplier_id": str(supplier_id),
            "trigger": rule.name,
            "channel": rule.channel,
            "template": rule.template,
            "kind": rule.kind,
            "priority": rule.priority,
            "status": "scheduled",
            "reason": None,
            "due_at": format_time(row.due_at),
            "signal_id": str(request_id),
            "signal_at": format_time(now),
            "seq": row.seq,
            "metadata": metadata,
            "created_at": format_time(now),
        }
        if await interventions.add(conn, [columns]):
            await outbox.add(conn, list(events_of([columns], now)))
            await interventions.wake_delivery(conn)
            details = {"intervention_id": row.id, "trigger": rule.name, "own_opening": "opening" in metadata}
            await audit.log(conn, agent.actor, "message.requested", str(supplier_id), now, **details)
    services.wake_publisher()
    return back(supplier_id, "asked")


@router.post("/messages/{messageId}/undo", dependencies=[CheckedCsrf])
async def undo(
    supplier_id: SupplierId,
    message_id: Annotated[UUID, Path(alias="messageId")],
    agent: SignedIn,
    services: InServices,
) -> Response:
    """Take back what was asked for, if it has not left: delivery claims under the same lock, so one of both holds."""
    now = services.clock.now_ms()
    async with services.writer_pool.connection() as conn:
        if not await store.lock(conn, str(supplier_id)):
            raise gone()
        taken = await delivery.take_back(conn, str(message_id), str(supplier_id), agent.subject)
        if taken is not None:
            event = status_event(str(supplier_id), taken, "suppressed", "held", now)
            await outbox.add(conn, [event])
            details = {"intervention_id": taken.row.id, "trigger": taken.row.trigger}
            await audit.log(conn, agent.actor, "message.taken_back", str(supplier_id), now, **details)
            said = "undone"
        else:
            found = await store.written(conn, str(supplier_id), [str(message_id)])
            if not found:
                raise Problem(HTTPStatus.NOT_FOUND, "there is no such message")
            said = _not_taken(found[0])
    services.wake_publisher()
    return back(supplier_id, said)


def _not_taken(row: dict[str, Any]) -> str:
    """What became of a message that is there no more to be taken back."""
    if row["status"] in COUNTED:
        return "left"
    return "undone" if row["metadata"].get("taken_back_by") else "decided"


class Waiting(NamedTuple):
    """A message that an agent asked for and that can still be taken back."""

    id: str
    template: str
    asked_by: str
    not_before: datetime
    option: Option | None
    """With what delivery would decide of it now; None where the policy has it no more."""


def waiting(messages: Sequence[dict[str, Any]], options: Sequence[Option]) -> list[Waiting]:
    """Which of their messages an agent asked for and are still there."""
    known = {option.trigger.name: option for option in options}
    return [
        Waiting(
            each["id"],
            each["template"],
            each["asked_by"],
            each["not_before"],
            known.get(each["trigger_condition"]),
        )
        for each in messages
        if each["status"] == "scheduled" and each["asked_by"]
    ]


def _kept(opening: str) -> str | None:
    """What is kept of the first lines that somebody typed; None where that is nothing."""
    kept = first_lines.cleaned(opening)
    if len(kept) > first_lines.LONGEST:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"these are {len(kept):,} characters: the first lines have room for {first_lines.LONGEST:,}",
        )
    return kept or None
