"""Compressed batches of every codec that Kafka knows, unpacked up to a size that no honest batch has."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

cramjam: Any
try:
    import cramjam
except ImportError:  # said in one line by `check_codecs`, where a service starts
    cramjam = None

MOST_BYTES = 64 * 1024 * 1024
"""Of a batch when it is unpacked: the largest message of any of our topics is 16 MiB."""
_FIRST_GUESS = 8
_FEWEST_BYTES = 64 * 1024
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16
_LENGTH = struct.Struct(">i")


class UnpackError(ValueError):
    """A batch can't be unpacked; the message says why."""


class CodecsMissingError(Exception):
    """Compressed records could not be read; the message says what to install."""


def unpacked(codec: int, data: memoryview) -> bytes:
    """The records of a batch of Kafka's codec number 1 to 4. Raises `UnpackError`, or what cramjam raises."""
    name = NAMES.get(codec)
    if name is None:
        raise UnpackError(f"nobody knows the codec number {codec}")
    if name == "snappy":
        return _snappy(data)
    return _into(getattr(cramjam, name).decompress_into, data)


NAMES: Mapping[int, str] = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}


def check_codecs() -> None:
    """Raise `CodecsMissingError` unless every codec works here."""
    try:
        for name in NAMES.values():
            module = getattr(cramjam, name)
            if bytes(module.decompress(bytes(module.compress(b"x")))) != b"x":
                raise CodecsMissingError(_advice(f"{name} gives back something else"))
    except (AttributeError, OSError) as error:
        raise CodecsMissingError(_advice("it is missing or broken")) from error


def _advice(why: str) -> str:
    return f"records compressed with gzip, snappy, lz4 or zstd can't be read: the package cramjam is needed ({why})"


def _into(unpack: Callable[[Any, Any], int], data: memoryview) -> bytes:
    """What `unpack` writes into a buffer that grows until it is large enough, or larger than may be."""
    size = max(_FEWEST_BYTES, _FIRST_GUESS * len(data))
    while size < MOST_BYTES:
        room = bytearray(size)
        try:
            return bytes(memoryview(room)[: unpack(bytes(data), room)])
        except cramjam.DecompressionError:
            size *= 8
    room = bytearray(MOST_BYTES)
    try:
        return bytes(memoryview(room)[: unpack(bytes(data), room)])
    except cramjam.DecompressionError as error:
        raise UnpackError(f"{error}, or more than {MOST_BYTES:,} bytes") from error


def _snappy(data: memoryview) -> bytes:
    """Plain snappy, or the blocks of the Java library."""
    if bytes(data[: len(_XERIAL)]) != _XERIAL:
        return _snappy_block(data, MOST_BYTES)
    at, blocks, left = _XERIAL_HEADER_BYTES, list[bytes](), MOST_BYTES
    while at < len(data):
        if at + _LENGTH.size > len(data):
            raise UnpackError("a block of snappy is cut off")
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if length < 0 or at + length > len(data):
            raise UnpackError("a block of snappy is cut off")
        block = _snappy_block(data[at : at + length], left)
        left -= len(block)
        blocks.append(block)
        at += length
    return b"".join(blocks)


def _snappy_block(data: memoryview, most: int) -> bytes:
    size = cramjam.snappy.decompress_raw_len(bytes(data))
    if size > most:
        raise UnpackError(f"more than {MOST_BYTES:,} bytes")
    return bytes(cramjam.snappy.decompress_raw(bytes(data)))
