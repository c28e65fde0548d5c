"""Holds: an agent keeps all messages from a supplier until a time, or until somebody releases them.

Whether a hold holds is asked of its end and a clock, never of its row alone. Each act is in the audit log.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from store import audit
from store.queries import load
from store.times import to_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SQL = load("holds")

FOR_GOOD = datetime(9999, 12, 31, tzinfo=UTC)
"""The end of a hold that lasts until somebody releases it."""
LONGEST_NOTE = 200


class Hold(NamedTuple):
    """Since when, by whom, why and until when."""

    held_at: datetime
    held_by: str
    note: str
    until: datetime


class UnknownSupplierError(LookupError):
    """No supplier has this id; the message names it."""


class RefusedHoldError(ValueError):
    """A hold without a reason, or one that would have ended already; the message says which."""


async def hold(
    conn: AsyncConnection,
    actor: audit.Actor,
    supplier_id: str,
    now_ms: int,
    note: str,
    until: datetime = FOR_GOOD,
) -> bool:
    """Hold all messages to a supplier from now on, up to `until`; False if they are held already.

    What falls due meanwhile is suppressed as `held`. `note` says why, is for agents, and names nobody. Raises
    UnknownSupplierError, and RefusedHoldError for a hold without a reason or one that lies behind.
    """
    now = to_time(now_ms)
    if not note.strip() or len(note) > LONGEST_NOTE:
        raise RefusedHoldError(f"say why messages to them are held, in at most {LONGEST_NOTE} characters")
    if until <= now:
        raise RefusedHoldError("a hold ends in the future: choose a later day")
    await _lock(conn, supplier_id)
    parameters = {"supplier": supplier_id, "at": now, "by": actor.id, "note": note, "until": until}
    done = await (await conn.execute(SQL["hold"], parameters)).fetchone() is not None
    if done:
        ends = {} if until == FOR_GOOD else {"until": until.astimezone(UTC).isoformat()}
        await audit.log(conn, actor, "messages.held", supplier_id, now_ms, note=note, **ends)
    return done


async def release(conn: AsyncConnection, actor: audit.Actor, supplier_id: str, now_ms: int) -> bool:
    """Let messages to their go again; False if they were not held. Raises UnknownSupplierError."""
    await _lock(conn, supplier_id)
    parameters = {"supplier": supplier_id, "at": to_time(now_ms)}
    done = await (await conn.execute(SQL["release"], parameters)).fetchone() is not None
    if done:
        await audit.log(conn, actor, "messages.released", supplier_id, now_ms)
    return done


async def find(conn: AsyncConnection, supplier_id: str, now_ms: int) -> Hold | None:
    """The hold on a supplier, if there is one that has not ended."""
    parameters = {"supplier": supplier_id, "at": to_time(now_ms)}
    found = await (await conn.execute(SQL["find"], parameters)).fetchone()
    return Hold(*found) if found else None


async def _lock(conn: AsyncConnection, supplier_id: str) -> None:
    if await (await conn.execute(SQL["lock"], {"supplier": supplier_id})).fetchone() is None:
        raise UnknownSupplierError(f"no supplier has the id {supplier_id}")
