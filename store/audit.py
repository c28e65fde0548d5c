"""The audit log: who did what to whom through the API, the dashboard or the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from store.queries import load
from store.times import to_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SQL = load("audit")

SIGNED_OUT = "dashboard.sign_out"
SESSIONS_ENDED = "dashboard.sessions_ended"
READ_CSV = "dashboard.csv"
"""The action of a table that an agent took away; `details` say which, and how it was narrowed."""
SIGNED_IN = "dashboard.sign_in"
"""The action of a login to the dashboard; `details.link` names the one-time link, if it was one."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: `role` is supplier, agent, service or cli; `id` the token's subject, or the login on the machine."""

    role: str
    id: str


async def log(
    conn: AsyncConnection, actor: Actor, action: str, supplier_id: str | None, now_ms: int, **details: Any
) -> None:
    """Note an action (on a supplier, or on none) in the transaction that does it.

    `details` are ids and facts, nothing personal.
    """
    parameters = {
        "at": to_time(now_ms),
        "actor": actor.id,
        "actor_role": actor.role,
        "action": action,
        "supplier": supplier_id,
        "details": Jsonb(details),
    }
    await conn.execute(SQL["log"], parameters)


async def link_was_used(conn: AsyncConnection, link: str, since_ms: int) -> bool:
    """Say whether a login link has been used since; holds others with the same link up until the transaction ends.

    Whoever goes on to sign in logs `SIGNED_IN` with `link=` in the same transaction. Needs an agent's claims.
    """
    await conn.execute(SQL["lock_link"], {"link": link})
    parameters = {"link": link, "since": to_time(since_ms), "action": SIGNED_IN}
    found = await (await conn.execute(SQL["link_was_used"], parameters)).fetchone()
    return bool(found and found[0])
