"""Consent as the supplier themselves, an agent or a complaint changes it. What events say is in `suppliers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from scoring.decisions.consent import Consent
from store.messages.feedback import Told, address_hashes, hashes_of, told
from store.queries import load
from store.suppliers import erasure_hashes
from store.times import to_optional_ms, to_optional_time, to_time

if TYPE_CHECKING:
    from collections.abc import Collection

    from psycopg import AsyncConnection

    from runtime.keys import Keys

SQL = load("consent")

NOBODY = b"\0"
"""Who said no where a complaint names an address that nobody known has."""


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


async def say_no(
    conn: AsyncConnection, addresses: list[bytes], supplier_id: str | None, at_ms: int, keys: Keys
) -> None:
    """Opt an address out: no emails to it under any supplier's id. `addresses`: its hashes (`address_hashes`).

    `supplier_id`: whose word it is, None if nobody knows.
    """
    speakers = [NOBODY] if supplier_id is None else erasure_hashes(supplier_id, keys)
    parameters = {"addresses": addresses, "speakers": speakers, "at": to_time(at_ms)}
    await conn.execute(SQL["address_no"], parameters)


async def take_back(conn: AsyncConnection, supplier_id: str, at_ms: int, keys: Keys) -> None:
    """End what a supplier said of any address before `at_ms`."""
    parameters = {"speakers": erasure_hashes(supplier_id, keys), "at": to_time(at_ms)}
    await conn.execute(SQL["addresses_yes"], parameters)


async def say_yes(conn: AsyncConnection, addresses: list[bytes], at_ms: int) -> None:
    """Opt an address in, by its own word: whatever anybody said of it before has ended."""
    await conn.execute(SQL["address_yes"], {"addresses": addresses, "at": to_time(at_ms)})


async def hold_addresses(conn: AsyncConnection, supplier_ids: Collection[str], keys: Keys) -> None:
    """Let what these suppliers are known to have said hold for their addresses; safe to repeat.

    They must be locked. An opt-out holds for the address that they have when it is stored, or first get.
    """
    found = await conn.execute(SQL["said"], {"ids": sorted(supplier_ids)})
    for supplier_id, email, opt_out, at in await found.fetchall():
        speakers = erasure_hashes(supplier_id, keys)
        if not opt_out:
            await conn.execute(SQL["addresses_yes"], {"speakers": speakers, "at": at})
        elif email:
            parameters = {"addresses": address_hashes(email, keys), "speakers": speakers, "at": at}
            await conn.execute(SQL["first_address_no"], parameters)


class Addresses(NamedTuple):
    """Hashes of the addresses that a word is about (`address_hashes`), each empty if there is none."""

    now: list[bytes]
    """The one that the supplier has."""
    written_to: list[bytes]
    """The one that the message went to whose link was used."""


async def addresses(conn: AsyncConnection, supplier_id: str, message_id: str | None, keys: Keys) -> Addresses:
    """The supplier's address, and the one that a message went to: an intervention or an email about a call."""
    parameters = {"supplier": supplier_id, "message": message_id}
    found = await (await conn.execute(SQL["addresses"], parameters)).fetchone()
    email, sent_to = found or (None, None)
    now = address_hashes(email, keys) if email else []
    return Addresses(now, hashes_of(sent_to, email, keys) if sent_to else [])


async def is_held(conn: AsyncConnection, supplier_id: str, message_id: str | None, keys: Keys) -> bool:
    """Whether no emails go to an address because somebody opted it out or complained there.

    The one that the message went to; without a message, or if that is not known, the supplier's.
    """
    found = await addresses(conn, supplier_id, message_id, keys)
    rows = await conn.execute(SQL["held"], {"addresses": found.written_to or found.now})
    return await rows.fetchone() is not None


async def mark_unsubscribed(
    conn: AsyncConnection, supplier_id: str, intervention_id: str, at_ms: int
) -> Told | None:
    """Note that they unsubscribed from a message; None if that is noted already, or the message has gone."""
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
