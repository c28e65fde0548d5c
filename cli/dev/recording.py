"""A recorded file as `success run` reads it: records for the topics, and the times they move the clock to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from topics.activity_types import PLAIN, Vocabulary
from topics.catalog import PROFILES
from topics.decoding import decode
from topics.lines import read_line
from topics.outcome import ActivityEvent

FAR_AHEAD = 1 << 60
"""An append time that no event is ahead of: in a recorded run the clock follows the events, so none is early."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the file. `at`: its event time in ms; None for profiles and for what cannot be used."""

    topic: str
    key: bytes | None
    value: bytes
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

    @property
    def events(self) -> int:
        """How many of the entries are events, usable or not."""
        return sum(1 for entry in self.entries if not entry.is_profile)


def read_recording(
    lines: Iterable[bytes], until: int | None = None, vocabulary: Vocabulary = PLAIN
) -> Recording:
    """The lines up to `until` (ms): events after it are not read, nor profiles that stand behind such an event.

    Only an event that can be used moves the clock: a malformed line with a wild time moves nothing.
    `vocabulary`: that of the rules in force.
    """
    entries = list(_entries(lines, until, vocabulary))
    return Recording(entries, max((entry.at for entry in entries if entry.at is not None), default=None))


def _entries(lines: Iterable[bytes], until: int | None, vocabulary: Vocabulary) -> Iterator[Entry]:
    past_until = False
    for line in lines:
        if not line.strip():
            continue
        topic, key, value = read_line(line)
        if topic == PROFILES:
            if not past_until:
                yield Entry(topic, key, value, None)
            continue
        event = decode(key, value, (), FAR_AHEAD, vocabulary)
        at = event.at if isinstance(event, ActivityEvent) else None
        if at is not None and until is not None and at > until:
            past_until = True
            continue
        yield Entry(topic, key, value, at)
