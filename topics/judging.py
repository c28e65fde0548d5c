"""The careful way of reading a record: one clear verdict, by the pydantic models, whatever came.

Slower than the typed decode of `decoding.py` (about 20 µs) and asked only when that one declines. Like it, it
reads the fields we know and skips the rest of the JSON, so that both agree on what is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from topics.activity_types import PLAIN, ActivityType, Vocabulary
from topics.envelope import is_uuid
from topics.foreign import explained
from topics.outcome import UNKNOWN, ActivityEvent, Refusal, Unknown
from topics.time import parse_time

MAX_VALUE_BYTES = 1_048_576
MAX_AHEAD_MS = 5 * 60_000
MAX_DEPTH = 100

ATTRIBUTES = ("specversion", "id", "source", "type", "subject", "time")
DATA_BASE64 = "data_base64"
_JSON_ERRORS = (msgspec.DecodeError, UnicodeError, RecursionError)
_NOTHING = msgspec.Raw(b"")
_ABSENT = frozenset({b"", b"null"})
_strings = re.compile(rb'"(?:[^"\\]|\\.)*"')


class _Unreadable:
    """A JSON value that no Python value can stand for, such as a number of 5,000 digits."""


_UNREADABLE = _Unreadable()

_Envelope: Any = msgspec.defstruct(
    "_Envelope", [(name, msgspec.Raw, _NOTHING) for name in (*ATTRIBUTES, "data", DATA_BASE64)], gc=False
)
_envelope_decoder = msgspec.json.Decoder(_Envelope)
_raw_decoder = msgspec.json.Decoder(msgspec.Raw)


def judge_structured(
    key: bytes | None,
    value: bytes,
    append_ms: int,
    header_names: Sequence[str] = (),
    vocabulary: Vocabulary = PLAIN,
) -> ActivityEvent | Refusal | Unknown:
    """The verdict on a structured CloudEvent (`value` is the whole event as JSON).

    The names of the record's headers say more where it is none.
    """
    verdict = _structured(key, value, append_ms, vocabulary)
    return explained(verdict, value, header_names) if isinstance(verdict, Refusal) else verdict


def _structured(
    key: bytes | None, value: bytes, append_ms: int, vocabulary: Vocabulary
) -> ActivityEvent | Refusal | Unknown:
    if refusal := unreadable(value):
        return refusal
    try:
        envelope = _envelope_decoder.decode(value)
    except msgspec.ValidationError:
        return Refusal("not_cloudevent: the value is JSON but not an object")
    except _JSON_ERRORS as error:
        return Refusal(f"not_json: {error}")
    attributes = {name: _value_of(getattr(envelope, name)) for name in ATTRIBUTES}
    packed = _value_of(envelope.data_base64) if bytes(envelope.data) in _ABSENT else None
    return judge(attributes, envelope.data, key, append_ms, vocabulary, packed=packed is not None)


def judge_binary(
    attributes: Mapping[str, object],
    key: bytes | None,
    value: bytes,
    append_ms: int,
    vocabulary: Vocabulary = PLAIN,
) -> ActivityEvent | Refusal | Unknown:
    """The verdict on a binary CloudEvent (`attributes` from the `ce_` headers, `value` its data as JSON)."""
    if value and (refusal := unreadable(value)):
        return explained(refusal, value)
    return judge(attributes, msgspec.Raw(value.strip()), key, append_ms, vocabulary)


def unreadable(value: bytes) -> Refusal | None:
    """A refusal when `value` is not JSON in UTF-8 or nested too deeply."""
    if too_deep(value):
        return Refusal(f"not_json: nested more than {MAX_DEPTH} levels deep")
    try:
        value.decode()
        _raw_decoder.decode(value)
    except _JSON_ERRORS as error:
        return Refusal(f"not_json: {error}")
    return None


def too_deep(value: bytes) -> bool:
    """Whether JSON arrays and objects are nested more than MAX_DEPTH deep.

    Left to the decoder, the limit would be Python's recursion limit less the caller's own depth: the same
    event could pass in a worker and fail in a replay.
    """
    # A level takes two bytes and one opening bracket, so short and flat values are cleared at once.
    if len(value) <= 2 * MAX_DEPTH or value.count(b"{") + value.count(b"[") <= MAX_DEPTH:
        return False
    depth = 0
    for byte in _strings.sub(b"", value):
        if byte in b"{[":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif byte in b"}]":
            depth -= 1
    return False


def judge(
    attributes: Mapping[str, object],
    data: msgspec.Raw,
    key: bytes | None,
    append_ms: int,
    vocabulary: Vocabulary,
    *,
    packed: bool = False,
) -> ActivityEvent | Refusal | Unknown:
    """The verdict on a CloudEvent: attributes (None when absent) and data as JSON (empty when absent).

    `packed`: there is data, but in `data_base64`.
    """
    if refusal := _envelope_refusal(attributes) or _subject_refusal(attributes["subject"], key):
        return refusal
    try:
        at = parse_time(str(attributes["time"]))
    except ValueError as error:
        return Refusal(f"wrong_field: time: {error}")
    kind = vocabulary.types.get(str(attributes["type"]))
    if kind is None:
        return UNKNOWN
    checked: _Checked | Refusal
    if packed and kind.data is not None:
        checked = Refusal(f"wrong_field: {DATA_BASE64} is not read: send the data as a JSON object in `data`")
    else:
        checked = _checked_data(kind, attributes, data, vocabulary)
    if isinstance(checked, Refusal):
        return checked
    if at > append_ms + MAX_AHEAD_MS:
        return Refusal("future_time: `time` is more than 5 minutes ahead of the record's append time")
    return ActivityEvent(
        type=kind.name,
        at=at,
        id=str(attributes["id"]),
        source=str(attributes["source"]),
        subject=str(attributes["subject"]),
        data=kind.finish(checked.struct),
    )


def _value_of(raw: msgspec.Raw) -> object:
    """The Python value of a piece of JSON; None when it is absent."""
    if not bytes(raw):
        return None
    try:
        return msgspec.json.decode(raw)
    except _JSON_ERRORS:
        return _UNREADABLE


def _envelope_refusal(attributes: Mapping[str, object]) -> Refusal | None:
    for name in ATTRIBUTES:
        value = attributes.get(name)
        if value is None:
            return Refusal(f"not_cloudevent: `{name}` is missing")
        if name in {"subject", "time"}:  # these have verdicts of their own
            continue
        if not isinstance(value, str) or not value or "\x00" in value:
            return Refusal(f"not_cloudevent: `{name}` is not a non-empty text")
    if attributes["specversion"] != "1.0":
        return Refusal('not_cloudevent: `specversion` is not "1.0"')
    return None


def _subject_refusal(subject: object, key: bytes | None) -> Refusal | None:
    if not isinstance(subject, str) or not is_uuid(subject):
        hint = ""
        if isinstance(subject, str) and is_uuid(subject.lower()):
            hint = "; write it in lowercase, or one supplier would live under two keys"
        return Refusal(f"subject_not_uuid: `subject` is not a UUID of 36 characters{hint}")
    if key is None:
        return Refusal("subject_not_key: the record has no key; its key must be `subject`")
    if key != subject.encode():
        return Refusal("subject_not_key: the record's key is not `subject`")
    return None


class _Checked(msgspec.Struct):
    struct: Any


def _checked_data(
    kind: ActivityType, attributes: Mapping[str, object], data: msgspec.Raw, vocabulary: Vocabulary
) -> _Checked | Refusal:
    """The data as the kind's Struct (None when absent) if the pydantic model accepts it."""
    fields, decoder = vocabulary.fields_of_data[kind.name]
    present: dict[str, object] | None = None
    if bytes(data) not in _ABSENT:
        try:
            pieces = decoder.decode(data)
        except msgspec.ValidationError:
            as_text = "; it is a text that holds one: write the object itself"
            return Refusal(f"wrong_field: data is not an object{as_text if _holds_object(data) else ''}")
        values = {name: _value_of(getattr(pieces, name)) for name in fields}
        present = {name: value for name, value in values.items() if value is not None}
    elif kind.data_required:
        present = {}  # pydantic then names the field that is missing
    try:
        event: Any = kind.model.model_validate({**attributes, "data": present})
    except ValidationError as error:
        return refusal_of(error)
    model = event.data
    if model is None or kind.data is None:
        return _Checked(None)
    return _Checked(msgspec.convert(model.model_dump(), kind.data))


def _holds_object(data: msgspec.Raw) -> bool:
    text = _value_of(data)
    return isinstance(text, str) and text.lstrip().startswith("{")


def refusal_of(error: ValidationError) -> Refusal:
    """The first of pydantic's complaints, in our words."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "value"
    code = "missing_field" if first["type"] in {"missing", "missing_field"} else "wrong_field"
    return Refusal(f"{code}: {where}: {complaint(first)}")


def complaint(detail: ErrorDetails) -> str:
    """One of pydantic's complaints in our words; it does not repeat the value."""
    quoted = detail["type"] == "int_type" and isinstance(detail["input"], str)
    return detail["msg"].removeprefix("Value error, ") + (", written without quotes" if quoted else "")
