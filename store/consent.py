"""Consent as the supplier herself, an agent or a complaint changes it. What events say is in `suppliers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scoring.consent import Consent
from store.feedback import Told, told
from store.queries import load
from store.times import to_optional_ms, to_optional_time, to_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SQL = load("consent")


async def lock(conn: AsyncConnection, supplier_id: str) -> Consent | None:
    """Read a supplier's consent and keep it from changing until the transaction ends; None if there is no such."""
    return _consent(await (await conn.execute(SQL["lock"], {"supplier": supplier_id})).fetchone())


async def read(conn: AsyncConnection, supplier_id: str) -> Consent | None:
    """Read a supplier's consent; None if there is no such supplier."""
    return _consent(await (await conn.execute(SQL["read"], {"supplier": supplier_id})).fetchone())


async def save(conn: AsyncConnection, supplier_id: str, consent: Consent) -> None:
    """Store the consent of a locked supplier."""
    parameters = {
        "supplier": supplier_id,
        "email_opt_out": consent.email_opt_out,
        "email_at": to_optional_time(consent.email_at),
        "all_opt_out": consent.all_opt_out,
        "all_at": to_optional_time(consent.all_at),
        "paused_until": to_optional_time(consent.paused_until),
    }
    await conn.execute(SQL["save"], parameters)


async def mark_unsubscribed(
    conn: AsyncConnection, supplier_id: str, intervention_id: str, at_ms: int
) -> Told | None:
    """Note that she unsubscribed from a message; None if that is noted already, or the message has gone."""
    parameters = {"id": intervention_id, "supplier": supplier_id, "at": to_time(at_ms)}
    found = await (await conn.execute(SQL["mark_unsubscribed"], parameters)).fetchone()
    return told(found, "unsubscribed") if found else None


def _consent(found: tuple[Any, ...] | None) -> Consent | None:
    if found is None:
        return None
    email_opt_out, email_at, all_opt_out, all_at, paused_until = found
    return Consent(
        email_opt_out,
        to_optional_ms(email_at),
        all_opt_out,
        to_optional_ms(all_at),
        to_optional_ms(paused_until),
    )
