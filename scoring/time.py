"""Units of time and their text form. All instants are int milliseconds since 1970-01-01 UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

MINUTES_A_DAY = DAY // MINUTE

NEVER = 1 << 62
"""Later than any instant that can be written: "no due time"."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_MINUTES = tuple(f"{minute // 60:02d}:{minute % 60:02d}:" for minute in range(MINUTES_A_DAY))
_SECONDS = tuple(f"{second:02d}." for second in range(60))
_MILLISECONDS = tuple(f"{millisecond:03d}Z" for millisecond in range(SECOND))


@lru_cache(maxsize=4_096)
def _date_text(day: int) -> str:
    return f"{(_EPOCH + timedelta(days=day)).date()}T"


def instant_text(at: int) -> str:
    """RFC 3339 in UTC with milliseconds: `2026-01-05T09:00:00.000Z`."""
    day, rest = divmod(at, DAY)
    # Small tables stay in the processor's caches, where a cache of whole instants or of minutes does not.
    return f"{_date_text(day)}{_MINUTES[rest // MINUTE]}{_SECONDS[rest // SECOND % 60]}{_MILLISECONDS[rest % SECOND]}"


def optional_instant_text(at: int | None) -> str | None:
    """`instant_text`, with None for an instant that has not been."""
    return None if at is None else instant_text(at)
