"""A partition's state in a file: a header that says what it is, blocks of records, each with a checksum.

Replaced whole or not at all: written beside its place, synced, then renamed over it. Whoever has the old one open
goes on reading the old one.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Self

import msgspec

from agents.state_record import SCHEMA_VERSION
from runtime.durable import sync_folder

FORMAT = 1
BLOCK_RECORDS = 1_000
TEMPORARY = ".tmp"

_MAGIC = b"wedsync-success state\n"
_FRAME = struct.Struct(">II")
"""Length and CRC-32 of what follows."""
_MAX_FRAME = 1 << 31
_Block = tuple[list[bytes], list[bytes]]


class SnapshotRefusedError(Exception):
    """A snapshot that may not be used; the message says why."""


class SnapshotHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot is of, and up to where."""

    format: int = FORMAT
    schema: int = SCHEMA_VERSION
    """Of the state records in it."""
    cluster: str
    """Kafka's cluster id."""
    topic: str
    """Full name of the state topic."""
    partition: int
    partitions: int
    offset: int
    """It holds every record of the state topic's partition up to this one."""
    append_ms: int
    """When the broker appended that record: with the offset it tells this log from any other."""
    records: int


def write(path: Path, header: SnapshotHeader, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
    """Replace the snapshot at `path`.

    Raises `OSError`; the old snapshot is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(suffix=TEMPORARY, prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_MAGIC)
            _write_frame(file, msgspec.json.encode(header))
            for start in range(0, len(keys), BLOCK_RECORDS):
                end = start + BLOCK_RECORDS
                _write_frame(file, msgspec.msgpack.encode((keys[start:end], values[start:end])))
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


class Snapshot:
    """The snapshot that lay at `path` when it was opened, though another may take its place; a context manager.

    Raises `SnapshotRefusedError`, `OSError` (`FileNotFoundError` if there is none).
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        try:
            self.header = _header(self._file)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    def read(self) -> dict[bytes, bytes]:
        """The records, once. Raises `SnapshotRefusedError`, `OSError`."""
        records: dict[bytes, bytes] = {}
        decoder = msgspec.msgpack.Decoder(_Block)
        while len(records) < self.header.records:
            try:
                keys, values = decoder.decode(_read_frame(self._file))
            except msgspec.MsgspecError as error:
                raise SnapshotRefusedError(f"it is damaged: {error}") from error
            records.update(zip(keys, values, strict=True))
        return records


def _header(file: BinaryIO) -> SnapshotHeader:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise SnapshotRefusedError("it is no snapshot")
    try:
        header = msgspec.json.decode(_read_frame(file), type=SnapshotHeader)
    except msgspec.MsgspecError as error:
        raise SnapshotRefusedError(f"its header is not understood: {error}") from error
    if header.format != FORMAT:
        raise SnapshotRefusedError(f"it has format {header.format}, this program reads {FORMAT}")
    if header.schema != SCHEMA_VERSION:
        raise SnapshotRefusedError(
            f"its records have schema version {header.schema}, this program reads {SCHEMA_VERSION}"
        )
    return header


def _write_frame(file: BinaryIO, content: bytes) -> None:
    file.write(_FRAME.pack(len(content), zlib.crc32(content)))
    file.write(content)


def _read_frame(file: BinaryIO) -> bytes:
    frame = file.read(_FRAME.size)
    if len(frame) < _FRAME.size:
        raise SnapshotRefusedError("it ends too early")
    length, checksum = _FRAME.unpack(frame)
    content = file.read(length) if length < _MAX_FRAME else b""
    if len(content) < length:
        raise SnapshotRefusedError("it ends too early")
    if zlib.crc32(content) != checksum:
        raise SnapshotRefusedError("a checksum does not fit: it is damaged")
    return content
