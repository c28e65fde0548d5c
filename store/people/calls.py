"""Calls with support agents: the rows, the times that are taken, and the emails about calls that wait to be sent."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID, uuid5
from zlib import crc32

from psycopg.rows import dict_row

from scoring.decisions.limits import CALL_MAILS_AN_HOUR
from store.messages.delivery import OWNER_NAMESPACE
from store.messages.interventions import wake_delivery
from store.queries import load

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SQL = load("calls")

BOOKINGS_LOCK = crc32(b"success_bookings")
"""Key of the advisory lock under which times are given away."""
CANCELLATION_KEEPS = timedelta(days=1)
"""A cancellation is worth sending this long, even after the call should have begun."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Call:
    """A row of `support_interactions`; times are int ms. Without `scheduled_at` it is a task to find a time."""

    id: str
    supplier_id: str
    interaction_type: str
    status: str
    scheduled_at: int | None
    ends_at: int | None
    completed_at: int | None
    duration_minutes: int | None
    agent_id: str | None
    notes: str | None
    outcome: str | None
    satisfaction_score: int | None
    preferred_times: tuple[int, ...]
    urgency: str | None
    sequence: int
    """iCalendar's: rises whenever the time changes or the call is cancelled."""
    intervention_id: str | None
    """The intervention that offered this call."""
    created_at: int


@dataclass(frozen=True, slots=True)
class Mail:
    """A claimed email about a call; times are int ms, `attempts` those before this one."""

    id: str
    supplier_id: str
    call_id: str
    method: Literal["REQUEST", "CANCEL"]
    sequence: int
    starts_at: int
    ends_at: int
    expires_at: int
    attempts: int
    interaction_type: str
    email: str
    first_name: str | None
    timezone: str | None
    heard_before: bool
    """An earlier email about this call was sent, or may have been."""
    locale: str | None = None


@dataclass(frozen=True, slots=True)
class MailOutcome:
    """What became of a claimed email: `sent`, `failed`, `unknown`, or `queued` to try again; times in ms."""

    status: str
    sent_at: int | None = None
    not_before: int | None = None
    error: str | None = None
    refused: bool = False
    """`failed` by the mail server's own words, which `error` holds."""


async def lock_bookings(conn: AsyncConnection) -> None:
    """Wait until nobody else gives times away, and keep others waiting until the transaction ends."""
    await conn.execute(SQL["lock_bookings"], {"lock": BOOKINGS_LOCK})


async def taken(conn: AsyncConnection, since_ms: int) -> list[tuple[int, int]]:
    """Times at which agents have calls, [start, end) in ms, that end after `since_ms`."""
    rows = await conn.execute(SQL["taken"], {"since": _time(since_ms)})
    return [(_ms(starts), _ms(ends)) for starts, ends in await rows.fetchall()]


async def time_zone(conn: AsyncConnection, supplier_id: str) -> str | None:
    """The supplier's zone, None if it is not known; LookupError if they are not known, or not to be seen."""
    found = await (await conn.execute(SQL["caller"], {"supplier": supplier_id})).fetchone()
    if found is None:
        raise LookupError(supplier_id)
    return found[0] or None


async def add(conn: AsyncConnection, call: Call) -> bool:
    """Write a new call; False if there is one of that id."""
    parameters = {
        "id": call.id,
        "supplier": call.supplier_id,
        "interaction_type": call.interaction_type,
        "scheduled_at": _optional_time(call.scheduled_at),
        "ends_at": _optional_time(call.ends_at),
        "notes": call.notes,
        "urgency": call.urgency,
        "preferred_times": [_time(at) for at in call.preferred_times],
        "intervention": call.intervention_id,
        "now": _time(call.created_at),
    }
    return await (await conn.execute(SQL["add"], parameters)).fetchone() is not None


async def count_open(conn: AsyncConnection, supplier_id: str, now_ms: int) -> int:
    """How many calls a supplier has ahead or waiting for a time; offers of ours don't count."""
    found = await conn.execute(SQL["count_open"], {"supplier": supplier_id, "now": _time(now_ms)})
    row = await found.fetchone()
    return row[0] if row else 0


async def ahead(conn: AsyncConnection, supplier_id: str, now_ms: int) -> list[Call]:
    """The calls a supplier has ahead or waiting for a time, the next first; offers of ours don't count."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["ahead"], {"supplier": supplier_id, "now": _time(now_ms)})
        return [_call(found) for found in await cursor.fetchall()]


async def close_offers(conn: AsyncConnection, supplier_id: str, now_ms: int) -> str | None:
    """Complete the supplier's open offers of a call; returns the intervention of the newest, if there was one."""
    rows = await conn.execute(SQL["close_offers"], {"supplier": supplier_id, "now": _time(now_ms)})
    offers = [
        (created_at, intervention) for intervention, created_at in await rows.fetchall() if intervention
    ]
    return max(offers)[1] if offers else None


async def find(conn: AsyncConnection, call_id: str, *, lock: bool = False) -> Call | None:
    """Read a call, if it is there and to be seen; with `lock` nobody else changes it in this transaction."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["find_locked"] if lock else SQL["find"], {"id": call_id})
        found = await cursor.fetchone()
    return _call(found) if found else None


async def save(conn: AsyncConnection, call: Call, now_ms: int) -> None:
    """Write what can change of a call."""
    parameters = {
        "id": call.id,
        "status": call.status,
        "scheduled_at": _optional_time(call.scheduled_at),
        "ends_at": _optional_time(call.ends_at),
        "completed_at": _optional_time(call.completed_at),
        "duration_minutes": call.duration_minutes,
        "agent_id": call.agent_id,
        "notes": call.notes,
        "outcome": call.outcome,
        "satisfaction_score": call.satisfaction_score,
        "sequence": call.sequence,
        "now": _time(now_ms),
    }
    await conn.execute(SQL["save"], parameters)


async def supersede_mails(conn: AsyncConnection, call_id: str) -> None:
    """Let no email about this call go out that still waits."""
    await conn.execute(SQL["supersede_mails"], {"call": call_id})


async def queue_mail(
    conn: AsyncConnection, call: Call, method: Literal["REQUEST", "CANCEL"], now_ms: int
) -> None:
    """Queue the invitation to, or the cancellation of, a call as it is now; it replaces what still waits."""
    if call.scheduled_at is None or call.ends_at is None:
        raise ValueError(f"call {call.id} has no time to write about")
    await supersede_mails(conn, call.id)
    ends, now = _time(call.ends_at), _time(now_ms)
    parameters = {
        "id": str(uuid5(UUID(call.id), f"mail:{call.sequence}")),
        "supplier": call.supplier_id,
        "call": call.id,
        "method": method,
        "sequence": call.sequence,
        "starts_at": _time(call.scheduled_at),
        "ends_at": ends,
        "expires_at": ends if method == "REQUEST" else max(ends, now + CANCELLATION_KEEPS),
        "now": now,
        "most": CALL_MAILS_AN_HOUR,
    }
    await conn.execute(SQL["queue_mail"], parameters)
    await wake_delivery(conn)


async def expire_mails(conn: AsyncConnection, now_ms: int) -> list[str]:
    """Fail what can no longer be of use, and return its ids."""
    rows = await conn.execute(SQL["expire_mails"], {"now": _time(now_ms)})
    return [row[0] for row in await rows.fetchall()]


async def set_aside_mails(conn: AsyncConnection, now_ms: int) -> None:
    """Let what is due wait for an address where there is none."""
    await conn.execute(SQL["set_aside"], {"now": _time(now_ms)})


async def claim_mail(conn: AsyncConnection, owner: int, now_ms: int) -> Mail | None:
    """Claim the next email that can be sent, for the process that holds the owner's lock `owner`."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["claim_mail"], {"now": _time(now_ms), "claim": owner})
        found = await cursor.fetchone()
    if found is None:
        return None
    found |= {name: _ms(found[name]) for name in ("starts_at", "ends_at", "expires_at")}
    return Mail(**found)


async def note_mail(
    conn: AsyncConnection, mail: Mail, owner: int, outcome: MailOutcome, address_hash: bytes
) -> str | None:
    """Note what became of an email and return its status; None if it has gone (erased) meanwhile.

    `address_hash`: `store.messages.feedback.address_hash` of the address that it was sent to.
    """
    parameters = {
        "id": mail.id,
        "claim": owner,
        "status": outcome.status,
        "sent_at": _optional_time(outcome.sent_at),
        "not_before": _optional_time(outcome.not_before),
        "last_error": outcome.error,
        "address_hash": address_hash,
    }
    found = await (await conn.execute(SQL["note_mail"], parameters)).fetchone()
    return found[0] if found else None


async def give_up_mails(conn: AsyncConnection, owner: int, in_flight: Collection[str]) -> list[str]:
    """Make claims that nobody works on any more `unknown`, and return their ids."""
    parameters = {"owner": owner, "in_flight": list(in_flight), "namespace": OWNER_NAMESPACE}
    return [row[0] for row in await (await conn.execute(SQL["give_up_mails"], parameters)).fetchall()]


async def next_mail_ms(conn: AsyncConnection) -> int | None:
    """When the queue next wants to be looked at."""
    found = await (await conn.execute(SQL["next_mail"])).fetchone()
    return _ms(found[0]) if found and found[0] is not None else None


def _call(found: dict[str, Any]) -> Call:
    found |= {name: _optional_ms(found[name]) for name in ("scheduled_at", "ends_at", "completed_at")}
    found["preferred_times"] = tuple(_ms(at) for at in found["preferred_times"] or ())
    return Call(**found | {"created_at": _ms(found["created_at"])})


def _ms(at: datetime) -> int:
    return (at - _EPOCH) // _MS


def _optional_ms(at: datetime | None) -> int | None:
    return None if at is None else _ms(at)


def _time(at_ms: int) -> datetime:
    return _EPOCH + at_ms * _MS


def _optional_time(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else _time(at_ms)
