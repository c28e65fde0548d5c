"""Changing what a supplier lets us send, and telling every reader of the log of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.acts import limits
from agents.acts.events import consent_event
from scoring.decisions import consent
from scoring.decisions.limits import PREFERENCES, TooOftenError
from store import outbox
from store.people import consent as store

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from runtime.keys import Keys
    from scoring.decisions.consent import Consent, Wish


async def change_consent(
    conn: AsyncConnection,
    supplier_id: str,
    wish: Wish,
    now_ms: int,
    keys: Keys,
    *,
    message_id: str | None = None,
    sent_to: list[bytes] | None = None,
    is_counted: bool = False,
) -> Consent | None:
    """Change what a supplier lets us send, and put what is to be told into the outbox; None if there is no such.

    Nothing is sent on old consent once the transaction has committed: delivery decides under the same lock. A no to
    emails holds for the supplier's address too. `message_id`: of the message whose own page said it, so that it is the
    word of the address which that went to; `sent_to`: hashes of the address that the message went to which was
    complained of. `is_counted`: the supplier says it; TooOftenError beyond the limit, except for a no.
    """
    stored = await store.lock(conn, supplier_id)
    if stored is None:
        return None
    if is_counted:
        await _count(conn, supplier_id, wish, now_ms)
    changed, words = consent.apply(stored, wish, now_ms)
    await store.save(conn, supplier_id, changed)
    if wish.email_opt_out is not None and changed.email_at is not None:
        said = await store.addresses(conn, supplier_id, message_id, keys)
        if wish.email_opt_out:
            for hashes in filter(None, (said.now, said.written_to, sent_to)):
                await store.say_no(conn, hashes, supplier_id, changed.email_at, keys)
        else:
            await store.take_back(conn, supplier_id, changed.email_at, keys)
            if said.written_to:
                await store.say_yes(conn, said.written_to, changed.email_at)
    await outbox.add(conn, [consent_event(supplier_id, word) for word in words])
    return changed


async def _count(conn: AsyncConnection, supplier_id: str, wish: Wish, now_ms: int) -> None:
    """Count a change of preferences. A no is always taken, and is counted only while there is room."""
    try:
        await limits.count(conn, supplier_id, PREFERENCES, now_ms)
    except TooOftenError:
        if not (wish.email_opt_out or wish.all_opt_out):
            raise
