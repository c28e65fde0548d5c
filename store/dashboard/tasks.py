"""Calls to make, and whose book a supplier is in. Rows are dicts by the queries' columns, times aware datetimes.

A task is a row of `support_interactions` that is open and has no time yet: what was sent as a `support_call`, what a
supplier asked for, what an agent added. It is theirs in whose book the supplier is (`supplier_owners`), else the
team's. Each act is in the audit log.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from store import audit
from store.dashboard.population import Place, Row, rows
from store.queries import load
from store.times import to_ms, to_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from store.audit import Actor

SQL = load("dashboard_tasks")

MOST_OF_OWNER = 300
MOST_OF_SUPPLIER = 20


async def team(conn: AsyncConnection, after: Place, now: datetime, most: int) -> list[Row]:
    """A page of all tasks that are not put off, the heaviest first."""
    parameters = {"before": after.weight, "id": after.id, "now": now, "most": most}
    return await rows(conn, SQL["team"], parameters)


async def of_owner(conn: AsyncConnection, owner: str) -> list[Row]:
    """All tasks of an agent's suppliers, those put off among them."""
    return await rows(conn, SQL["of_owner"], {"owner": owner, "most": MOST_OF_OWNER})


async def of_supplier(conn: AsyncConnection, supplier_id: str) -> list[Row]:
    """What is to be done for one supplier, the oldest first."""
    return await rows(conn, SQL["of_supplier"], {"supplier": supplier_id, "most": MOST_OF_SUPPLIER})


async def owner(conn: AsyncConnection, supplier_id: str) -> str | None:
    """The agent in whose book a supplier is; None for the team's."""
    found = await rows(conn, SQL["owner"], {"supplier": supplier_id})
    return found[0]["owner"] if found else None


async def candidates_of_owner(conn: AsyncConnection, owner: str, after: Place, most: int) -> list[Row]:
    """A page of an agent's suppliers who are not healthy, the heaviest first: `id, weight`."""
    parameters = {"owner": owner, "before": after.weight, "id": after.id, "most": most}
    return await rows(conn, SQL["candidates_of_owner"], parameters)


async def add(
    conn: AsyncConnection,
    actor: Actor,
    supplier_id: str,
    task_id: str,
    now: datetime,
    notes: str = "",
    until: datetime | None = None,
) -> bool:
    """Add a call to make, put off until then; False if there is one already. `conn` holds the supplier's lock."""
    parameters = {
        "id": task_id,
        "supplier": supplier_id,
        "notes": notes or None,
        "by": actor.id,
        "until": until,
        "now": now,
    }
    added = bool(await rows(conn, SQL["add"], parameters))
    if added:
        await audit.log(conn, actor, "task.added", supplier_id, to_ms(now), call_id=task_id)
    return added


async def put_off(
    conn: AsyncConnection,
    actor: Actor,
    supplier_id: str,
    task_id: str,
    now: datetime,
    until: datetime,
    *,
    unanswered: bool = False,
) -> bool:
    """Let a task rest until then; `unanswered`: because nobody picked up. False if it rests until then already."""
    parameters = {"id": task_id, "until": until, "tries": int(unanswered), "now": now}
    found = await rows(conn, SQL["put_off"], parameters)
    if found:
        action = "task.not_answered" if unanswered else "task.put_off"
        await audit.log(
            conn, actor, action, supplier_id, to_ms(now), call_id=task_id, until=until.isoformat()
        )
    return bool(found)


async def note_done(conn: AsyncConnection, actor: Actor, task_id: str) -> None:
    """Note who said how a task went, so that it counts as talked about."""
    await conn.execute(SQL["done_by"], {"id": task_id, "by": actor.id})


async def take(conn: AsyncConnection, actor: Actor, supplier_id: str, now_ms: int) -> bool:
    """Put a supplier into the agent's own book; False if they are in it already, or not known."""
    parameters = {"supplier": supplier_id, "owner": actor.id, "now": to_time(now_ms)}
    taken = bool(await rows(conn, SQL["take"], parameters))
    if taken:
        await audit.log(conn, actor, "supplier.taken_over", supplier_id, now_ms, owner=actor.id)
    return taken


async def give_back(conn: AsyncConnection, actor: Actor, supplier_id: str, now_ms: int) -> bool:
    """Leave a supplier to the team; False if they were the team's already."""
    found = await rows(conn, SQL["give_back"], {"supplier": supplier_id})
    if found:
        await audit.log(conn, actor, "supplier.given_back", supplier_id, now_ms, owner=found[0]["owner"])
    return bool(found)
