"""Who reads a page behind a link: how to speak to them, and when it is day where they live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from store.queries import load

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SQL = load("reader")


@dataclass(frozen=True, slots=True)
class Reader:
    """A supplier as their pages need them; None for what is not known."""

    locale: str | None
    timezone: str | None
    first_name: str | None
    business_name: str | None


async def find(conn: AsyncConnection, supplier_id: str) -> Reader | None:
    """Read them, None if they are not known, or not to be seen."""
    found = await (await conn.execute(SQL["find"], {"supplier": supplier_id})).fetchone()
    return None if found is None else Reader(*found)
