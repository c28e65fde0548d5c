"""What two versions say otherwise, as people read it: numbers in a table, words line by line."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from runtime.versions import differences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LONGEST_SHOWN = 120
_CONTEXT = 2
"""Lines around a changed one."""
_TEMPLATES = "templates."
_TRIGGER = "policy.trigger["


class Line(NamedTuple):
    """A place, and what it said and says; None: nothing."""

    place: str
    was: str | None
    now: str | None


class Words(NamedTuple):
    """A template: lines added and taken away, and (kind, line) of each that is shown; kind is one of ` +-@`."""

    name: str
    added: int
    taken: int
    lines: tuple[tuple[str, str], ...]


class Told(NamedTuple):
    """All that is said otherwise."""

    lines: list[Line]
    words: list[Words]

    def __bool__(self) -> bool:
        return bool(self.lines or self.words)


def told(old: Mapping[str, Any], new: Mapping[str, Any]) -> Told:
    """What two versions' documents (`runtime.versions.documents`) say otherwise.

    A trigger that is gone or new is one line, and not one for each of its fields.
    """
    before, after = _triggers(old), _triggers(new)
    lines, words = [], []
    for place, was, now in differences(old, new):
        trigger = place.removeprefix(_TRIGGER).partition("]")[0] if place.startswith(_TRIGGER) else ""
        if place.startswith(_TEMPLATES):
            words.append(_words(place.removeprefix(_TEMPLATES), was or "", now or ""))
        elif trigger and (trigger in before) != (trigger in after):
            lines.append(Line(f"trigger {trigger}", _about(before.get(trigger)), _about(after.get(trigger))))
        else:
            lines.append(Line(place.removeprefix("policy."), _short(was), _short(now)))
    return Told(list(dict.fromkeys(lines)), words)


def told_of_text(name: str, was: str, now: str) -> Words:
    """What two texts of a file say otherwise."""
    return _words(name, was, now)


def _triggers(documents: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {trigger["name"]: trigger for trigger in documents["policy"].get("trigger", ())}


def _about(trigger: Mapping[str, Any] | None) -> str:
    """A whole trigger in a line."""
    if trigger is None:
        return "off"
    return f"on: {trigger['template']} by {trigger['channel']}, at {', '.join(trigger['on'])}"


def _short(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = " ".join(value.split()) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _words(name: str, was: str, now: str) -> Words:
    lines = tuple(_compared(was, now))
    kinds = [kind for kind, _ in lines]
    return Words(name, kinds.count("+"), kinds.count("-"), lines)


def _compared(was: str, now: str) -> Iterator[tuple[str, str]]:
    found = difflib.unified_diff(was.splitlines(), now.splitlines(), n=_CONTEXT, lineterm="")
    for line in list(found)[2:]:  # without the names of files
        yield ("@", line) if line.startswith("@@") else (line[:1], line[1:])
