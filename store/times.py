"""Times between Postgres and us: `timestamptz` there, int milliseconds since the epoch (UTC) here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def to_time(ms: int) -> datetime:
    """Milliseconds as a time of Postgres."""
    return _EPOCH + ms * _MS


def to_optional_time(ms: int | None) -> datetime | None:
    """The same, where None means none."""
    return None if ms is None else to_time(ms)


def to_ms(time: datetime) -> int:
    """A time of Postgres as milliseconds."""
    return (time - _EPOCH) // _MS


def to_optional_ms(time: datetime | None) -> int | None:
    """The same, where None means none."""
    return None if time is None else to_ms(time)
