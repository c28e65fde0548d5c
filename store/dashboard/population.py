"""What the dashboard's lists and charts read: pages of indexes and small tallies, never a large table as a whole.

Rows come as dicts by the queries' columns (`store/sql/dashboard.sql`), times as aware datetimes. Pages go on by key:
the next one begins after the last row's `Place`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg.rows import dict_row

from store.queries import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import AsyncConnection

SQL = load("dashboard")

Row = dict[str, Any]
LEVELS = ("critical", "at_risk", "new", "healthy")
"""What suppliers are counted as: their risk level, or `new` in the first 14 days unless they are healthy."""
BANDS = range(20)
"""Bands of five points: 0 is 0 to 4, 19 is 95 to 100."""
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"
END_OF_TIME = datetime(9999, 12, 31, tzinfo=UTC)
LIKE = 4
"""Where the search puts those that are only like what was asked for."""
UNFOLDED = 5000
"""So many rows of tallies are read without being folded first."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of suppliers ends: the weight and id of its last row."""

    weight: float = float("inf")
    id: str = LAST_ID


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a page of what happened ends: the time and id of its last row."""

    at: datetime = END_OF_TIME
    id: str = LAST_ID


class Found(NamedTuple):
    """Ids of suppliers that a search found; `near` if none is just so, and these are like it."""

    ids: list[str]
    near: bool


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Which changes of level a list shows; `previous` is `""` for a supplier's first level."""

    since: datetime
    previous: str | None = None
    level: str | None = None
    worse_only: bool = False


async def rows(conn: AsyncConnection, query: bytes, parameters: Mapping[str, Any] | None = None) -> list[Row]:
    """All rows of a query as dicts."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


async def population_moves(conn: AsyncConnection) -> list[Row]:
    """Every day's moves between levels: `day, previous, level, suppliers`."""
    return await rows(conn, SQL["population_moves"])


async def population_now(conn: AsyncConnection) -> list[Row]:
    """The population as it is: `cohort, level, band, suppliers`."""
    return await rows(conn, SQL["population_now"])


async def end_newness(conn: AsyncConnection, until: datetime) -> int:
    """Count whoever was new until then by their level; `conn` in the role `success_writer`. Returns how many."""
    return int((await rows(conn, SQL["end_newness"], {"until": until}))[0]["ended"])


async def fold_tallies(conn: AsyncConnection) -> int:
    """Add up tallies if there is much to add; `conn` in the role `success_writer`. Returns how many rows went."""
    found = await rows(conn, SQL["unfolded"], {"most": UNFOLDED})
    if not found[0]["enough"]:
        return 0
    return int((await rows(conn, SQL["fold_tallies"]))[0]["folded"])


async def find(conn: AsyncConnection, term: str, most: int) -> Found:
    """Suppliers whose id, address or name fits, the best first; needs an agent's claims."""
    found = await rows(conn, SQL["find"], {"term": term.replace("\x00", ""), "most": most})
    return Found([row["id"] for row in found], any(row["place"] == LIKE for row in found))


async def describe(conn: AsyncConnection, ids: Sequence[str]) -> dict[str, Row]:
    """What lists show of these suppliers, by id; unknown ones are left out."""
    if not ids:
        return {}
    found = await rows(conn, SQL["describe"], {"ids": sorted(set(ids))})
    return {row["id"]: row for row in found}


async def call_candidates(conn: AsyncConnection, after: Place, most: int) -> list[Row]:
    """A page of who is not healthy, the heaviest first: `id, weight`."""
    return await rows(conn, SQL["call_candidates"], {"before": after.weight, "id": after.id, "most": most})


async def call_facts(conn: AsyncConnection, ids: Sequence[str]) -> list[Row]:
    """What speaks for and against calling each of them."""
    return await rows(conn, SQL["call_facts"], {"ids": list(ids)}) if ids else []


async def level_changes(conn: AsyncConnection, wanted: ChangeFilter, after: Moment, most: int) -> list[Row]:
    """A page of changes of level, the newest first: `id` (the supplier's), `seq, at, previous, level, score`."""
    parameters = {"since": wanted.since, "before": after.at, "id": after.id, "most": most}
    if wanted.previous and wanted.level:
        move = {"previous": wanted.previous, "level": wanted.level}
        return await rows(conn, SQL["level_changes_of_move"], parameters | move)
    filters = {
        "levels": [wanted.level] if wanted.level else list(LEVELS),
        "previous": list(LEVELS) if wanted.previous is None else [wanted.previous],
        "first": not wanted.previous,
        "worse": wanted.worse_only,
    }
    return await rows(conn, SQL["level_changes"], parameters | filters)


async def causes(conn: AsyncConnection, changes: Sequence[Row]) -> dict[tuple[str, int], list[Row]]:
    """The causes of changes, by (supplier, seq)."""
    if not changes:
        return {}
    keys = {"ids": [change["id"] for change in changes], "seqs": [change["seq"] for change in changes]}
    return {(row["id"], row["seq"]): row["causes"] for row in await rows(conn, SQL["causes"], keys)}


async def calls_booked(conn: AsyncConnection, since: datetime, until: datetime, most: int) -> list[Row]:
    """Calls that begin in [since, until), in order."""
    return await rows(conn, SQL["calls_booked"], {"since": since, "until": until, "most": most})
