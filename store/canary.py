"""What came of a version where it is in force, and meanwhile elsewhere, as a forecast counts it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from scoring.decisions.forecast import NOT_FORESEEN, Counts
from scoring.time import DAY
from store.queries import load
from store.times import to_ms, to_optional_ms, to_time
from topics.partitioner import partition_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from psycopg import AsyncConnection

SQL = load("canary")
MOST_PEOPLE = 50_000
"""Of more suppliers so many, by chance, say how many live where: to hash a key takes microseconds."""


class SeenOf(NamedTuple):
    """What was seen in [since, until] (ms) where the version is in force, and elsewhere (None: nowhere else)."""

    since: int
    until: int
    there: Counts
    elsewhere: Counts | None


async def newest_with_a_forecast(conn: AsyncConnection) -> int | None:
    """The number of the version with a forecast that went into force last; None if there is none."""
    row = await (await conn.execute(SQL["with_a_forecast"])).fetchone()
    return row[0] if row else None


async def seen_of(
    conn: AsyncConnection, number: int, partitions: Collection[int] | None, count: int, now_ms: int
) -> SeenOf | None:
    """What came of version `number`, in force on these of `count` partitions (None: all); None if it never was.

    From when it went into force until another took its place, or now.
    """
    row = await (await conn.execute(SQL["in_force_there"], {"number": number})).fetchone()
    if row is None or row[0] is None:
        return None
    since, until = to_ms(row[0]), to_optional_ms(row[1]) or now_ms
    span = {"since": to_time(since), "until": to_time(until)}
    decided = await (await conn.execute(SQL["messages"], span | {"number": number})).fetchall()
    found = await conn.execute(SQL["people"], span | {"most": MOST_PEOPLE})
    people: Sequence[tuple[str, datetime, str | None]] = await found.fetchall()
    total = len(people)
    if total == MOST_PEOPLE:
        total = (await (await conn.execute(SQL["how_many"])).fetchone() or (total,))[0]
    scale = total / len(people) if people else 1.0
    home = frozenset(range(count) if partitions is None else partitions)
    there, elsewhere = await asyncio.to_thread(_where, people, home, count, until)
    return SeenOf(
        since,
        until,
        there.counts(scale, decided, by_it=True),
        None if partitions is None else elsewhere.counts(scale, decided, by_it=False),
    )


class _Group:
    """Suppliers of some partitions."""

    def __init__(self) -> None:
        self.suppliers = 0
        self.ms = 0
        self.levels: Counter[str] = Counter()

    def counts(
        self, scale: float, decided: Sequence[tuple[bool, str, str | None, int]], *, by_it: bool
    ) -> Counts:
        sent: Counter[str] = Counter()
        held: Counter[str] = Counter()
        for of_it, trigger, reason, number in decided:
            if of_it is not by_it:
                continue
            if reason is None:
                sent[trigger] += number
            elif reason not in NOT_FORESEEN:
                held[reason] += number
        return Counts(round(self.suppliers * scale), round(self.ms / DAY * scale, 3), sent, held, self.levels)


def _where(
    people: Sequence[tuple[str, datetime, str | None]], home: Collection[int], count: int, until: int
) -> tuple[_Group, _Group]:
    groups = _Group(), _Group()
    for supplier_id, since, level in people:
        group = groups[partition_of(supplier_id.encode(), count) not in home]
        group.suppliers += 1
        group.ms += max(0, until - to_ms(since))
        if level is not None:
            group.levels[level] += 1
    return groups
