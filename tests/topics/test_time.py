"""Times: one way to read them, one way to write them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics.time import format_time, parse_time

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MS = 253_086_767_999_999


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-01-05T09:00:00Z", 1_767_603_600_000),
        ("2026-01-05t09:00:00z", 1_767_603_600_000),
        ("2026-01-05T10:00:00+01:00", 1_767_603_600_000),
        ("2026-01-05T03:30:00-05:30", 1_767_603_600_000),
        ("2026-01-05T09:00:00-00:00", 1_767_603_600_000),
        ("2026-01-05T09:00:00.1Z", 1_767_603_600_100),
        ("2026-01-05T09:00:00.1239999Z", 1_767_603_600_123),
        ("2026-01-05T09:00:00.000999999999999Z", 1_767_603_600_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("1970-01-01T00:30:00+00:30", 0),
        ("9989-12-31T23:59:59.999Z", LAST_MS),
    ],
)
def test_rfc_3339_with_zone_is_read_to_the_millisecond(text, ms):
    assert parse_time(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-05",
        "2026-01-05T09:00:00",
        "2026-01-05T09:00Z",
        "2026-01-05 09:00:00Z",
        "20260105T090000Z",
        "2026-W02-1T09:00:00Z",
        "2026-01-05T09:00:00,5Z",
        "2026-01-05T09:00:00.Z",
        "2026-01-05T09:00:00+0100",
        "2026-01-05T09:00:00+01",
        "2026-01-05T09:00:00+01:60",
        "2026-01-05T09:00:00+24:00",
        "2026-01-05T24:00:00Z",
        "2026-12-31T23:59:60Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:00:00+00:01",
        "9989-12-31T23:59:59-00:01",
        "-2026-01-05T09:00:00Z",
        "12026-01-05T09:00:00Z",
        "2026-01-05T09:00:00Z\n",
        " 2026-01-05T09:00:00Z",
        "٢٠٢٦-01-05T09:00:00Z",
    ],
)
def test_any_other_form_is_refused(text):
    with pytest.raises(ValueError, match=r"^(not an RFC 3339|not a time that exists|a time (before|after))"):
        parse_time(text)


@given(st.integers(0, LAST_MS))
def test_what_is_written_reads_back(ms):
    assert parse_time(format_time(ms)) == ms


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(9989, 12, 30)),  # noqa: DTZ001 - hypothesis wants naive limits
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
)
def test_every_moment_in_every_zone_is_read_exactly(moment, offset_minutes):
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    assert parse_time(aware.isoformat()) == (aware - EPOCH) // timedelta(milliseconds=1)


@given(st.text(max_size=30))
def test_any_text_gives_a_time_or_a_value_error(text):
    with suppress(ValueError):
        assert parse_time(text) >= 0


def test_times_are_written_in_utc_with_milliseconds():
    assert format_time(1_767_603_600_007) == "2026-01-05T09:00:00.007Z"
