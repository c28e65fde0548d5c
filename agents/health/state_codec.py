"""The records of the state topic: a fixed header, then a supplier's state, a page of clients, or the meta data."""

from __future__ import annotations

import struct
from typing import NamedTuple

import msgspec

SCHEMA_VERSION = 2
OF_A_VERSION = 3
"""Written once a version of the configuration is in force: a program that knows none must not go on with it."""
_READABLE = (1, SCHEMA_VERSION, OF_A_VERSION)
"""1 knew no pages of clients: whoever reads only that must not take a record without its clients for a whole one."""
META_KEY = b"\x00partition"
"""Key of a partition's meta record, the last of each flush; no supplier id begins with a zero byte."""

_HEADER = struct.Struct(">BIqqq")


class StateHeader(NamedTuple):
    """What recovery and merging need to know of a record without decoding it."""

    epoch: int
    """Incarnation of the source topic that the offset belongs to."""
    offset: int
    """The record holds everything up to this source offset."""
    stream_time: int
    """... and up to this stream time, ms."""
    due: int
    """A lower bound of when the supplier falls due next, ms."""

    @classmethod
    def of(cls, raw: bytes) -> StateHeader:
        """The header of a state record.

        Raises `ValueError` for a schema version that this program does not know.
        """
        version, epoch, offset, stream_time, due = _HEADER.unpack_from(raw)
        if version not in _READABLE:
            raise ValueError(
                f"a state record of schema version {version}, this program reads {_READABLE[0]} to {_READABLE[-1]}: "
                "run the version that wrote it, or delete the state topic to rebuild it from the log"
            )
        return cls(epoch, offset, stream_time, due)

    @staticmethod
    def size() -> int:
        """Bytes of a header."""
        return _HEADER.size

    @staticmethod
    def body(raw: bytes) -> bytes:
        """What follows the header."""
        return raw[_HEADER.size :]


class Meta(msgspec.Struct, array_like=True):
    """A partition's meta data. Fields are encoded by position: new ones go to the end, with a default."""

    partitions: int
    events: int = 0
    unknown: int = 0
    refused: int = 0
    moved: dict[int, int] = {}
    """Partition → offset there of the last record that was moved here from it."""
    rules: str = ""
    """Digest of the rules that the states were made by; empty in records from before that was noted: ours."""
    brought_up: int = 0
    """Every state was made by this version of the configuration, or a newer one."""

    def encode(self) -> bytes:
        """As compact bytes; as ever while no version is in force."""
        fields = msgspec.structs.astuple(self)
        return msgspec.msgpack.encode(fields if self.brought_up else fields[:-1])

    @classmethod
    def of(cls, raw: bytes) -> Meta:
        """The meta data of a partition's meta record."""
        return msgspec.msgpack.decode(StateHeader.body(raw), type=cls)


def pack(header: StateHeader, body: bytes, schema: int = SCHEMA_VERSION) -> bytes:
    """A record of the state topic."""
    return _HEADER.pack(schema, *header) + body


def schema_of(raw: bytes) -> int:
    """The schema version of a record."""
    return raw[0]


def newest(old: bytes | None, new: bytes) -> bytes:
    """Which of two records of one key holds more; the later one in the log of two equals, that of the newer log of two.

    A worker that was frozen and does not know yet that it lost the partition may write late; what it writes
    holds less and loses here.
    """
    if old is None:
        return new
    before, after = StateHeader.of(old), StateHeader.of(new)
    if before.epoch != after.epoch:
        return new if after.epoch > before.epoch else old
    return new if after[1:3] >= before[1:3] else old
