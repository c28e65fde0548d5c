"""Lists of suppliers: narrowed, ordered and gone through by key; tags; views that agents keep. Rows are dicts.

A list is one query, put together from the parts below: each order has an index, and Postgres chooses between walking
along it and sorting what a rare filter leaves (the tests look at its plans).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from psycopg import sql

from store import audit
from store.dashboard.population import Row, rows
from store.queries import load
from store.times import to_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, LiteralString

    from psycopg import AsyncConnection

    from store.audit import Actor

SQL = load("dashboard_lists")

MOST_CHOICES = 200
"""So many plans, trades, tags and owners are offered each."""
MOST_VIEWS = 60


class LostPlaceError(ValueError):
    """A list can't go on there: the text is no place of this order."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which suppliers a list shows; what is not given does not narrow it. `cohort` is a Monday, or `unknown_cohort`."""

    level: str | None = None
    band: int | None = None
    cohort: date | None = None
    unknown_cohort: bool = False
    plan: str | None = None
    trade: str | None = None
    tag: str | None = None
    owner: str | None = None
    """An agent, or empty for those in nobody's book."""


# orders ----------------------------------------------------------------------------------------------


class Key(NamedTuple):
    """A part of an order: its SQL, its type, and how its text in an address is read."""

    column: LiteralString
    kind: LiteralString
    read: Callable[[str], str]


def _real(text: str) -> str:
    value = float(text)
    if not isfinite(value):
        raise ValueError(text)
    return repr(value)


def _whole(text: str) -> str:
    value = int(text)
    if abs(value) > 2**31 - 1:
        raise ValueError(text)
    return str(value)


def _day(text: str) -> str:
    return text if text == "-infinity" else date.fromisoformat(text).isoformat()


def _moment(text: str) -> str:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(text)
    return at.isoformat()


def _words(text: str) -> str:
    if "\x00" in text:
        raise ValueError(text)
    return text


_WEIGHT = Key("st.weight", "float8", _real)
ORDERS: Mapping[str, tuple[bool, tuple[Key, ...]]] = {
    "weight": (True, (_WEIGHT,)),
    "name": (False, (Key("st.name", "text", _words),)),
    "score": (
        False,
        # The band first, which has an index; within a band of five points Postgres sorts.
        (
            Key("st.band", "int", _whole),
            Key("coalesce(c.health_score, st.band * 5)", "int", _whole),
        ),
    ),
    "since": (True, (Key("st.since", "timestamptz", _moment),)),
    "week": (True, (Key("st.cohort", "date", _day), _WEIGHT)),
}
"""By name: whether it goes downwards, and its keys; the id comes last. With `-` before the name it is turned round."""


def page_of(wanted: Wanted, order: str, after: str, most: int) -> tuple[sql.Composed, dict[str, Any]]:
    """The query of a page and its parameters: rows `id, keys`. LostPlaceError if `after` is no place of this order."""
    down, keys = ORDERS[order.removeprefix("-")]
    down = down != order.startswith("-")
    parameters: dict[str, Any] = {"most": most}
    conditions: list[sql.Composable] = [sql.SQL("true"), *_narrowed(wanted, parameters)]
    columns = [sql.SQL(key.column) for key in keys] + [sql.SQL("st.supplier_id")]
    if after:
        place = _place(after, keys)
        parameters |= {f"key{n}": text for n, text in enumerate(place)}
        kinds: list[LiteralString] = [*(key.kind for key in keys), "uuid"]
        values = [sql.Placeholder(f"key{n}") + sql.SQL("::") + sql.SQL(kind) for n, kind in enumerate(kinds)]
        beyond = sql.SQL("<" if down else ">")
        conditions.append(
            sql.SQL("({}) {} ({})").format(sql.SQL(", ").join(columns), beyond, sql.SQL(", ").join(values))
        )
        # The same of the first key alone: of an order over two tables, what an index can be asked.
        conditions.append(sql.SQL("{} {}= {}").format(columns[0], beyond, values[0]))
    ends = sql.SQL(" DESC" if down else "")
    query = sql.SQL(
        "SELECT st.supplier_id::text AS id, ARRAY[{keys}] AS keys FROM supplier_standings st {joined}"
        "WHERE {conditions} ORDER BY {order} LIMIT %(most)s"
    ).format(
        keys=sql.SQL(", ").join(sql.SQL("{}::text").format(column) for column in columns),
        joined=sql.SQL(
            "LEFT JOIN customer_health c ON c.supplier_id = st.supplier_id "
            if "c." in keys[-1].column
            else ""
        ),
        conditions=sql.SQL(" AND ").join(conditions),
        order=sql.SQL(", ").join(column + ends for column in columns),
    )
    return query, parameters


def _narrowed(wanted: Wanted, parameters: dict[str, Any]) -> list[sql.SQL]:
    filters: list[tuple[LiteralString, LiteralString, Any]] = [
        ("level", "st.level = %(level)s", wanted.level),
        ("band", "st.band = %(band)s", wanted.band),
        ("cohort", "st.cohort = %(cohort)s::date", "-infinity" if wanted.unknown_cohort else wanted.cohort),
        ("plan", "st.plan = %(plan)s", wanted.plan),
        ("trade", "st.trade = %(trade)s", wanted.trade),
        (
            "tag",
            "st.supplier_id IN (SELECT t.supplier_id FROM supplier_tags t WHERE t.tag = %(tag)s)",
            wanted.tag,
        ),
        (
            "owner",
            "st.supplier_id IN (SELECT o.supplier_id FROM supplier_owners o WHERE o.owner = %(owner)s)"
            if wanted.owner
            else "(SELECT o.owner FROM supplier_owners o WHERE o.supplier_id = st.supplier_id) IS NULL",
            wanted.owner,
        ),
    ]
    given = [(name, condition, value) for name, condition, value in filters if value is not None]
    parameters |= {name: value for name, _, value in given}
    return [sql.SQL(condition) for _, condition, _ in given]


def _place(after: str, keys: tuple[Key, ...]) -> list[str]:
    *values, supplier_id = after.rsplit("|", len(keys))
    if len(values) != len(keys):
        raise LostPlaceError(after)
    try:
        return [key.read(text) for key, text in zip(keys, values, strict=True)] + [str(UUID(supplier_id))]
    except ValueError as error:
        raise LostPlaceError(after) from error


async def suppliers(
    conn: AsyncConnection, wanted: Wanted, order: str, after: str, most: int
) -> tuple[list[str], str | None]:
    """A page of ids, and the place where the next one begins, if there may be one.

    `order` is a name of `ORDERS`, `after` a place that this gave, or empty. Raises LostPlaceError.
    """
    query, parameters = page_of(wanted, order, after, most + 1)
    async with conn.cursor() as cursor:
        # Not prepared: a plan that knows the values is worth more here than the time to make it.
        await cursor.execute(query, parameters, prepare=False)
        found = await cursor.fetchall()
    return [row[0] for row in found[:most]], "|".join(found[most - 1][1]) if len(found) > most else None


# what they show and are narrowed by ------------------------------------------------------------------


async def labels(conn: AsyncConnection, ids: Sequence[str]) -> dict[str, Row]:
    """The `tags` of these suppliers, and their `owner` or None, by id."""
    return {row["id"]: row for row in await rows(conn, SQL["labels"], {"ids": list(ids)})}


async def choices(conn: AsyncConnection) -> dict[str, list[str]]:
    """What there is to narrow a list by: `plan`, `trade`, `tag` and `owner`, each in order."""
    found: dict[str, list[str]] = {"plan": [], "trade": [], "tag": [], "owner": []}
    for row in await rows(conn, SQL["choices"], {"most": MOST_CHOICES}):
        found[row["kind"]].append(row["said"])
    return found


async def lock(conn: AsyncConnection, ids: Sequence[str]) -> set[str]:
    """Lock these suppliers until the transaction ends; those that are known."""
    return {row["id"] for row in await rows(conn, SQL["known"], {"ids": list(ids)})}


async def tag(conn: AsyncConnection, actor: Actor, ids: Sequence[str], word: str, now_ms: int) -> None:
    """Give these suppliers a tag; audited for each who did not have it."""
    parameters = {"ids": list(ids), "tag": word, "at": to_time(now_ms), "by": actor.id}
    found = await conn.execute(SQL["tag"], parameters)
    for (one,) in await found.fetchall():
        await audit.log(conn, actor, "supplier.tagged", one, now_ms, tag=word)


async def untag(conn: AsyncConnection, actor: Actor, ids: Sequence[str], word: str, now_ms: int) -> None:
    """Take a tag from these suppliers; audited for each who had it."""
    found = await conn.execute(SQL["untag"], {"ids": list(ids), "tag": word})
    for (one,) in await found.fetchall():
        await audit.log(conn, actor, "supplier.untagged", one, now_ms, tag=word)


# views -----------------------------------------------------------------------------------------------


async def views(conn: AsyncConnection, agent: str) -> list[Row]:
    """The lists that an agent kept, and the team's: `id, agent, name, query, shared`."""
    return await rows(conn, SQL["views"], {"agent": agent, "most": MOST_VIEWS})


async def keep_view(
    conn: AsyncConnection, view_id: str, agent: str, name: str, query: str, at: datetime, *, shared: bool
) -> None:
    """Keep a list under a name; an agent's earlier one of that name is replaced."""
    parameters = {"id": view_id, "agent": agent, "name": name, "query": query, "shared": shared, "at": at}
    await conn.execute(SQL["keep_view"], parameters)


async def drop_view(conn: AsyncConnection, view_id: str, agent: str) -> None:
    """Forget a list of this agent's own."""
    await conn.execute(SQL["drop_view"], {"id": view_id, "agent": agent})
