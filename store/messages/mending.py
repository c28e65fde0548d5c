"""What operators look at and mend: messages that failed or of which nobody knows, addresses that get no email."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from psycopg.rows import dict_row

from store import audit
from store.messages.delivery import OWNER_NAMESPACE
from store.messages.feedback import address_hashes
from store.queries import load
from store.rows import as_json
from store.times import to_optional_time, to_time
from topics.time import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from runtime.keys import Keys

SQL = load("mending")

Reason = Literal["bounced", "complained"]


class Wanted(NamedTuple):
    """Which messages: `reason` is the column's or words of the error, times are `due_at` in [since, until), ms."""

    status: str | None = None
    reason: str | None = None
    trigger: str | None = None
    since: int | None = None
    until: int | None = None
    supplier: str | None = None

    def parameters(self) -> dict[str, Any]:
        """As the queries have them."""
        times = {"since": to_optional_time(self.since), "until": to_optional_time(self.until)}
        return self._asdict() | times


class Again(NamedTuple):
    """A message that is scheduled again, and what it was before."""

    was: str
    supplier_id: str
    id: str
    trigger: str
    channel: str
    template: str | None
    signal_id: str | None


async def find(conn: AsyncConnection, intervention_id: str) -> dict[str, Any] | None:
    """One message, all its columns; None if there is none."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["find_intervention"], {"id": intervention_id})
        return await cursor.fetchone()


async def matching(conn: AsyncConnection, wanted: Wanted, most: int | None) -> list[dict[str, Any]]:
    """Messages that are wanted, the newest first, at most `most`."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["list_interventions"], wanted.parameters() | {"most": most})
        return await cursor.fetchall()


async def count(conn: AsyncConnection, wanted: Wanted) -> int:
    """How many messages are wanted."""
    found = await (await conn.execute(SQL["count_interventions"], wanted.parameters())).fetchone()
    return int(found[0]) if found else 0


async def schedule_again(
    conn: AsyncConnection, actor: audit.Actor, intervention_id: str, now_ms: int
) -> Again | None:
    """Schedule a failed or unknown message again, audited; None if it is neither (any more)."""
    parameters = {"id": intervention_id, "now": to_time(now_ms)}
    await conn.execute(SQL["lock_supplier_of"], parameters)
    found = await (await conn.execute(SQL["schedule_again"], parameters)).fetchone()
    if found is None:
        return None
    again = Again(*found)
    await audit.log(
        conn, actor, "intervention.retried", again.supplier_id, now_ms, intervention=again.id, was=again.was
    )
    return again


async def deliveries(conn: AsyncConnection) -> int:
    """How many deliveries are at work on this database."""
    found = await (await conn.execute(SQL["deliveries"], {"namespace": OWNER_NAMESPACE})).fetchone()
    return int(found[0]) if found else 0


async def statuses(conn: AsyncConnection, ids: Sequence[str]) -> dict[str, str]:
    """The status of each of these messages that is there."""
    found = await conn.execute(SQL["statuses"], {"ids": list(ids)})
    return {row[0]: row[1] for row in await found.fetchall()}


async def settle(
    conn: AsyncConnection, fates: Sequence[tuple[str, str, str | None, int]], now_ms: int
) -> None:
    """Give messages that are open the fate that they are known to have: (id, status, reason, when in ms)."""
    rows = [
        {"id": row_id, "status": status, "reason": reason, "at": format_time(at)}
        for row_id, status, reason, at in fates
    ]
    await conn.execute(SQL["settle"], {"rows": as_json(rows), "now": to_time(now_ms)})


async def suppressed(conn: AsyncConnection, reason: str | None) -> list[dict[str, Any]]:
    """Addresses that get no email, the newest first: `address_hash` (hex), `reason`, `since`."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["list_suppressions"], {"reason": reason})
        return await cursor.fetchall()


async def suppress(
    conn: AsyncConnection, actor: audit.Actor, address: str, keys: Keys, reason: Reason, now_ms: int
) -> bool:
    """Send no email to an address from now on, audited by its hash; False if that is so already, for this reason."""
    hashes = address_hashes(address, keys)
    if reason in await _reasons(conn, hashes):
        return False
    parameters = {"hash": hashes[0], "reason": reason, "since": to_time(now_ms)}
    await conn.execute(SQL["add_suppression"], parameters)
    details = {"address_hash": hashes[0].hex(), "reason": reason}
    await audit.log(conn, actor, "address.suppressed", None, now_ms, **details)
    return True


async def unsuppress(
    conn: AsyncConnection, actor: audit.Actor, address: str, keys: Keys, now_ms: int
) -> tuple[list[str], list[str]]:
    """End what bounces and complaints began for an address, audited by its hash; (reasons that went, that stay).

    What its owner said stays: an opt-out ends by their own word only.
    """
    hashes = address_hashes(address, keys)
    found = await conn.execute(SQL["remove_suppressions"], {"hashes": hashes})
    gone = sorted({row[0] for row in await found.fetchall()})
    if gone:
        details = {"address_hash": hashes[0].hex(), "reasons": gone}
        await audit.log(conn, actor, "address.unsuppressed", None, now_ms, **details)
    return gone, await _reasons(conn, hashes)


async def _reasons(conn: AsyncConnection, hashes: list[bytes]) -> list[str]:
    found = await conn.execute(SQL["suppressed"], {"hashes": hashes})
    return [row[0] for row in await found.fetchall()]
