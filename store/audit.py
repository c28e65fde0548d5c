"""The audit log: who did what to whom through the API, the dashboard or the command line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from store.queries import load

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SQL = load("audit")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: `role` is supplier, agent, service or cli; `id` the token's subject, or the login on the machine."""

    role: str
    id: str


async def log(
    conn: AsyncConnection, actor: Actor, action: str, supplier_id: str, now_ms: int, **details: Any
) -> None:
    """Note an action on a supplier in the transaction that does it. `details` are ids and facts, nothing personal."""
    parameters = {
        "at": _EPOCH + now_ms * _MS,
        "actor": actor.id,
        "actor_role": actor.role,
        "action": action,
        "supplier": supplier_id,
        "details": Jsonb(details),
    }
    await conn.execute(SQL["log"], parameters)
