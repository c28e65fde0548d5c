"""Reading records of `supplier.activity`, both CloudEvents modes, fast.

A good event costs one typed msgspec decode into a Struct derived from its pydantic model. Whatever that
declines goes to `judging.py`, where the pydantic models give the verdict; a test over generated events holds
both to the same answers. `decode` never raises, whatever bytes come.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from topics.activity_types import PLAIN, Vocabulary
from topics.envelope import MAX_ID_CHARS, UUID_PATTERN
from topics.foreign import explained
from topics.judging import (
    ATTRIBUTES,
    MAX_AHEAD_MS,
    MAX_DEPTH,
    MAX_VALUE_BYTES,
    judge_binary,
    judge_structured,
    too_deep,
)
from topics.outcome import UNKNOWN, ActivityEvent, Refusal, Unknown, unreadable_by_kafka
from topics.time import parse_time

__all__ = [
    "MAX_VALUE_BYTES",
    "UNKNOWN",
    "ActivityEvent",
    "Headers",
    "Refusal",
    "Unknown",
    "decode",
    "type_of",
]

Headers = Sequence[tuple[str, bytes | None]]

_uuid = re.compile(UUID_PATTERN.encode()).fullmatch
_STRUCTURED_TYPES = {"application/cloudevents+json", "application/cloudevents"}
_ESCAPED_NUL = b"\\u0000"
_SUPPLIERS: dict[bytes, str] = {}
"""Supplier ids by key, as seen lately. A dict: `lru_cache` costs twice as much where each call is for another."""
_MOST_SUPPLIERS = 65_536
_FLAT_BYTES = 2 * MAX_DEPTH  # a value this short cannot be nested too deeply


def decode(
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
    append_ms: int,
    vocabulary: Vocabulary = PLAIN,
) -> ActivityEvent | Refusal | Unknown:
    """The event in a record of `supplier.activity`, a refusal with its reason, or UNKNOWN (an unknown type).

    `headers` may be empty; `append_ms` is the record's append time in milliseconds, which the event's time
    may not be ahead of by more than 5 minutes. `vocabulary`: that of the rules in force.
    """
    if value is None:
        value = b""
    if headers and (refusal := unreadable_by_kafka(headers)):
        return refusal
    if len(value) > MAX_VALUE_BYTES:
        return Refusal(f"too_large: the value has {len(value):,} bytes; {MAX_VALUE_BYTES:,} are allowed")
    if not headers:
        return fast_structured(key, value, append_ms, vocabulary) or judge_structured(
            key, value, append_ms, (), vocabulary
        )
    content_type, attributes = _modes(headers)
    structured = content_type is not None and content_type.startswith("application/cloudevents")
    if attributes and not structured:
        return _binary(attributes, content_type, key, value, append_ms, vocabulary)
    names = [name for name, _ in headers]
    if content_type is not None and not _may_be_structured(content_type):
        return explained(_unread(content_type, structured=structured), value, names)
    return fast_structured(key, value, append_ms, vocabulary) or judge_structured(
        key, value, append_ms, names, vocabulary
    )


class _Typed(msgspec.Struct):
    type: str = ""


_decode_type = msgspec.json.Decoder(_Typed).decode


def type_of(value: bytes | None, headers: Headers) -> str:
    """The type that a record says it has, in either mode, as it stands there; "" if it says none."""
    for name, text in headers:
        if name.lower() == "ce_type" and text is not None:
            return text.decode(errors="replace")
    try:
        return _decode_type(value or b"").type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def fast_structured(
    key: bytes | None, value: bytes, append_ms: int, vocabulary: Vocabulary = PLAIN
) -> ActivityEvent | None:
    """The event, or None when anything at all is unusual about it."""
    if (
        key is None
        or (len(value) > _FLAT_BYTES and too_deep(value))
        or (b"\\" in value and _ESCAPED_NUL in value)  # one character is found ten times as fast as six
    ):
        return None
    try:
        if not value.isascii():
            value.decode()  # msgspec does not look into the strings that it skips
        event: Any = vocabulary.decode_structured(value)
        subject = _SUPPLIERS.get(key) or _supplier_of(key)
        if subject is None or event.subject != subject:
            return None
        at = parse_time(event.time)
        if at > append_ms + MAX_AHEAD_MS:
            return None
        kind = vocabulary.type_of_struct[event.__class__]
        data = event.data
        if data is None and kind.data is not None and _may_hold_base64(value):
            return None
        if data is None or not kind.as_decoded:
            data = kind.finish(data)
        return ActivityEvent(kind.name, at, event.id, event.source, subject, data)
    except (msgspec.DecodeError, ValueError, LookupError, RecursionError):
        return None  # judge_structured says what is wrong


def _binary(
    attributes: dict[str, str | None],
    content_type: str | None,
    key: bytes | None,
    value: bytes,
    append_ms: int,
    vocabulary: Vocabulary,
) -> ActivityEvent | Refusal | Unknown:
    if unreadable := [name for name in ATTRIBUTES if name in attributes and attributes[name] is None]:
        return Refusal(f"not_cloudevent: header ce_{unreadable[0]} is not UTF-8 text")
    if value and content_type is not None and not _is_json(content_type):
        return Refusal(f"not_cloudevent: data of content-type {content_type!r} is not read; send JSON")
    return fast_binary(attributes, key, value, append_ms, vocabulary) or judge_binary(
        attributes, key, value, append_ms, vocabulary
    )


def fast_binary(
    attributes: dict[str, str | None],
    key: bytes | None,
    value: bytes,
    append_ms: int,
    vocabulary: Vocabulary = PLAIN,
) -> ActivityEvent | None:
    """The event, or None when anything at all is unusual about it."""
    get = attributes.get
    kind = vocabulary.types.get(get("type") or "")
    identity, source, subject = get("id"), get("source"), get("subject")
    if kind is None or key is None or not (identity and source and subject) or get("specversion") != "1.0":
        return None
    if len(identity) > MAX_ID_CHARS or "\x00" in identity or "\x00" in source or subject != _supplier_of(key):
        return None
    if (
        _ESCAPED_NUL in value
        or (value and kind.data is None)
        or (len(value) > _FLAT_BYTES and too_deep(value))
    ):
        return None
    try:
        value.decode()
        data = vocabulary.decode_data[kind.name](value) if value else None
        at = parse_time(get("time") or "")
        if at > append_ms + MAX_AHEAD_MS:
            return None
        return ActivityEvent(kind.name, at, identity, source, subject, kind.finish(data))
    except (msgspec.DecodeError, ValueError, LookupError, RecursionError):
        return None  # judge_binary says what is wrong


def _supplier_of(key: bytes) -> str | None:
    """The supplier id that a record's key stands for; None unless it is a canonical UUID."""
    known = _SUPPLIERS.get(key)
    if known is None and _uuid(key):
        if len(_SUPPLIERS) >= _MOST_SUPPLIERS:
            _SUPPLIERS.clear()
        known = _SUPPLIERS[key] = key.decode()
    return known


def _modes(headers: Headers) -> tuple[str | None, dict[str, str | None]]:
    """The content type in lowercase and the `ce_` attributes (None where not UTF-8); the last one counts."""
    content_type: str | None = None
    attributes: dict[str, str | None] = {}
    for name, value in headers:
        lowered = name.lower()
        if value is None:
            continue
        if lowered == "content-type":
            content_type = value.decode(errors="replace").lower()
        elif lowered.startswith("ce_"):
            attributes[lowered[3:]] = _text(value)
    return content_type, attributes


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _may_hold_base64(value: bytes) -> bool:
    """Whether the data might be in an attribute that is not read, its name perhaps written with escapes."""
    return b"data_base64" in value or b"\\u" in value


def _unread(content_type: str, *, structured: bool) -> Refusal:
    if structured:
        return Refusal(f"not_cloudevent: content-type {content_type!r} is not read; send JSON")
    return Refusal(
        f"not_cloudevent: content-type {content_type!r} without ce_ headers; "
        "a structured event has application/cloudevents+json"
    )


def _may_be_structured(content_type: str) -> bool:
    media_type = _media_type(content_type)
    if media_type.startswith("application/cloudevents"):
        return media_type in _STRUCTURED_TYPES
    return _is_json(content_type)


def _is_json(content_type: str) -> bool:
    media_type = _media_type(content_type)
    return media_type == "application/json" or media_type.endswith("+json")


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip()
