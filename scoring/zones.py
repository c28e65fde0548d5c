"""Civil time: the one place that makes time zones, from the data that we ship (the package `tzdata`).

A host's own data may be years old, and then letters leave at night and calls are an hour off; so it is never asked.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

_NOT_A_PLACE = frozenset({"Factory"})
"""In the list of the zone data, and no zone: what a machine has before somebody sets one."""
_FIXED = re.compile(r"(?:Etc/.+|GMT.*|UTC|UCT|Universal|Zulu|Greenwich)").fullmatch


class UnknownZoneError(ValueError):
    """No zone of the IANA data has that name."""


@cache
def zone_names() -> frozenset[str]:
    """All zones there are, by their IANA names; nothing that a host adds, such as `localtime` or `posixrules`."""
    return frozenset(files("tzdata").joinpath("zones").read_text("utf-8").split()) - _NOT_A_PLACE


@lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo:
    """Make the zone of an IANA name; UnknownZoneError if there is none."""
    if name not in zone_names():
        raise UnknownZoneError(f"{name!r} is no IANA time zone (such as Europe/London)")
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def zone_or(name: str | None, fallback: str) -> ZoneInfo:
    """Make the zone of a name that may be missing or unknown; `fallback` must be one."""
    return zone_named(name) if name in zone_names() else zone_named(fallback)


def zone_words(name: str | None) -> str:
    """Spell a zone as people read it: `New York time`, `UTC-2` (which IANA writes `Etc/GMT+2`); `UTC` without one."""
    if name is None or name not in zone_names():
        return "UTC"
    if _FIXED(name):
        hours = _hours(name)
        return f"UTC{hours:+d}" if hours else "UTC"
    return f"{name.rpartition('/')[2].replace('_', ' ')} time"


def _hours(fixed: str) -> int:
    """How far a zone of the kind `Etc/GMT+2` is ahead of UTC: its sign means the opposite."""
    found = re.search(r"[+-]\d+$", fixed)
    return -int(found[0]) if found else 0


def data_version() -> str:
    """Name the release of the zone data in use, such as `2026f`: its year, and which one of that year."""
    return files("tzdata").joinpath("zoneinfo", "tzdata.zi").read_text("utf-8").split(maxsplit=3)[2]
