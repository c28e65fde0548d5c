"""JSON Lines files of what goes onto the topics: a line is a CloudEvent or `{"profile": {…}}`.

Used by `success publish` and `success run`. No line is turned away here: what is wrong with it is said by the
dead letter that it becomes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from topics.catalog import ACTIVITY, PROFILES
from topics.foreign import BOM_UTF8, is_utf16, packed_as

BOM = BOM_UTF8
"""What some editors put in front of a UTF-8 file."""


class NotLinesError(ValueError):
    """A file does not begin as lines of JSON in UTF-8 do; the message says what it is and how to turn it into them."""


def check_start(start: bytes, name: str) -> None:
    """Raise `NotLinesError` where the first bytes of what `name` calls show that no line of it can be read."""
    if is_utf16(start):
        raise NotLinesError(
            f"{name} is text in UTF-16: save it as UTF-8 (PowerShell: `Out-File -Encoding utf8`; "
            "elsewhere: `iconv -f utf-16 -t utf-8`)"
        )
    if packing := packed_as(start):
        raise NotLinesError(
            f"{name} is packed ({packing}): unpack it first, for instance into `success publish -`"
        )


class Line(NamedTuple):
    """Where a line goes: `topic` is the catalogue's name; key and value as a record has them."""

    topic: str
    key: bytes | None
    value: bytes


class _Profiled(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw(b"")


class _Shape(msgspec.Struct):
    profile: msgspec.Raw = msgspec.Raw(b"")
    subject: msgspec.Raw = msgspec.Raw(b"")
    specversion: msgspec.Raw = msgspec.Raw(b"")


_decode_shape = msgspec.json.Decoder(_Shape).decode
_decode_profile = msgspec.json.Decoder(_Profiled).decode
_decode_text = msgspec.json.Decoder(str).decode


def checked(lines: Iterable[bytes], name: str) -> Iterator[bytes]:
    """The lines as they are, once `check_start` has seen the first."""
    for number, line in enumerate(lines):
        if not number:
            check_start(line, name)
        yield line


def read_line(text: bytes | str) -> Line:
    """The topic, key and value of one line (with or without its line break; not a blank one).

    An event's value is the line as it came and its key its `subject`; a profile's value is the object under
    `profile` as it came and its key the `id`. Where that is not to be had, an event has no key, and a profile,
    whose compacted topic takes no record without one, has an empty key.
    """
    line = (text.encode(errors="surrogateescape") if isinstance(text, str) else text).strip()
    line = line.removeprefix(BOM)
    try:
        shape = _decode_shape(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Line(ACTIVITY, None, line)
    if bytes(shape.profile) and not bytes(shape.specversion):
        return Line(PROFILES, _profile_key(shape.profile), bytes(shape.profile))
    return Line(ACTIVITY, _text(shape.subject), line)


def _profile_key(profile: msgspec.Raw) -> bytes:
    try:
        return _text(_decode_profile(profile).id) or b""
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return b""


def _text(raw: msgspec.Raw) -> bytes | None:
    """UTF-8 of a JSON string; None for anything else."""
    try:
        return _decode_text(raw).encode() if bytes(raw) else None
    except (msgspec.DecodeError, UnicodeError):
        return None
