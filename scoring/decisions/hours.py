"""Quiet hours: when it is day where a supplier lives, daylight saving included."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from scoring.zones import zone_or

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTES_A_DAY = 24 * 60
_MS = timedelta(milliseconds=1)


def next_open(at_ms: int, zone: str | None, fallback: str, from_minute: int, until_minute: int) -> int:
    """Find the first instant at or after `at_ms` whose local time lies in [from, until).

    `zone` is an IANA name; where it is None or unknown, `fallback` stands. Minutes count from midnight.
    """
    local_zone = zone_or(zone, fallback)
    local = (_EPOCH + at_ms * _MS).astimezone(local_zone)
    minute = local.hour * 60 + local.minute
    if from_minute <= minute < until_minute:
        return at_ms
    day = local.date() if minute < from_minute else local.date() + timedelta(days=1)
    opening = datetime.combine(day, time(from_minute // 60, from_minute % 60), local_zone)
    # A wall time that a clock change skips is taken with the offset before the change, as PEP 495 has it:
    # the instant that comes out lies as long after the change as the wall time lies after its start.
    first = _instant(opening)
    # A wall time that comes twice opens both times; the first may be over.
    return first if first >= at_ms else _instant(opening.replace(fold=1))


def _instant(wall: datetime) -> int:
    return (wall.astimezone(UTC) - _EPOCH) // _MS
