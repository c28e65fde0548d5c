"""A supplier's rights: to see all that is stored of them, and to have it erased (GDPR, articles 15, 17 and 20)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from store import audit, suppliers
from store.messages.feedback import suppressions
from store.outbox import Event
from store.people import consent, personal_data
from topics.catalog import PROFILES
from topics.time import format_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from runtime.keys import Keys
    from store.audit import Actor

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ABOUT = {
    "suppliers": "Your profile as you or the product gave it, and what you let us send you.",
    "customer_health": "How far your setup is, as last worked out: a score, its parts, and what they rest on.",
    "health_history": "Every change of that score, with what caused it.",
    "success_milestones": "Milestones you reached.",
    "success_interventions": "Messages we sent you or decided not to send, and why; when you opened or followed them.",
    "message_words": "What our emails to you said, as they were handed over.",
    "support_interactions": "Calls with our support team: booked, held, cancelled, and what was noted.",
    "transactional_mails": "Emails about your calls: invitations, changes, cancellations.",
    "message_hits": "Each request for a picture or link of a message; no address of yours is kept, a hash only.",
    "feedback_due": "Openings and clicks that are about to be counted.",
    "mail_reports": "What mail servers told us about messages to you.",
    "coach_memory": "Tips, messages and milestones that the coach showed you, and what you did with them.",
    "supplier_acts": "How often you did lately what can be done only so often; kept for a day.",
    "supplier_holds": "That our team holds messages to you, and why.",
    "shadow_interventions": "What a policy that is being tried would have sent you; nothing of it was sent.",
    "supplier_notes": "What our team noted about you.",
    "supplier_tags": "Short words by which our team finds you in lists.",
    "supplier_owners": "Who of our team looks after you.",
    "level_changes": "When the level of that score changed.",
    "supplier_standings": "Where you stand in our team's lists: level, band of points, since when, weight.",
    "audit_log": "Who looked at or changed what of yours, through the API or the command line.",
    "outbox": "Events about you on their way to the product's other services, or sent there; ids only.",
    "suppressed_addresses": "Why we don't write to your address; kept as a hash of it.",
}
"""The export's readme: what each key of `data` holds."""
FORMAT = (
    "Each key of `data` is a table, each entry a row. Times are ISO 8601 with zone, ids are UUIDs, null means not "
    "known. The event log of what you did (logins, forms, clients by id) is kept by supplier id, without a name."
)


async def export(
    pool: AsyncConnectionPool[AsyncConnection], supplier_id: str, actor: Actor, now_ms: int, keys: Keys
) -> dict[str, Any] | None:
    """Everything stored of a supplier, JSON ready; None if nothing is. The look itself is logged.

    `pool`: role `success_writer`; `keys`: the setting `secret_key`.
    """
    async with pool.connection() as conn:
        data = await personal_data.collect(conn, supplier_id)
        if not data:
            return None
        email = data["suppliers"][0]["email"]
        listed = await suppressions(conn, email, keys) if email else {}
        data["suppressed_addresses"] = [
            {"reason": reason, "since": format_time(since)} for reason, since in listed.items()
        ]
        await audit.log(conn, actor, "data.export", supplier_id, now_ms)
    about = {table: ABOUT.get(table, "Further rows about you.") for table in data}
    return {
        "supplierId": supplier_id,
        "exportedAt": format_time(now_ms),
        "readme": {"format": FORMAT, "data": about},
        "data": data,
    }


async def erase(
    pool: AsyncConnectionPool[AsyncConnection],
    publish: Callable[[Sequence[Event]], Awaitable[None]],
    supplier_id: str,
    actor: Actor,
    now_ms: int,
    keys: Keys,
) -> None:
    """Erase a supplier everywhere, known or not; safe to repeat.

    The empty profile record goes first: should Postgres fail us afterwards, the intervention agent erases them when it
    reads it. `pool`, `keys`: as for `export`; `publish` returns once Kafka has it.
    """
    await publish([Event(PROFILES, supplier_id, None)])
    async with pool.connection() as conn:
        await suppliers.lock(conn, [supplier_id], keys)
        await consent.hold_addresses(conn, [supplier_id], keys)
        await suppliers.erase(conn, [supplier_id], keys, _EPOCH + timedelta(milliseconds=now_ms))
        await audit.log(conn, actor, "data.erase", supplier_id, now_ms)
