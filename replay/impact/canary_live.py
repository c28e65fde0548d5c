"""A version of a live database beside its forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from replay.impact.canary import Compared, compare
from scoring.decisions.forecast import ForecastError
from scoring.time import DAY
from store import canary, versions

if TYPE_CHECKING:
    from psycopg import AsyncConnection


class OfVersion(NamedTuple):
    """A version, where it is in force (None: everywhere), and what the comparison says."""

    number: int
    partitions: tuple[int, ...] | None
    compared: Compared


async def of_version(conn: AsyncConnection, number: int | None, count: int, now_ms: int) -> OfVersion:
    """Compare version `number` (None: the newest that has a forecast), where there are `count` partitions.

    The role must see versions, messages and suppliers. Raises ForecastError, which says why it can't be compared.
    """
    number = number or await canary.newest_with_a_forecast(conn)
    if number is None:
        raise ForecastError(
            "no version was put into force with a forecast: `success config activate --forecast`"
        )
    stored = await versions.one(conn, number)
    if stored is None:
        raise ForecastError(f"there is no version {number} (`success config history`)")
    if stored.forecast is None:
        raise ForecastError(f"version {number} has no forecast: nothing was given as --forecast")
    partitions = stored.version.partitions
    seen = await canary.seen_of(conn, number, partitions, count, now_ms)
    if seen is None:
        raise ForecastError(f"version {number} never got into force")
    days = (seen.until - seen.since) / DAY
    return OfVersion(number, partitions, compare(stored.forecast, seen.there, seen.elsewhere, days))
