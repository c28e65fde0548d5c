"""What a report on the messages' effect reads: who was there, who left, and what was decided under a holdout."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from psycopg.rows import dict_row

from store.queries import load
from store.times import to_optional_ms, to_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SQL = load("impact")


class Decided(NamedTuple):
    """That messages to a supplier were decided with them in a group, first and last; ms."""

    supplier_id: str
    group: str
    first_at: int
    last_at: int


class Intake(NamedTuple):
    """Up to when there is news of anybody, since when (ms; None: of nobody), and how many came in the last 28 days."""

    until: int | None
    began: int | None
    came: int


class Counted(NamedTuple):
    """A supplier of the comparison: `left` within the window; `first` as in `replay.impact.report.Person`."""

    supplier_id: str
    left: bool
    first: str


async def decided(conn: AsyncConnection) -> list[Decided]:
    """Read in which group of the holdout each supplier's messages were decided."""
    rows = await (await conn.execute(SQL["decided"])).fetchall()
    return [Decided(row[0], row[1], int(row[2]), int(row[3])) for row in rows]


async def intake(conn: AsyncConnection) -> Intake:
    """Read how far the data reaches and how many suppliers come."""
    row = await (await conn.execute(SQL["intake"])).fetchone()
    return Intake(to_optional_ms(row[0]), to_optional_ms(row[1]), row[2]) if row else Intake(None, None, 0)


async def people(conn: AsyncConnection, since_ms: int, until_ms: int, window_days: int) -> list[Counted]:
    """Read everybody who could be watched for the whole window, each from `since_ms` or from when they came."""
    window = timedelta(days=window_days)
    parameters = {"since": to_time(since_ms), "until": to_time(until_ms), "window": window}
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["people"], parameters)
        found = await cursor.fetchall()
    return [
        Counted(row["id"], _left_by(row["cancelled_at"], row["counted_from"] + window), row["first"])
        for row in found
    ]


def _left_by(cancelled_at: str | None, end: datetime) -> bool:
    return cancelled_at is not None and datetime.fromisoformat(cancelled_at) <= end
