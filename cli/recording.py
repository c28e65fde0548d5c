"""A recorded file as `success run` reads it: records for the topics, with the times they move the clock to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from topics.catalog import PROFILES
from topics.lines import read_line

from topics.decoding import ActivityEvent, decode

FAR_AHEAD = 1 << 60
"""An append time no event is ahead of: in a recorded run the clock follows the events, so none is early."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the file. `at`: its event time in ms; None for profiles and for what cannot be read."""

    topic: str
    key: bytes | None
    value: bytes | None
    at: int | None

    @property
    def is_profile(self) -> bool:
        """Whether the line sets a profile rather than tells an event."""
        return self.topic == PROFILES


@dataclass(frozen=True, slots=True)
class Recording:
    """The entries to play, in file order, and the greatest event time among them (None without events)."""

    entries: list[Entry]
    ends_at: int | None


def read_recording(lines: Iterable[str], until: int | None = None) -> Recording:
    """The lines up to `until` (ms): events after it are not read, nor profiles that stand behind such an event."""
    entries = list(_entries(lines, until))
    return Recording(entries, max((entry.at for entry in entries if entry.at is not None), default=None))


def _entries(lines: Iterable[str], until: int | None) -> Iterator[Entry]:
    past_until = False
    for line in lines:
        if not line.strip():
            continue
        topic, key, value = read_line(line)
        if topic == PROFILES:
            if not past_until:
                yield Entry(topic, key, value, None)
            continue
        event = decode(key, value, (), FAR_AHEAD)
        at = event.at if isinstance(event, ActivityEvent) else None
        if at is not None and until is not None and at > until:
            past_until = True
            continue
        yield Entry(topic, key, value, at)
