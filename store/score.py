"""Health as the API tells it: the score, its history with causes, and the newest snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from scoring.time import WEEK, instant_text, optional_instant_text
from store.queries import load
from store.times import to_ms, to_optional_ms, to_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from scoring.health.metrics import Level

SQL = load("score")


class Score(NamedTuple):
    """A supplier's score; times are int ms. `then`: the displayed score a week ago, or the oldest known."""

    score: int
    level: Level
    breakdown: dict[str, float]
    calculated_at: int
    then: int


class Change(NamedTuple):
    """A change of the displayed score or of the level."""

    id: str
    seq: int
    at: int
    score: int
    level: Level


class Explained(NamedTuple):
    """A change with what brought it about.

    `causes`: `{"component", "before", "after", "event"}` each; `total`: the unrounded score after it. The previous
    score and level are None for the first change.
    """

    change: Change
    causes: list[dict[str, Any]]
    previous_score: int | None
    previous_level: Level | None
    total: float


class Known(NamedTuple):
    """What is known of a supplier. `snapshot`: `data` of `success.health.updated` without its changes, or None."""

    vendor_type: str | None
    timezone: str | None
    snapshot: dict[str, Any] | None


async def read_score(conn: AsyncConnection, supplier_id: str, now_ms: int) -> Score | None:
    """Read the score. None before their first event; LookupError if there is no such supplier."""
    parameters = {"supplier": supplier_id, "week_ago": to_time(now_ms - WEEK)}
    found = await (await conn.execute(SQL["score"], parameters)).fetchone()
    if found is None:
        raise LookupError(supplier_id)
    score, level, breakdown, calculated_at, then = found
    if score is None:
        return None
    return Score(score, level, breakdown, to_ms(calculated_at), score if then is None else then)


async def is_known(conn: AsyncConnection, supplier_id: str) -> bool:
    """Whether there is such a supplier."""
    found = await (await conn.execute(SQL["is_known"], {"supplier": supplier_id})).fetchone()
    return bool(found and found[0])


async def read_history(
    conn: AsyncConnection, supplier_id: str, since_ms: int, after_seq: int, limit: int
) -> list[Change]:
    """Read the changes since, oldest first, those after a `seq`; one more than `limit` if there are more."""
    parameters = {"supplier": supplier_id, "since": to_time(since_ms), "after": after_seq, "limit": limit}
    rows = await (await conn.execute(SQL["history"], parameters)).fetchall()
    return [_change(*row) for row in rows]


async def read_before(
    conn: AsyncConnection, supplier_id: str, since_ms: int, after_seq: int
) -> Change | None:
    """Read the last change before a moment, or up to a `seq`, whichever is later."""
    parameters = {"supplier": supplier_id, "since": to_time(since_ms), "after": after_seq}
    found = await (await conn.execute(SQL["before"], parameters)).fetchone()
    return _change(*found) if found else None


async def read_explained(
    conn: AsyncConnection, supplier_id: str, since_ms: int, after_seq: int, limit: int
) -> list[Explained]:
    """Read the same changes with their causes."""
    parameters = {"supplier": supplier_id, "since": to_time(since_ms), "after": after_seq, "limit": limit}
    rows = await (await conn.execute(SQL["explained"], parameters)).fetchall()
    return [
        Explained(_change(*row[:5]), causes, previous_score, previous_level, round(total, 9))
        for row in rows
        for causes, previous_score, previous_level, total in [row[5:]]
    ]


async def read_known(conn: AsyncConnection, supplier_id: str) -> Known | None:
    """Read what advice is made of; None if there is no such supplier."""
    found = await (await conn.execute(SQL["snapshot"], {"supplier": supplier_id})).fetchone()
    if found is None:
        return None
    vendor_type, timezone, seq, *columns = found
    return Known(vendor_type, timezone, None if seq is None else _snapshot(seq, *columns))


def _change(change_id: str, seq: int, at: Any, score: int, level: Level) -> Change:
    return Change(change_id, seq, to_ms(at), score, level)


def _snapshot(
    seq: int,
    score: int,
    level: Level,
    breakdown: dict[str, float],
    calculated_at: Any,
    last_login: Any,
    next_change_at: Any,
    churn_probability: float,
    facts: dict[str, Any],
) -> dict[str, Any]:
    return facts | {
        "seq": seq,
        "score": score,
        "level": level,
        "breakdown": breakdown,
        "calculated_at": instant_text(to_ms(calculated_at)),
        "last_login": optional_instant_text(to_optional_ms(last_login)),
        "next_change_at": optional_instant_text(to_optional_ms(next_change_at)),
        "churn_probability": churn_probability,
    }
