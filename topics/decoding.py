"""Reading records of `supplier.activity`, both CloudEvents modes, fast.

A good event costs one typed msgspec decode into a Struct derived from its pydantic model. Whatever that
declines goes to `judging.py`, where the pydantic models give the verdict; a test over generated events holds
both to the same answers. `decode` never raises, whatever bytes come.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from topics.activity_types import ACTIVITY_TYPES, TYPE_OF_STRUCT, AnyEvent
from topics.envelope import MAX_ID_CHARS, UUID_PATTERN
from topics.judging import MAX_AHEAD_MS, MAX_DEPTH, MAX_VALUE_BYTES, judge_binary, judge_structured, too_deep
from topics.outcome import UNKNOWN, ActivityEvent, Refusal, Unknown
from topics.time import parse_time

__all__ = ["MAX_VALUE_BYTES", "UNKNOWN", "ActivityEvent", "Headers", "Refusal", "Unknown", "decode"]

Headers = Sequence[tuple[str, bytes | None]]

_decode_structured = msgspec.json.Decoder(AnyEvent).decode
_decode_data = {
    name: msgspec.json.Decoder(kind.data | None).decode for name, kind in ACTIVITY_TYPES.items() if kind.data
}
_uuid = re.compile(UUID_PATTERN.encode()).fullmatch
_ESCAPED_NUL = b"\\u0000"
_SUPPLIERS: dict[bytes, str] = {}
"""Supplier ids by key, as seen lately. A dict: `lru_cache` costs twice as much where each call is for another."""
_MOST_SUPPLIERS = 65_536
_FLAT_BYTES = 2 * MAX_DEPTH  # a value this short cannot be nested too deeply


def decode(
    key: bytes | None, value: bytes | None, headers: Headers, append_ms: int
) -> ActivityEvent | Refusal | Unknown:
    """The event in a record of `supplier.activity`, a refusal with its reason, or UNKNOWN (an unknown type).

    `headers` may be empty; `append_ms` is the record's append time in milliseconds, which the event's time
    may not be ahead of by more than 5 minutes.
    """
    if value is None:
        value = b""
    if len(value) > MAX_VALUE_BYTES:
        return Refusal(f"too_large: the value has {len(value):,} bytes; {MAX_VALUE_BYTES:,} are allowed")
    if headers:
        content_type, attributes = _modes(headers)
        if content_type is not None or attributes:
            if content_type is None or not content_type.startswith("application/cloudevents"):
                return _binary(attributes, content_type, key, value, append_ms)
            if _media_type(content_type) not in {"application/cloudevents+json", "application/cloudevents"}:
                return Refusal(f"not_cloudevent: content-type {content_type!r} is not read; send JSON")
    return fast_structured(key, value, append_ms) or judge_structured(key, value, append_ms)


def fast_structured(key: bytes | None, value: bytes, append_ms: int) -> ActivityEvent | None:
    """The event, or None when anything at all is unusual about it."""
    if key is None or (len(value) > _FLAT_BYTES and too_deep(value)):
        return None
    if b"\\" in value and _ESCAPED_NUL in value:  # one character is found ten times as fast as six
        return None
    try:
        if not value.isascii():
            value.decode()  # msgspec does not look into the strings that it skips
        event = _decode_structured(value)
        subject = _SUPPLIERS.get(key) or _supplier_of(key)
        if subject is None or event.subject != subject:
            return None
        at = parse_time(event.time)
        if at > append_ms + MAX_AHEAD_MS:
            return None
        kind = TYPE_OF_STRUCT[event.__class__]
        data = event.data
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
) -> ActivityEvent | Refusal | Unknown:
    if not attributes:
        return Refusal(
            f"not_cloudevent: content-type {content_type!r} without ce_ headers; "
            "a structured event has application/cloudevents+json"
        )
    if unreadable := [name for name, text in attributes.items() if text is None]:
        return Refusal(f"not_cloudevent: header ce_{unreadable[0]} is not UTF-8 text")
    media_type = _media_type(content_type or "application/json")
    if value and not (media_type == "application/json" or media_type.endswith("+json")):
        return Refusal(f"not_cloudevent: data of content-type {content_type!r} is not read; send JSON")
    return fast_binary(attributes, key, value, append_ms) or judge_binary(attributes, key, value, append_ms)


def fast_binary(
    attributes: dict[str, str | None], key: bytes | None, value: bytes, append_ms: int
) -> ActivityEvent | None:
    """The event, or None when anything at all is unusual about it."""
    get = attributes.get
    kind = ACTIVITY_TYPES.get(get("type") or "")
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
        data = _decode_data[kind.name](value) if value else None
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


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip()
