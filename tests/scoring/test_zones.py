"""Civil time is that of the data we ship, whatever the host has."""

from __future__ import annotations

import re
import shutil
import zoneinfo  # noqa: TID251 - to make the host's data stale
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest

from scoring.decisions.hours import next_open
from scoring.zones import UnknownZoneError, data_version, zone_named, zone_names, zone_or, zone_words
from topics.profile import Profile
from topics.time import format_time, parse_time

SUPPLIER = "6ae6e289-341b-541f-a6cd-6263354e4165"
SHIPPED = files("tzdata").joinpath("zoneinfo")

# zone, an instant, and when emails may leave then: as the law has been since 2026, not as the releases of 2025 say.
OPENINGS = [
    ("America/Vancouver", "2026-12-03T03:30:00Z", "2026-12-03T15:00:00.000Z"),
    ("America/Winnipeg", "2026-12-03T01:30:00Z", "2026-12-03T13:00:00.000Z"),
    ("America/Edmonton", "2026-12-03T02:30:00Z", "2026-12-03T14:00:00.000Z"),
    ("Africa/Casablanca", "2026-12-03T07:30:00Z", "2026-12-03T08:00:00.000Z"),
    ("Europe/London", "2026-12-03T19:30:00Z", "2026-12-03T19:30:00.000Z"),
]


@pytest.fixture(params=["none", "stale"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """A host without zone data (`PYTHONTZPATH=""`), or with wrong ones."""
    if request.param == "stale":
        for name in [zone for zone, *_ in OPENINGS]:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(SHIPPED.joinpath("Asia", "Tokyo").read_bytes())
        shutil.copy(tmp_path / "Europe" / "London", tmp_path / "localtime")
    zoneinfo.reset_tzpath(to=[] if request.param == "none" else [str(tmp_path)])
    zoneinfo.ZoneInfo.clear_cache()
    zone_named.cache_clear()
    yield
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()
    zone_named.cache_clear()


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(("zone", "at", "opens"), OPENINGS)
def test_emails_leave_by_day_whatever_zone_data_the_host_has(zone: str, at: str, opens: str) -> None:
    assert format_time(next_open(parse_time(at), zone, "UTC", 8 * 60, 20 * 60)) == opens


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    "name", ["localtime", "posixrules", "Factory", "", "Europe", "../London", "right/UTC", "UTC "]
)
def test_what_a_host_or_a_machine_without_a_place_calls_a_zone_is_none(name: str) -> None:
    with pytest.raises(UnknownZoneError, match="IANA time zone"):
        zone_named(name)
    assert zone_or(name, "Asia/Tokyo").key == "Asia/Tokyo"


def test_every_zone_of_the_list_can_be_made_and_a_profile_takes_the_same_ones() -> None:
    for name in sorted(zone_names()):
        assert zone_named(name).key == name
        assert datetime(2026, 1, 1, tzinfo=UTC).astimezone(zone_named(name)).utcoffset() is not None
        assert Profile(id=SUPPLIER, timezone=name).timezone == name
    assert Profile(id=SUPPLIER, timezone="UTC").timezone in zone_names()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("America/New_York", "New York time"),
        ("America/Argentina/Buenos_Aires", "Buenos Aires time"),
        ("Etc/GMT+2", "UTC-2"),
        ("Etc/GMT-14", "UTC+14"),
        ("Etc/GMT0", "UTC"),
        ("UTC", "UTC"),
        ("GMT", "UTC"),
        ("CET", "CET time"),
        ("Nowhere/Odd", "UTC"),
        (None, "UTC"),
    ],
)
def test_a_zone_is_spelt_as_people_read_it(name: str | None, words: str) -> None:
    assert zone_words(name) == words


@pytest.mark.parametrize("name", [name for name in sorted(zone_names()) if name.startswith(("Etc/", "GMT"))])
def test_the_words_of_a_fixed_zone_say_its_offset(name: str) -> None:
    offset = datetime(2026, 1, 1, tzinfo=zone_named(name)).utcoffset()
    assert offset is not None
    hours = offset.total_seconds() / 3600
    assert zone_words(name) == (f"UTC{hours:+.0f}" if hours else "UTC")


def test_the_release_of_the_data_is_named() -> None:
    assert re.fullmatch(r"20\d\d[a-z]+", data_version())
