"""Times on the wire (RFC 3339 with zone) and inside (whole milliseconds since 1970-01-01 UTC)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

DAY_MS = 86_400_000

# RFC 3339 section 5.6 in ASCII digits; fromisoformat then refuses days, hours and seconds that don't exist.
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-5][0-9])"
).fullmatch
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_DAY = (datetime(9989, 12, 31, tzinfo=UTC) - _EPOCH).days
"""Due times follow events by weeks, and must be writable too."""


def parse_time(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time with zone; finer digits are cut off.

    Raises ValueError, with a reason for people, for any other ISO 8601 form, a time without zone, a leap
    second, a day that does not exist, and anything before 1970 or after the year 9989 (both in UTC).
    """
    if not _RFC_3339(text):
        raise ValueError("not an RFC 3339 time with zone, such as 2026-01-05T09:00:00Z")
    try:
        since = datetime.fromisoformat(text.upper()) - _EPOCH
    except (ValueError, OverflowError) as error:
        raise ValueError(f"not a time that exists ({error})") from error
    if since.days < 0:
        raise ValueError("a time before 1970")
    if since.days > _LAST_DAY:
        raise ValueError("a time after the year 9989")
    return since.days * DAY_MS + since.seconds * 1000 + since.microseconds // 1000


def format_time(ms: int) -> str:
    """RFC 3339 in UTC with milliseconds (`2026-01-05T09:00:00.000Z`) of milliseconds since the epoch."""
    day, in_day = divmod(ms, DAY_MS)
    seconds, fraction = divmod(in_day, 1000)
    return f"{_date(day)}T{_clock(seconds)}.{fraction:03d}Z"


@lru_cache(maxsize=4096)
def _date(day: int) -> str:
    """`YYYY-MM-DD` of a count of days since the epoch."""
    return datetime.fromordinal(_EPOCH.toordinal() + day).date().isoformat()


@lru_cache(maxsize=86_400)
def _clock(seconds: int) -> str:
    """`HH:MM:SS` of a second of the day."""
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}"
