"""Dead letters: what one is, judged anew after somebody has mended it, and published again, once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import TypeAdapter, ValidationError

from store import outbox
from store.dashboard import system as store
from store.outbox import Event
from topics.activity_types import Vocabulary
from topics.catalog import ACTIVITY, PROFILES, TOPICS
from topics.decoding import decode
from topics.envelope import UUID_PATTERN
from topics.judging import refusal_of
from topics.outcome import Refusal, Unknown
from topics.profile import decode_profile

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from store.audit import Actor

AGENTS_TYPES = frozenset({"milestone.reported", "communication.opted_out", "communication.opted_in"})
"""Events that the API publishes for agents; a letter that still names its type keeps that one instead."""
LONGEST_PATH, MOST_CHANGES = 200, 50
_IDENTIFIER = re.compile(r"[\w.:/+-]{1,100}")
_uuid = re.compile(UUID_PATTERN).fullmatch
LONGEST_SHOWN = 200_000
"""Characters of a value that can be looked at and mended here; a longer one is for `success publish`."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. `topic` is the catalogue's name of where it came from (None: nobody knows)."""

    partition: int
    offset: int
    at: datetime
    key: str | None
    value: bytes | None
    headers: Mapping[str, bytes]
    error: str
    topic: str | None
    origin: str

    @property
    def name(self) -> str:
        """What people call it by: `PARTITION:OFFSET` on the topic of dead letters."""
        return f"{self.partition}:{self.offset}"

    @property
    def code(self) -> str:
        """The stable beginning of the reason."""
        return self.error.partition(":")[0]

    @property
    def is_text(self) -> bool:
        """Whether its value can be shown."""
        try:
            (self.value or b"").decode()
        except UnicodeDecodeError:
            return False
        return not self.is_too_long

    @property
    def is_too_long(self) -> bool:
        """Whether its value is longer than what can be mended here."""
        return self.size > LONGEST_SHOWN

    @property
    def size(self) -> int:
        """Bytes of its value."""
        return len(self.value or b"")

    def parsed(self) -> dict[str, Any] | None:
        """Its value as an object, a binary-mode event as a structured one; None for what is none."""
        try:
            parsed = orjson.loads(self.value or b"")
        except orjson.JSONDecodeError:
            parsed = None
        attributes: dict[str, Any] = {
            name.lower()[3:]: (value or b"").decode(errors="replace")
            for name, value in self.headers.items()
            if name.lower().startswith("ce_")
        }
        if attributes and (parsed is not None or not self.value):
            return attributes | ({"data": parsed} if parsed is not None else {})
        return parsed if isinstance(parsed, dict) else None

    def bound(self) -> dict[str, str]:
        """What stays as it is when the letter is mended: its event's type, id and source, as far as they are texts."""
        found = self.parsed() or {}
        return {
            name: found[name]
            for name in ("type", "id", "source")
            if isinstance(found.get(name), str) and found[name]
        }

    def editable(self) -> str:
        """Its value as JSON to mend, indented; as it came if it is none."""
        parsed = self.parsed()
        if parsed is None:
            return (self.value or b"").decode(errors="replace")
        return orjson.dumps(parsed, option=orjson.OPT_INDENT_2).decode()


@dataclass(frozen=True, slots=True)
class Mended:
    """What is to be published, and what an agent changed in it."""

    key: str
    value: bytes
    changes: Mapping[str, list[Any]]
    topic: str = ACTIVITY


def judge(letter: Letter, text: str, now_ms: int, vocabulary: Vocabulary) -> Mended | Refusal:
    """Say whether an agent may publish a mended letter again: by the rules that refused it, and by what agents may.

    The letter's key is kept, so nobody else can be spoken about; so are the type, id and source of its event where they
    can be read. Profiles and signals are published by services and the command line alone.
    """
    if letter.topic != ACTIVITY or letter.key is None:
        what = "a letter without a key" if letter.topic == ACTIVITY else f"a letter of {letter.origin}"
        return Refusal(f"not_here: {what} is not published from here: use `success dead-letters publish`")
    value = text.strip().encode()
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return Refusal(f"not_json: {error}")
    if not isinstance(parsed, dict):
        return Refusal("not_json: an object is expected")
    value = orjson.dumps(parsed)
    refusal = _beyond(letter.bound(), parsed) or _refusal(letter.key, value, now_ms, vocabulary)
    return refusal or Mended(letter.key, value, changes(letter.parsed() or {}, parsed))


def judge_for_operator(
    letter: Letter, mended: bytes | None, now_ms: int, vocabulary: Vocabulary
) -> Mended | Refusal:
    """Say whether an operator may publish a letter again, as it was (`mended` is None) or with another value.

    Where it came from and its key stay. What would be refused again is refused here, with the same words.
    """
    if letter.topic is None or letter.key is None:
        what = "has no key" if letter.topic else f"came from {letter.origin}, which is no topic of ours"
        return Refusal(
            f"not_here: the letter {what}: write what was meant to a file and `success publish` it"
        )
    value = mended if mended is not None else _as_it_was(letter)
    if not value or not value.strip():
        return Refusal(
            "not_here: no value is kept (a profile's never is): give the mended one with --file; "
            "to erase a supplier use `success erase`"
        )
    value = value.strip()
    refusal = _refusal_on(letter.topic, letter.key, value, now_ms, vocabulary)
    if refusal is not None:
        return refusal
    after = orjson.loads(value)
    return Mended(letter.key, value, changes(letter.parsed() or {}, after), letter.topic)


def _as_it_was(letter: Letter) -> bytes | None:
    """Its value; that of a binary-mode event as a structured one, which needs no headers."""
    if any(name.lower().startswith("ce_") for name in letter.headers) and (found := letter.parsed()):
        return orjson.dumps(found)
    return letter.value


def _refusal_on(topic: str, key: str, value: bytes, now_ms: int, vocabulary: Vocabulary) -> Refusal | None:
    """What a reader of `topic` would say against a record."""
    if topic == ACTIVITY:
        return _refusal(key, value, now_ms, vocabulary)
    if topic == PROFILES:
        profile = decode_profile(key.encode(), value, vocabulary)
        return profile if isinstance(profile, Refusal) else getattr(profile, "refused", None)
    try:
        signal = TypeAdapter(TOPICS[topic].model).validate_json(value)
    except ValidationError as error:
        return refusal_of(error)
    return (
        None if signal.subject == key else Refusal("subject_not_key: the letter's key is not the `subject`")
    )


async def publish_again(
    conn: AsyncConnection, actor: Actor, letter: Letter, mended: Mended, supplier_id: str | None, now_ms: int
) -> bool:
    """Put a letter that was judged sound into the outbox, noted and audited in the same transaction.

    False, and nothing is done, if it was published again already: each is only once.
    """
    position = (letter.partition, letter.offset)
    is_first = await store.note_published(
        conn, actor, position, letter.at, supplier_id, now_ms, mended.changes
    )
    if is_first:
        await outbox.add(conn, [Event(mended.topic, mended.key, mended.value)])
    return is_first


async def published(conn: AsyncConnection, letters: Iterable[Letter]) -> dict[str, dict[str, Any]]:
    """Which of the letters were published again, by name: `at`, `published_by`.

    The append time tells a topic made anew from the one before it.
    """
    stamps = {(letter.partition, letter.offset): letter for letter in letters}
    noted = await store.published_letters(conn, list(stamps))
    return {
        stamps[position].name: row for position, row in noted.items() if row["stamp"] == stamps[position].at
    }


def supplier_of(key: str | None) -> str | None:
    """A letter's key as a supplier's id, for the audit log; None if it is none."""
    return key if key is not None and _uuid(key) else None


def _beyond(bound: Mapping[str, str], parsed: Mapping[str, Any]) -> Refusal | None:
    """What an agent may not change."""
    changed = [name for name, said in bound.items() if parsed.get(name) != said]
    if changed:
        return Refusal(f"wrong_field: {', '.join(changed)}: stays as it was in the letter")
    if "type" not in bound and parsed.get("type") not in AGENTS_TYPES:
        allowed = ", ".join(sorted(AGENTS_TYPES))
        return Refusal(f"wrong_field: type: the letter names none, and agents publish only {allowed}")
    return None


def _refusal(key: str, value: bytes, now_ms: int, vocabulary: Vocabulary) -> Refusal | None:
    verdict = decode(key.encode(), value, (), now_ms, vocabulary)
    if isinstance(verdict, Unknown):
        return Refusal("wrong_field: type: nobody knows this type, so it would only be ignored")
    return verdict if isinstance(verdict, Refusal) else None


def changes(before: Mapping[str, Any], after: Mapping[str, Any], under: str = "") -> dict[str, list[Any]]:
    """What was changed, for the audit log: path to value before and after; free text is only measured."""
    found: dict[str, list[Any]] = {}
    for name in sorted({*before, *after}):
        one, other = before.get(name), after.get(name)
        if one == other:
            continue
        path = f"{under}{name}"[:LONGEST_PATH]
        if isinstance(one, dict | None) and isinstance(other, dict | None):
            found |= changes(one or {}, other or {}, f"{path}.") or {path: [_said(one), _said(other)]}
        else:
            found[path] = [_said(one), _said(other)]
    return dict(list(found.items())[:MOST_CHANGES])


def _said(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if _IDENTIFIER.fullmatch(value) else f"text of {len(value)} characters"
    return f"{type(value).__name__} of {len(value)}"


def reasons(letters: Iterable[Letter]) -> list[tuple[str, int]]:
    """How many there are of each code, most first."""
    found: dict[str, int] = {}
    for letter in letters:
        found[letter.code] = found.get(letter.code, 0) + 1
    return sorted(found.items(), key=lambda one: -one[1])
