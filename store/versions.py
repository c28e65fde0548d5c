"""The versions of the configuration as they are stored: everything, the words included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row
from psycopg.types.json import Json, Jsonb

from runtime.versions import Version, Words, advice_of
from scoring.advice.book import decides
from scoring.decisions.forecast import Forecast, forecast_of
from store.queries import load
from store.times import to_ms, to_time
from topics.time import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from psycopg import AsyncConnection

SQL = load("versions")

LIMITED = ("complaints", "bounces", "unsubscribes", "failures")
"""What a version's limits are of: of the messages that it decided so many."""


@dataclass(frozen=True)
class Stored:
    """A version with its words, and who put it into force and why."""

    version: Version
    words: Words
    source_digest: str
    author: str
    note: str
    copy_of: int | None = None
    limits: dict[str, int] | None = None
    """How much of what (`LIMITED`) may come of its messages; with more of it the version is taken back."""
    forecast: Forecast | None = None
    """What a replay expected of it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the history; `in_force_at` None: it never got onto the topic."""

    number: int
    digest: str
    author: str
    note: str
    copy_of: int | None
    partitions: list[int] | None
    limits: dict[str, int] | None
    created_at: datetime
    in_force_at: datetime | None


async def next_number(conn: AsyncConnection, above: int) -> int:
    """The next number, above one that stands elsewhere; until the transaction ends nobody else gets one."""
    await conn.execute(SQL["lock"])
    return max(above, await newest_number(conn)) + 1


async def newest_number(conn: AsyncConnection) -> int:
    """The greatest number that was given, in force or not; 0 before the first."""
    row = await (await conn.execute(SQL["greatest"])).fetchone()
    return row[0] if row else 0


async def add(conn: AsyncConnection, stored: Stored, now_ms: int) -> None:
    """Store a version; it is in force once `put_into_force` says so."""
    version = stored.version
    parameters = {
        "number": version.number,
        "digest": version.digest,
        "source_digest": stored.source_digest,
        "author": stored.author,
        "note": stored.note,
        "copy_of": stored.copy_of,
        "partitions": None if version.partitions is None else list(version.partitions),
        "limits": None if stored.limits is None else Jsonb(stored.limits),
        "forecast": None if stored.forecast is None else Jsonb(stored.forecast.as_json()),
        "rules": Json(version.rules),
        "policy": Json(version.policy),
        "churn": None if version.churn is None else Json(version.churn),
        "brand": Json(stored.words.brand),
        "templates": Json(stored.words.templates),
        "created_at": to_time(now_ms),
    }
    await conn.execute(SQL["add"], parameters)


async def put_into_force(conn: AsyncConnection, numbers: Iterable[int], now_ms: int) -> list[int]:
    """Note that the topic has these versions; those of which it was not noted before."""
    parameters = {"numbers": list(numbers), "at": to_time(now_ms)}
    return [row[0] for row in await (await conn.execute(SQL["put_into_force"], parameters)).fetchall()]


async def one(conn: AsyncConnection, number: int) -> Stored | None:
    """A version with its words; None if there is none of this number, or the caller may not see it."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["one"], {"number": number})
        row: dict[str, Any] | None = await cursor.fetchone()
    if row is None:
        return None
    partitions = row["partitions"]
    words = Words(row["templates"], row["brand"])
    version = Version(
        row["number"],
        row["digest"],
        row["rules"],
        row["policy"],
        row["churn"],
        decides(advice) if (advice := advice_of(words)) else None,
        None if partitions is None else tuple(partitions),
        format_time(to_ms(row["created_at"])),
    )
    forecast = None if row["forecast"] is None else forecast_of(row["forecast"])
    said = (row["source_digest"], row["author"], row["note"], row["copy_of"], row["limits"])
    return Stored(version, words, *said, forecast)


async def history(conn: AsyncConnection) -> list[Entry]:
    """All versions, the newest first."""
    rows = await (await conn.execute(SQL["history"])).fetchall()
    return [Entry(*row) for row in rows]


async def in_force(conn: AsyncConnection) -> list[int]:
    """The numbers of the versions that are in force on any partition, the newest last; none before the first."""
    return [row[0] for row in await (await conn.execute(SQL["in_force"])).fetchall()]


async def past_its_limits(conn: AsyncConnection) -> tuple[int, str] | None:
    """The version in force last, if more came of its messages than its limits allow, and in words what."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["watched"])
        row = await cursor.fetchone()
    if row is None:
        return None
    passed = [f"{row[name]} {name}, limit {most}" for name, most in row["limits"].items() if row[name] > most]
    return (row["number"], "; ".join(passed)) if passed else None


async def before(conn: AsyncConnection, number: int) -> int | None:
    """The version that was in force on all partitions before this one; None if nothing was activated by then."""
    row = await (await conn.execute(SQL["before"], {"number": number})).fetchone()
    return row[0] if row else None


async def was_activated(conn: AsyncConnection, digest: str, source_digest: str) -> bool:
    """Whether a configuration, or one made of the same files, was ever in force."""
    parameters = {"digest": digest, "source_digest": source_digest}
    row = await (await conn.execute(SQL["was_activated"], parameters)).fetchone()
    return bool(row and row[0])


async def waiting_for_nobody(conn: AsyncConnection, known: Iterable[str]) -> dict[str, int]:
    """How many messages wait of each trigger that is not among these."""
    rows = await conn.execute(SQL["waiting_for_nobody"], {"known": list(known)})
    return dict(await rows.fetchall())
