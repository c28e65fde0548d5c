"""Suppliers: who they are, what they agreed to, and who must stay erased."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from store.queries import load
from store.rows import as_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

    from runtime.keys import Keys

SQL = load("suppliers")


async def lock(conn: AsyncConnection, ids: Collection[str], keys: Keys) -> set[str]:
    """Make sure these suppliers have rows, lock those until the transaction ends, and return whose they are.

    `ids` are canonical UUID texts. Erased suppliers are left out and get no row. Call it first in a
    transaction that writes, once, with all suppliers that it will write: the order of locks is the ids'.
    """
    if not ids:
        return set()
    wanted = sorted(ids)
    new = await conn.execute(SQL["ensure"], {"ids": wanted})
    rows = await conn.execute(SQL["lock"], {"ids": wanted})
    made = {row[0] for row in await new.fetchall()}
    locked = {row[0] for row in await rows.fetchall()}
    # Whoever is erased loses their row in the same transaction, so only rows that we made can be theirs. Looked up only
    # now: an erasure that was under way has committed before the lock was ours.
    erased = await _erased(conn, made, keys) if made else set()
    if erased:
        await conn.execute(SQL["delete"], {"ids": sorted(erased)})
    return locked - erased


async def erase(conn: AsyncConnection, ids: Collection[str], keys: Keys, at: datetime) -> None:
    """Delete everything of these suppliers, who must be locked, and remember only a keyed hash of each id."""
    hashes = [erasure_hash(supplier_id, keys) for supplier_id in ids]
    await conn.execute(SQL["remember_erased"], {"hashes": hashes, "at": at})
    await conn.execute(SQL["delete"], {"ids": sorted(ids)})
    await conn.execute(SQL["forget_events"], {"ids": sorted(ids)})


async def save_profiles(conn: AsyncConnection, profiles: Sequence[dict[str, Any]]) -> None:
    """Replace the profiles of suppliers who have rows; one dict of JSON-ready columns each, none twice.

    Messages that waited for an address become due.
    """
    await conn.execute(SQL["save_profiles"], {"rows": as_json(profiles)})
    await conn.execute(SQL["wake"], {"ids": [profile["id"] for profile in profiles]})


async def save_consent(conn: AsyncConnection, consents: Iterable[dict[str, Any]]) -> None:
    """Take over consent that is newer than the stored one.

    Each: `supplier_id`, `email_opt_out`, `email_at`, `all_opt_out`, `all_at` (RFC 3339, null if never said).
    """
    said = [consent for consent in consents if consent["email_at"] or consent["all_at"]]
    if said:
        await conn.execute(SQL["save_consent"], {"rows": as_json(said)})


async def is_erased(conn: AsyncConnection, supplier_id: str, keys: Keys) -> bool:
    """Whether they asked to be erased; needs the role `success_writer`."""
    return bool(await _erased(conn, [supplier_id], keys))


async def erased_among(conn: AsyncConnection, ids: Collection[str], keys: Keys) -> set[str]:
    """Who of them asked to be erased; needs the role `success_writer`."""
    return await _erased(conn, ids, keys)


def erasure_hash(supplier_id: str, keys: Keys) -> bytes:
    """HMAC-SHA-256 of the id: without the key nobody can tell who was erased, with it we can refuse them."""
    return keys.digest(UUID(supplier_id).bytes)


def erasure_hashes(supplier_id: str, keys: Keys) -> list[bytes]:
    """The same under every key in force, the current one's first."""
    return keys.digests(UUID(supplier_id).bytes)


async def _erased(conn: AsyncConnection, ids: Iterable[str], keys: Keys) -> set[str]:
    by_hash = {hashed: supplier_id for supplier_id in ids for hashed in erasure_hashes(supplier_id, keys)}
    rows = await conn.execute(SQL["find_erased"], {"hashes": list(by_hash)})
    return {by_hash[bytes(row[0])] for row in await rows.fetchall()}
