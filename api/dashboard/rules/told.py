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
NOT_THERE = "off"
"""What is said of an entry where it is not."""


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

    A trigger, condition or the like that is gone or new is one line, and not one for each of its fields.
    """
    before, after = _entries(old), _entries(new)
    lines, words = [], []
    for place, was, now in differences(old, new):
        entry = place.partition("]")[0] + "]"
        if place.startswith(_TEMPLATES):
            words.append(told_of_text(place.removeprefix(_TEMPLATES), was or "", now or ""))
        elif (entry in before) != (entry in after):
            kind, _, name = entry.partition(".")[2].partition("[")
            lines.append(
                Line(f"{kind} {name[:-1]}", before.get(entry, NOT_THERE), after.get(entry, NOT_THERE))
            )
        else:
            lines.append(Line(place.removeprefix("policy."), _short(was), _short(now)))
    return Told(list(dict.fromkeys(lines)), words)


def _entries(documents: Mapping[str, Any]) -> dict[str, str]:
    """Place of each trigger, condition, milestone, feature and event type -> all of it in a line."""
    found = {f"policy.trigger[{one['name']}]": _about(one) for one in documents["policy"].get("trigger", ())}
    for kind in ("condition", "milestone", "feature", "event"):
        for one in documents.get("rules", {}).get(kind, ()):
            name = one.get("name") or one["type"]
            said = (f"{key} {_short(value)}" for key, value in one.items() if key not in {"name", "type"})
            found[f"rules.{kind}[{name}]"] = f"on: {', '.join(said)}"
    return found


def _about(trigger: Mapping[str, Any]) -> str:
    return f"on: {trigger['template']} by {trigger['channel']}, at {', '.join(trigger['on'])}"


def _short(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = " ".join(value.split()) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def told_of_text(name: str, was: str, now: str) -> Words:
    """What two texts of a file say otherwise."""
    lines = tuple(_compared(was, now))
    kinds = [kind for kind, _ in lines]
    return Words(name, kinds.count("+"), kinds.count("-"), lines)


def _compared(was: str, now: str) -> Iterator[tuple[str, str]]:
    found = difflib.unified_diff(was.splitlines(), now.splitlines(), n=_CONTEXT, lineterm="")
    for line in list(found)[2:]:  # without the names of files
        yield ("@", line) if line.startswith("@@") else (line[:1], line[1:])
