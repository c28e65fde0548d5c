"""Units of time and their text form. All instants are int milliseconds since 1970-01-01 UTC."""

from __future__ import annotations

import re
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


UNITS = {"ms": 1, "s": SECOND, "min": MINUTE, "h": HOUR, "d": DAY}


def duration(value: object) -> int:
    """Milliseconds of a duration as files write it: `"72h"`, `"21d"`. ValueError says what was expected."""
    match = re.fullmatch(r"(\d{1,9})\s*(ms|s|min|h|d)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('expected a duration such as "72h" (a whole number and ms, s, min, h or d)')
    return int(match[1]) * UNITS[match[2]]


def duration_text(milliseconds: int) -> str:
    """A duration as files write it, in the largest unit that fits: 86,400,000 is `1d`."""
    unit = next(name for name, size in reversed(UNITS.items()) if milliseconds % size == 0)
    return f"{milliseconds // UNITS[unit]}{unit}"
