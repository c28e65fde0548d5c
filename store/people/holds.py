"""Holds: an agent keeps all messages from a supplier until somebody releases them. Each act is in the audit log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from store import audit
from store.queries import load

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SQL = load("holds")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


class Hold(NamedTuple):
    """Since when, by whom and why."""

    held_at: datetime
    held_by: str
    note: str


class UnknownSupplierError(LookupError):
    """No supplier has this id; the message names it."""


async def hold(
    conn: AsyncConnection, actor: audit.Actor, supplier_id: str, now_ms: int, note: str = ""
) -> bool:
    """Hold all messages to a supplier from now on; False if they are held already.

    What falls due meanwhile is suppressed as `held`. `note` is for agents, and names nobody. Raises
    UnknownSupplierError.
    """
    await _lock(conn, supplier_id)
    parameters = {"supplier": supplier_id, "at": _EPOCH + now_ms * _MS, "by": actor.id, "note": note}
    done = await (await conn.execute(SQL["hold"], parameters)).fetchone() is not None
    if done:
        await audit.log(conn, actor, "messages.held", supplier_id, now_ms, note=note)
    return done


async def release(conn: AsyncConnection, actor: audit.Actor, supplier_id: str, now_ms: int) -> bool:
    """Let messages to their go again; False if they were not held. Raises UnknownSupplierError."""
    await _lock(conn, supplier_id)
    done = await (await conn.execute(SQL["release"], {"supplier": supplier_id})).fetchone() is not None
    if done:
        await audit.log(conn, actor, "messages.released", supplier_id, now_ms)
    return done


async def find(conn: AsyncConnection, supplier_id: str) -> Hold | None:
    """The hold on a supplier, if there is one."""
    found = await (await conn.execute(SQL["find"], {"supplier": supplier_id})).fetchone()
    return Hold(*found) if found else None


async def _lock(conn: AsyncConnection, supplier_id: str) -> None:
    if await (await conn.execute(SQL["lock"], {"supplier": supplier_id})).fetchone() is None:
        raise UnknownSupplierError(f"no supplier has the id {supplier_id}")
