"""What a value that is no CloudEvent seems to be instead, in words that name the setting to change.

Asked only about what is refused already: a wrong guess costs a hint, never an event.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import msgspec

from topics.outcome import Refusal

BOM_UTF8, BOMS_UTF16 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_UTF16_SIGNS = 2
"""NUL bytes among the first 8: text in ASCII has four of them in UTF-16, more in UTF-32."""

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x82SNAPPY\x00": "snappy",
    b"PK\x03\x04": "zip",
}
_FORMATS = {
    BOM_UTF8: "UTF-8 with a byte order mark",
    b"Obj\x01": "an Avro file",
    b"\xac\xed\x00\x05": "a serialised Java object",
    b"PAR1": "a Parquet file",
    b"<": "XML or HTML",
}
_CONFLUENT_BYTES = 5
_SPRING = re.compile(r"(ce-|cloudevents[:_])[a-z]").match
_LOOKED_AT = 64
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]").search
_NO_ASCII = re.compile(rb"[\x7f-\xff]").search
_PLAIN = re.compile(rb"\s*(?:[{\[\"]|-?[0-9]|true|false|null)").match
_ATTRIBUTES = {"specversion", "id", "source", "type", "subject", "time"}


_ALIKE = 0.88
"""Of difflib's ratio: `form.creatd` for `form.created` has 0.96, `form.seen` for `form.sent` 0.89."""
_LONGEST_TYPE = 100


def meant(kind: str, known: Iterable[str]) -> str | None:
    """The known event type that one nobody knows looks like a misspelling of; None if it looks like none.

    A guess for people, nothing is ever read by it: a newer producer's type may look like an older one too.
    """
    if len(kind) > _LONGEST_TYPE:
        return None
    plain = {_letters(name): name for name in known}
    near = get_close_matches(_letters(kind), plain, n=1, cutoff=_ALIKE)
    return plain[near[0]] if near else None


def _letters(kind: str) -> str:
    """A type without what people write in different ways: case, dots, underscores."""
    return re.sub(r"[^a-z0-9]", "", kind.lower())


def packed_as(start: bytes) -> str | None:
    """The compression that bytes begin with; None if they don't."""
    return next((name for magic, name in _PACKED.items() if start.startswith(magic)), None)


def is_utf16(start: bytes) -> bool:
    """Whether bytes begin as text in UTF-16 or UTF-32 does, with or without a byte order mark."""
    return start.startswith(BOMS_UTF16) or (
        start[:8].count(0) >= _UTF16_SIGNS and start[:1] != b"\x00" and not start.startswith(tuple(_FORMATS))
    )


def explained(
    refusal: Refusal, value: bytes, header_names: Iterable[str] = (), *, what: str = "event"
) -> Refusal:
    """The refusal with what the record seems to be instead of `what`, where it is known; else as it was."""
    if refusal.code not in {"not_json", "not_cloudevent"}:
        return refusal
    hint = looks_like(value, header_names, what=what)
    return Refusal(f"{refusal.code}: {hint}") if hint else refusal


def looks_like(value: bytes, header_names: Iterable[str] = (), *, what: str = "event") -> str | None:
    """What a record seems to be instead of `what`, and what to change, in words; None if nobody knows."""
    return _of_headers(header_names) or _of_bytes(value) or _of_json(value, what)


def _of_headers(names: Iterable[str]) -> str | None:
    lowered = [name.lower() for name in names]
    if any(name.startswith("ce_") for name in lowered):
        return None
    foreign = next(filter(None, map(_SPRING, lowered)), None)
    if foreign is None:
        return None
    return (
        f"attributes are in headers that begin with {foreign[1]}, as over HTTP or AMQP; over Kafka they begin with ce_ "
        "(Spring: CloudEventMessageBuilder's build(CloudEventMessageUtils.KAFKA_ATTR_PREFIX))"
    )


def _of_bytes(value: bytes) -> str | None:
    known = next((name for magic, name in _FORMATS.items() if value.startswith(magic)), None)
    if packing := packed_as(value):
        return f"the value itself is packed with {packing}: leave that to Kafka (compression.type={packing})"
    if value[:1] == b"\x00" and len(value) >= _CONFLUENT_BYTES:
        return (
            f"the value begins with Confluent's wire format (magic byte 0, schema "
            f"{int.from_bytes(value[1:_CONFLUENT_BYTES])}): a schema registry's serializer wrote it, for Avro, "
            "Protobuf or JSON Schema; use one for plain JSON or strings"
        )
    if known is None and is_utf16(value):
        known = "text in UTF-16 or UTF-32"
    elif known is None and value and _is_binary(value):
        known = (
            f"binary (it begins with {value[:4].hex(' ')}), of which Avro, Protobuf and the like are not read"
        )
    return f"the value is {known}: send JSON in UTF-8" if known else None


def _is_binary(value: bytes) -> bool:
    """Whether this is no text that somebody mistyped."""
    if _CONTROL(value[:_LOOKED_AT]):
        return True
    return not _PLAIN(value) and bool(_NO_ASCII(value[:_LOOKED_AT]))


def _of_json(value: bytes, what: str) -> str | None:
    try:
        parsed = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if isinstance(parsed, str):
        return _of_text(parsed, what)
    if isinstance(parsed, list):
        return f"the value is an array: batches are not read here, send one {what} a record"
    return _of_object(parsed, what) if isinstance(parsed, dict) and "specversion" not in parsed else None


def _of_text(text: str, what: str) -> str | None:
    if not text.lstrip().startswith("{"):
        return None
    return (
        f"the {what} is inside a JSON string, as Kafka Connect's JsonConverter writes one (Debezium's outbox too): "
        "set value.converter=org.apache.kafka.connect.storage.StringConverter"
    )


def _of_object(found: dict[str, Any], what: str) -> str | None:
    hint = None
    if "payload" in found and "schema" in found:
        hint = (
            f"the {what} is under `payload`, beside its `schema`, as Kafka Connect's JsonConverter writes it: "
            "set value.converter.schemas.enable=false"
        )
    elif "op" in found and ("after" in found or "before" in found):
        hint = "this is a change event of Debezium: publish through its outbox event router instead"
    elif isinstance(found.get("profile"), dict):
        hint = "this is a profile: publish what is under `profile` to supplier.profiles"
    elif (wrapper := next((name for name, inner in found.items() if _is_event(inner)), None)) is not None:
        hint = f"the event is under `{wrapper[:40]}`: the CloudEvent itself must be the whole value"
    elif what == "event" and not found.keys() & _ATTRIBUTES:
        hint = "no attribute of a CloudEvent is there, neither in the value nor in ce_ headers"
    return hint


def _is_event(inner: object) -> bool:
    return (isinstance(inner, dict) and "specversion" in inner) or (
        isinstance(inner, str) and inner.lstrip().startswith("{") and "specversion" in inner
    )
