"""Drops what is past its period. Needs the owner's login: no service may delete from the audit log."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from psycopg import sql

from store.database import Role
from store.queries import load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from psycopg import Connection

SQL = load("retention")
BATCH = 10_000
"""Rows of a transaction, so that nobody waits long for a lock."""
Kind = Literal["hits", "bounces", "words", "audit", "history", "sessions"]
_STATEMENTS: dict[Kind, bytes] = {
    "hits": SQL["hits"],
    "bounces": SQL["bounces"],
    "words": SQL["words"],
    "audit": SQL["audit"],
    "history": SQL["history"],
    "sessions": SQL["sessions"],
}


def drop_old(
    conn: Connection, days: Mapping[Kind, int], now: datetime, batch: int = BATCH
) -> dict[Kind, int]:
    """Delete what is older than so many days, kind by kind; says how many rows each lost.

    `conn` is in autocommit and of a login that may become the owner.
    """
    dropped: dict[Kind, int] = {}
    for kind, kept in days.items():
        dropped[kind] = 0
        while True:
            with conn.transaction():
                conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(Role.OWNER)))
                parameters = {"before": now - timedelta(days=kept), "most": batch}
                gone = conn.execute(_STATEMENTS[kind], parameters).rowcount
            dropped[kind] += gone
            if gone < batch:
                break
    return dropped
