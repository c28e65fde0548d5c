"""What the dashboard shows of one supplier, and what agents note and ask for. Rows are dicts, times aware datetimes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from store import audit
from store.dashboard.population import Row, rows
from store.messages.delivery import SQL as DELIVERY
from store.messages.delivery import counted_row, supplier_of
from store.messages.feedback import suppressions
from store.queries import load
from store.times import to_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

    from runtime.keys import Keys
    from scoring.decisions.decide import Row as DecisionRow
    from store.audit import Actor
    from store.messages.delivery import Supplier

SQL = load("dashboard_supplier")

MOST_CHANGES = 1500
"""Changes of the score on one chart."""
MOST_CALLS = 50


class Happened(NamedTuple):
    """The sources of a timeline, each the newest first."""

    changes: list[Row]
    milestones: list[Row]
    messages: list[Row]
    calls: list[Row]
    notes: list[Row]
    acts: list[Row]


async def supplier(conn: AsyncConnection, supplier_id: str) -> Row | None:
    """Who they are, how they are doing and whether they are held; None if nobody knows them."""
    found = await rows(conn, SQL["supplier"], {"supplier": supplier_id})
    return found[0] if found else None


async def names_of(conn: AsyncConnection, supplier_ids: Sequence[str]) -> dict[str, str]:
    """What suppliers are called, by id; of who has no name, or is not known (any more), nothing."""
    found = await rows(conn, SQL["names"], {"suppliers": list(supplier_ids)})
    return {row["id"]: name for row in found if (name := row["business_name"] or row["first_name"])}


async def history(conn: AsyncConnection, supplier_id: str, since: datetime) -> list[Row]:
    """Changes of their score since then, and the one before, oldest first: `seq, at, score, level, causes`."""
    parameters = {"supplier": supplier_id, "since": since, "most": MOST_CHANGES}
    return sorted(await rows(conn, SQL["history"], parameters), key=lambda change: change["seq"])


async def happened(conn: AsyncConnection, supplier_id: str, before: datetime, most: int) -> Happened:
    """Whatever happened before then, at most `most` of each kind."""
    parameters = {"supplier": supplier_id, "before": before, "most": most}
    return Happened(
        changes=await rows(conn, SQL["changes"], parameters),
        milestones=await rows(conn, SQL["milestones"], parameters),
        messages=await rows(conn, SQL["messages"], parameters),
        calls=await rows(conn, SQL["calls"], parameters),
        notes=await rows(conn, SQL["notes"], parameters),
        acts=await rows(conn, SQL["acts"], parameters),
    )


async def known_for_decision(
    conn: AsyncConnection, supplier_id: str, email: str | None, now_ms: int, span_ms: int, keys: Keys
) -> tuple[Supplier, list[DecisionRow]]:
    """What a decision and a letter to them would rest on now, and their messages that count towards caps.

    Delivery reads the same under their lock (`store.messages.delivery.read_due`); a page that only asks takes none.
    """
    parameters = {"supplier": supplier_id, "now": to_time(now_ms), "span": span_ms}
    found = await rows(conn, DELIVERY["supplier"], parameters)
    counted = await rows(conn, DELIVERY["counted_rows"], parameters)
    listed = await suppressions(conn, email, keys) if email else {}
    return supplier_of(found[0], now_ms, listed), [counted_row(row) for row in counted]


async def written(conn: AsyncConnection, supplier_id: str, message_ids: Sequence[str]) -> list[Row]:
    """Messages of theirs as `intervention_of` takes them, with `status` and the words that were kept of them."""
    return await rows(conn, SQL["written"], {"supplier": supplier_id, "ids": list(message_ids)})


async def open_calls(conn: AsyncConnection, supplier_id: str) -> list[Row]:
    """Calls that are booked, the next first."""
    return await rows(conn, SQL["open_calls"], {"supplier": supplier_id, "most": MOST_CALLS})


async def lock(conn: AsyncConnection, supplier_id: str) -> bool:
    """Hold the lock under which delivery decides, until the transaction ends; False if nobody knows them."""
    return bool(await rows(conn, SQL["lock"], {"supplier": supplier_id}))


async def add_note(
    conn: AsyncConnection, actor: Actor, supplier_id: str, note_id: UUID, note: str, now_ms: int
) -> bool:
    """Keep an agent's note; the audit log gets its id only. False if it is there already, or they are not."""
    parameters = {
        "id": note_id,
        "supplier": supplier_id,
        "at": to_time(now_ms),
        "by": actor.id,
        "note": note,
    }
    added = bool(await rows(conn, SQL["add_note"], parameters))
    if added:
        await audit.log(conn, actor, "note.added", supplier_id, now_ms, note_id=str(note_id))
    return added
