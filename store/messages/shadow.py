"""A shadow policy's decisions: written by the one process that has no way to send, read by reports and dashboard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from scoring.decisions.decide import Row, SupplierFacts
from store.messages.delivery import SQL as DELIVERY
from store.messages.delivery import supplier_of
from store.messages.feedback import suppressions
from store.queries import load
from store.rows import as_json
from store.suppliers import erasure_hashes
from store.times import to_ms, to_optional_ms, to_time

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from psycopg import AsyncConnection

    from runtime.keys import Keys

SQL = load("shadow")


class Verdict(NamedTuple):
    """What was decided of one row; `not_before` of one that waits and `decided_at` of the others, in ms."""

    id: str
    status: str
    why: str
    metadata: dict[str, Any]
    reason: str | None = None
    not_before: int | None = None
    decided_at: int | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A shadow policy beside the live one, over signals from `started_at` to `last_seen_at`.

    A dict a trigger: `trigger`, `live_sent`, `shadow_sent`, `both`, `only_live`, `only_shadow`, `undecided`.
    """

    policy: str
    name: str
    started_at: datetime
    last_seen_at: datetime
    triggers: list[dict[str, Any]]


async def hold(conn: AsyncConnection, policy: str) -> bool:
    """Be the one process that decides for a policy, for as long as the connection lasts; False if another is."""
    row = await (await conn.execute(SQL["hold"], {"policy": policy})).fetchone()
    return bool(row and row[0])


async def register(
    conn: AsyncConnection, policy: str, name: str, content: dict[str, Any], now_ms: int
) -> None:
    """Note that a policy is being tried, and that it still is."""
    parameters = {"policy": policy, "name": name, "now": to_time(now_ms), "content": Jsonb(content)}
    await conn.execute(SQL["register"], parameters)


async def topic_ids(conn: AsyncConnection, policy: str) -> dict[str, str]:
    """Which logs it has read: ids by topic (full names); empty before the first time."""
    row = await (await conn.execute(SQL["topic_ids"], {"policy": policy})).fetchone()
    return dict(row[0]) if row else {}


async def note_topic_ids(conn: AsyncConnection, policy: str, ids: dict[str, str]) -> None:
    """Remember which logs it reads from now on."""
    await conn.execute(SQL["note_topic_ids"], {"policy": policy, "ids": Jsonb(ids)})


async def unknown(conn: AsyncConnection, ids: Collection[str], keys: Keys) -> set[str]:
    """Find those suppliers whom the live agents have not stored yet; the erased are not among them."""
    rows = await conn.execute(SQL["known"], {"ids": sorted(ids)})
    missing = set(ids) - {row[0] for row in await rows.fetchall()}
    if not missing:
        return missing
    by_hash = {hashed: supplier_id for supplier_id in missing for hashed in erasure_hashes(supplier_id, keys)}
    erased = await conn.execute(SQL["erased"], {"hashes": list(by_hash)})
    return missing - {by_hash[bytes(row[0])] for row in await erased.fetchall()}


async def add(conn: AsyncConnection, policy: str, rows: Sequence[dict[str, Any]]) -> None:
    """Add rows that don't exist yet (keys as in the query); those of suppliers who have no row are left out."""
    if rows:
        await conn.execute(SQL["add"], {"policy": policy, "rows": as_json(rows)})


async def due_supplier(conn: AsyncConnection, policy: str, now_ms: int) -> str | None:
    """Name a supplier of whom something is to be decided at `now_ms`."""
    parameters = {"policy": policy, "now": to_time(now_ms)}
    row = await (await conn.execute(SQL["due_supplier"], parameters)).fetchone()
    return row[0] if row else None


async def ready_rows(conn: AsyncConnection, policy: str, supplier_id: str, now_ms: int) -> list[Row]:
    """Read what is to be decided of a supplier."""
    parameters = {"policy": policy, "supplier": supplier_id, "now": to_time(now_ms)}
    return await _rows(conn, SQL["ready_rows"], parameters)


async def counted_rows(conn: AsyncConnection, policy: str, supplier_id: str, since_ms: int) -> list[Row]:
    """Read what it would have sent to a supplier since then."""
    parameters = {"policy": policy, "supplier": supplier_id, "since": to_time(since_ms)}
    return await _rows(conn, SQL["counted_rows"], parameters)


async def facts(conn: AsyncConnection, supplier_id: str, now_ms: int, keys: Keys) -> SupplierFacts:
    """Read what a decision at `now_ms` needs to know of a supplier; `keys` is the setting `secret_key`."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(DELIVERY["supplier"], {"supplier": supplier_id})
        found = await cursor.fetchone()
        if found is None:
            return SupplierFacts(supplier_id, erased=True)
        listed = {}
        if found["email"]:
            listed = await suppressions(conn, found["email"], keys)
    return supplier_of(found, now_ms, listed).facts


async def settle(conn: AsyncConnection, policy: str, verdicts: Sequence[Verdict]) -> None:
    """Write decisions to rows that are still scheduled."""
    if not verdicts:
        return
    rows = [
        verdict._asdict()
        | {
            "not_before": _text(verdict.not_before),
            "decided_at": _text(verdict.decided_at),
        }
        for verdict in verdicts
    ]
    await conn.execute(SQL["settle"], {"policy": policy, "rows": as_json(rows)})
    if waiting := [verdict.id for verdict in verdicts if verdict.status == "scheduled"]:
        await conn.execute(SQL["wake"], {"policy": policy, "ids": waiting})


async def next_due_ms(conn: AsyncConnection, policy: str) -> int | None:
    """When the next row wants to be decided."""
    row = await (await conn.execute(SQL["next_due"], {"policy": policy})).fetchone()
    return to_optional_ms(row[0]) if row else None


async def compare(conn: AsyncConnection, policy: str | None = None) -> Comparison | None:
    """Compare a shadow policy (None: the one seen last) with the live one; None if none was ever tried."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["policies"])
        tried = [row for row in await cursor.fetchall() if policy in {None, row["policy"], row["name"]}]
        if not tried:
            return None
        newest = tried[0]
        await cursor.execute(SQL["compare"], _span(newest))
        return Comparison(**newest, triggers=list(await cursor.fetchall()))


async def differences(conn: AsyncConnection, comparison: Comparison, limit: int = 50) -> list[dict[str, Any]]:
    """List messages that one policy sends and the other does not, the newest first.

    Each: `id`, `supplier_id`, `trigger`, `signal_at`, `live_status`, `live_reason`, `shadow_status`, `shadow_reason`
    (None where that policy has no such message).
    """
    span = {
        "policy": comparison.policy,
        "started_at": comparison.started_at,
        "last_seen_at": comparison.last_seen_at,
    }
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["differences"], _span(span) | {"limit": limit})
        return list(await cursor.fetchall())


def _span(policy: dict[str, Any]) -> dict[str, Any]:
    return {"policy": policy["policy"], "since": policy["started_at"], "until": policy["last_seen_at"]}


async def _rows(conn: AsyncConnection, query: bytes, parameters: dict[str, Any]) -> list[Row]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, parameters)
        return [_row(found) for found in await cursor.fetchall()]


def _row(found: dict[str, Any]) -> Row:
    signal = found["signal"] or {}
    return Row(
        id=found["id"],
        trigger=found["trigger_condition"],
        channel=found["intervention_type"],
        kind=found["kind"],
        priority=found["priority"],
        signal_at=to_ms(found["signal_at"]),
        due_at=to_ms(found["due_at"]),
        seq=found["seq"],
        status="sent" if found["status"] == "would_send" else found["status"],
        claimed_at=to_optional_ms(found["decided_at"]),
        milestone=signal.get("milestone"),
        cause_type=signal.get("cause_type"),
    )


def _text(ms: int | None) -> str | None:
    return None if ms is None else to_time(ms).isoformat()
