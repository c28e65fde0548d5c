"""Every record of a fetch, whatever its bytes: what aiokafka's parser can't read comes as a record that says why.

aiokafka's parser raises at the first thing it can't read and stays there for good. Here a batch that it declines is
read again, record by record: good neighbours come as they are, the others as `Unparsed`, whose headers hold the
reason; whoever reads the topic makes a dead letter of it like of any other refusal. Where not even a batch can be
told from the next, nothing more comes of that partition until it can (`Reading.unreadable`), and others go on.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, KafkaError, OffsetOutOfRangeError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

from agents.engine.unpacking import UnpackError, check_codecs, unpacked
from topics.outcome import UNREADABLE_HEADER

logger = logging.getLogger(__name__)

_HEADER = struct.Struct(">qiibIhiqqqhii")
_FIRST_RECORD = _HEADER.size
_CODEC, _APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20
_ATTRIBUTES = struct.Struct(">h")
_ATTRIBUTES_AT = 21
_LOG_OVERHEAD = 12
_LENGTH = struct.Struct(">i")
_LENGTH_AT = 8
_MAGIC_AT = 16
_FEWEST_LEGACY_BYTES = 14
_FEWEST_BYTES = _FIRST_RECORD - _LOG_OVERHEAD
_NEWEST_LEGACY = 1
_VARINT_BITS = 63
_SHOWN_BYTES = 16

_PASSING = {9, 74, 75, 78, 100, 103}
"""Errors of a fetch that pass by themselves and that aiokafka does not know as such: a leader or replica that moves."""

RETRY_S = 10.0
"""How long a partition that can't be read rests before it is asked for again."""
PAUSE_S = 0.2

_doubted: set[tuple[TopicPartition, int]] = set()
"""Batches that failed their checksum once: they may have been damaged on their way, so they are fetched again."""


class Unparsed:
    """A record, or all that is left of a batch, that is no record to aiokafka.

    Key and value are the record's own where they can be told, else no key, and the bytes as the value.
    """

    __slots__ = ("headers", "key", "offset", "timestamp", "timestamp_type", "value")
    checksum = None

    def __init__(
        self,
        why: str,
        offset: int,
        timestamp: int,
        value: bytes | None,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> None:
        self.offset = offset
        self.timestamp = timestamp
        self.timestamp_type = 1
        self.key = key
        self.value = value
        self.headers = [*headers, (UNREADABLE_HEADER, why.encode())]


class Reading:
    """What one consumer's parser has to say; it is the consumer's key deserializer. `raw`: see `Records`."""

    def __init__(self, *, raw: bool = False) -> None:
        self.raw = raw
        self.unreadable: dict[TopicPartition, str] = {}
        """Partitions of which nothing can be read at present, each with the reason."""
        self.jumped: set[TopicPartition] = set()
        """Partitions that are read from elsewhere because the log no longer had what was asked for."""
        self._retry_at: dict[TopicPartition, float] = {}

    def __call__(self, key: bytes | None) -> bytes | None:
        """The key as it is."""
        return key

    def stop(self, tp: TopicPartition, why: str) -> None:
        """Let a partition rest for a while: nothing of it can be read."""
        self._retry_at[tp] = time.monotonic() + RETRY_S
        if tp not in self.unreadable:
            logger.error(
                "%s partition %d stands still, others go on: %s; it is tried again every %.0f s",
                tp.topic,
                tp.partition,
                why,
                RETRY_S,
            )
        self.unreadable[tp] = why

    def go_on(self, tp: TopicPartition) -> None:
        """Something of a partition was read."""
        if self.unreadable.pop(tp, None) is not None:
            logger.warning("%s partition %d is read again", tp.topic, tp.partition)

    def rests(self, tp: TopicPartition) -> bool:
        """Whether a partition is not to be asked for now."""
        return tp in self.unreadable and time.monotonic() < self._retry_at[tp]


def watched(consumer: Any, reading: Reading) -> Any:
    """The consumer (not yet started), its records read as `reading` says and its fetches' errors told to it."""
    consumer._key_deserializer = reading  # noqa: SLF001 - aiokafka has no place for a parser
    send = consumer._client.send  # noqa: SLF001 - nor for errors of single partitions

    async def watching(node_id: Any, request: Any, *rest: Any, **more: Any) -> Any:
        if not isinstance(request, FetchRequest):
            return await send(node_id, request, *rest, **more)
        if reading.unreadable and not (request := _without_resting(request, reading)).topics:
            return await _nothing()
        try:
            response = await send(node_id, request, *rest, **more)
        except KafkaError as error:
            # aiokafka would rest after it as well, but there a `stop` ends with CancelledError instead of stopping.
            logger.warning("broker %s could not be read from: %s: %s", node_id, type(error).__name__, error)
            return await _nothing()
        _note_errors(response, reading)
        return response

    consumer._client.send = watching  # noqa: SLF001
    return consumer


async def _nothing() -> Any:
    """An answer without records, after a rest."""
    await asyncio.sleep(PAUSE_S)
    return SimpleNamespace(topics=[], API_VERSION=0)


def unreadable(consumer: Any) -> dict[TopicPartition, str]:
    """Partitions of which a `watched` consumer can read nothing at present, each with the reason."""
    return dict(consumer._key_deserializer.unreadable)  # noqa: SLF001 - where `watched` put it


def _without_resting(request: Any, reading: Reading) -> Any:
    topics = [
        (topic, [each for each in partitions if not reading.rests(TopicPartition(topic, each[0]))])
        for topic, partitions in request.topics
    ]
    request._topics = [(topic, partitions) for topic, partitions in topics if partitions]  # noqa: SLF001
    return request


def _note_errors(response: Any, reading: Reading) -> None:
    for topic, partitions in response.topics:
        for number, code, *rest in partitions:
            error = for_code(code)
            if error is OffsetOutOfRangeError:
                reading.jumped.add(TopicPartition(topic, number))
            elif code and not error.retriable and code not in _PASSING:
                said = getattr(error, "description", "") or error.__name__
                reading.stop(TopicPartition(topic, number), f"Kafka answers {error.__name__} ({said})")
            elif not code and not rest[-1]:  # what comes with records, the parser sees
                reading.go_on(TopicPartition(topic, number))


class Fetched:
    """The bytes that a fetch brought of one partition, in the place of aiokafka's `MemoryRecords`."""

    def __init__(self, data: bytes | None) -> None:
        self.data = data or b""

    def has_next(self) -> bool:
        """Whether there is anything to look at; what it is worth, `Records` says."""
        return bool(self.data)

    def size_in_bytes(self) -> int:
        """How much there is."""
        return len(self.data)


class Records(fetcher.PartitionRecords):  # type: ignore[misc]
    """aiokafka's iterator over fetched records that never raises, and never passes over one without a word.

    Records come without a `ConsumerRecord` each where the consumer's `Reading` is `raw`: the record of its C parser
    has all that a fold reads (`record.Record`), and the copy costs 1.7 µs an event.
    """

    next_fetch_offset: int

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        reading = self._key_deserializer
        return (
            record if isinstance(reading, Reading) and reading.raw else super()._consumer_record(tp, record)
        )

    def _unpack_records(self) -> Iterator[Any]:
        data = memoryview(self._records.data)
        at, reading = 0, self._key_deserializer
        while at < len(data):
            end, broken = _end_of_batch(data, at, self.next_fetch_offset)
            if broken is not None:
                if at == 0:
                    self._stand_still(broken)
                return
            if end is None:
                return  # the rest of the batch comes with the next fetch
            batch = _Batch.of(data[at:end])
            if not batch.sound and not self._is_doubted_again(batch):
                return
            at = end
            if isinstance(reading, Reading) and reading.unreadable:
                reading.go_on(self._tp)
            if not self._is_for_nobody(batch):
                for record in batch.records():
                    if record.offset >= self.next_fetch_offset:
                        self.next_fetch_offset = record.offset + 1
                        yield self._consumer_record(self._tp, record)
            self.next_fetch_offset = max(self.next_fetch_offset, batch.next_offset)

    def _stand_still(self, why: str) -> None:
        reading = self._key_deserializer
        if not isinstance(reading, Reading):
            raise CorruptRecordException(why)
        reading.stop(self._tp, why)

    def _is_doubted_again(self, batch: _Batch) -> bool:
        """Whether this batch has failed its checksum before; the first time it is fetched once more."""
        place = (self._tp, batch.base_offset)
        if place in _doubted:
            _doubted.discard(place)
            return True
        _doubted.add(place)
        return False

    def _is_for_nobody(self, batch: _Batch) -> bool:
        """Whether the batch is a transaction's marker, or part of one that was given up."""
        if not batch.sound:
            return False
        if self._isolation_level == fetcher.READ_COMMITTED and batch.producer_id is not None:
            self._consume_aborted_up_to(batch.base_offset)
            if batch.is_control:
                # Whatever it says: a producer has one transaction at a time, and here it ends.
                self._aborted_producers.discard(batch.producer_id)
            elif batch.is_transactional and batch.producer_id in self._aborted_producers:
                return True
        return batch.is_control


def _end_of_batch(data: memoryview, at: int, next_offset: int) -> tuple[int | None, str | None]:
    """Where the batch at `at` ends (None: behind the data); or else what is wrong with what is there."""
    left = len(data) - at
    where = f"at offset {next_offset:,} there is no batch of records"
    if left <= _MAGIC_AT:
        return None, (f"{where} but {left} bytes" if at == 0 else None)
    (length,) = _LENGTH.unpack_from(data, at + _LENGTH_AT)
    magic = data[at + _MAGIC_AT]
    if length < (_FEWEST_LEGACY_BYTES if magic <= _NEWEST_LEGACY else _FEWEST_BYTES):
        return None, f"{where} (a length of {length:,} bytes)"
    end = at + _LOG_OVERHEAD + length
    if end > len(data):
        return None, (f"{where} (a length of {length:,} bytes where {left:,} are left)" if at == 0 else None)
    if magic > _NEWEST_LEGACY:
        header = _HEADER.unpack_from(data, at)
        if header[6] < 0 or header[0] + header[6] < next_offset:
            return None, f"{where} (it says to end at {header[0] + header[6]:,})"
    return end, None


class _Batch(NamedTuple):
    """One batch: its bytes and what its header says."""

    data: memoryview
    magic: int
    base_offset: int
    next_offset: int
    attributes: int
    first_timestamp: int
    max_timestamp: int
    producer_id: int | None
    sound: bool
    """Its checksum fits."""

    @classmethod
    def of(cls, data: memoryview) -> _Batch:
        magic = data[_MAGIC_AT]
        if magic <= _NEWEST_LEGACY:
            (offset,) = struct.unpack_from(">q", data)
            return cls(data, magic, offset, offset + 1, 0, 0, 0, None, _legacy_is_sound(data, magic))
        base, _, _, _, _, attributes, last, first_ms, max_ms, producer, *_ = _HEADER.unpack_from(data)
        sound = bool(DefaultRecordBatch(data).validate_crc())
        return cls(data, magic, base, base + last + 1, attributes, first_ms, max_ms, producer, sound)

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & _CONTROL)

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & _TRANSACTIONAL)

    def records(self) -> Sequence[Any]:
        """All of them, in offset order."""
        if not self.sound:
            return [self._whole("fails its checksum, so that nothing in it can be relied on")]
        try:
            if self.magic <= _NEWEST_LEGACY:
                return list(LegacyRecordBatch(self.data, self.magic))
            plain = self._plain()
        except Exception as error:  # noqa: BLE001 - whatever a parser raises, the record is what is wrong
            return [self._whole(f"can't be unpacked ({_words(error)})")]
        try:
            return list(DefaultRecordBatch(plain))
        except Exception:  # noqa: BLE001 - as above; the careful reading says which record it is
            return list(_carefully(self, memoryview(plain)[_FIRST_RECORD:]))

    def _plain(self) -> memoryview | bytes:
        """The batch without compression."""
        codec = self.attributes & _CODEC
        if not codec:
            return self.data
        header = bytearray(self.data[:_FIRST_RECORD])
        _ATTRIBUTES.pack_into(header, _ATTRIBUTES_AT, self.attributes & ~_CODEC)
        return bytes(header) + unpacked(codec, self.data[_FIRST_RECORD:])

    def _whole(self, why: str) -> Unparsed:
        last = self.next_offset - 1
        return Unparsed(
            f"unreadable: the batch of the offsets {self.base_offset} to {last} {why}; the value here is the batch",
            last,
            max(0, self.max_timestamp),
            bytes(self.data),
        )


def _legacy_is_sound(data: memoryview, magic: int) -> bool:
    try:
        return bool(LegacyRecordBatch(data, magic).validate_crc())
    except Exception:  # noqa: BLE001 - what can't even be looked at is not sound
        return False


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) if isinstance(error, KafkaError | UnpackError) else repr(error)


# --- record by record


class _RecordError(ValueError):
    """A record can't be read; the message says why."""


def _carefully(batch: _Batch, data: memoryview) -> Iterator[Any]:
    """The records of an uncompressed batch: the good ones as they are, the others with what is wrong."""
    at, offset = 0, batch.base_offset
    while at < len(data):
        try:
            start, end = _framed(data, at)
        except _RecordError as error:
            left = (
                f"the batch can't be read from offset {offset} on ({error}); the value here is the rest of it"
            )
            last = max(offset, batch.next_offset - 1)
            yield Unparsed(f"unreadable: {left}", last, max(0, batch.max_timestamp), bytes(data[at:]))
            return
        record = _record(batch, data[start:end], offset)
        yield record
        at, offset = end, record.offset + 1


def _framed(data: memoryview, at: int) -> tuple[int, int]:
    """Where the record at `at` begins, behind its length, and where it ends."""
    length, start = _varint(data, at)
    if length < 1 or start + length > len(data):
        raise _RecordError(f"a length of {length:,} bytes where {len(data) - start:,} are left")
    return start, start + length


def _record(batch: _Batch, data: memoryview, expected: int) -> Any:
    """The record of these bytes, if it can be read at all; `expected` is its offset if it doesn't say."""
    found = SimpleNamespace(
        offset=expected, timestamp=max(0, batch.max_timestamp), timestamp_type=1, checksum=None
    )
    found.key, found.value, found.headers = None, bytes(data), []
    try:
        _fill(found, batch, data, expected)
    except _RecordError as error:
        return Unparsed(
            f"unreadable: {error}", found.offset, found.timestamp, found.value, found.key, found.headers
        )
    return found


def _fill(found: SimpleNamespace, batch: _Batch, data: memoryview, expected: int) -> None:
    _, at = _varint(data, 0)
    later_ms, at = _varint(data, at)
    behind, at = _varint(data, at)
    offset = batch.base_offset + behind
    if not expected <= offset < batch.next_offset:
        raise _RecordError(f"the record says to be at offset {offset}, which is not in its batch or taken")
    found.offset = offset
    if not batch.attributes & _APPEND_TIME:
        found.timestamp, found.timestamp_type = batch.first_timestamp + later_ms, 0
    key, at = _bytes(data, at)
    value, at = _bytes(data, at)
    found.key, found.value = key, value
    count, at = _varint(data, at)
    if count < 0:
        raise _RecordError(f"the record says to have {count} headers")
    wrong = None
    for _ in range(count):
        name, at = _bytes(data, at)
        content, at = _bytes(data, at)
        try:
            found.headers.append(((name or b"").decode(), content))
        except UnicodeDecodeError:
            found.headers.append(((name or b"").decode(errors="backslashreplace"), content))
            wrong = (
                wrong or f"the name of a header is not UTF-8 text ({(name or b'')[:_SHOWN_BYTES].hex(' ')})"
            )
    if at != len(data):
        wrong = wrong or f"{len(data) - at} bytes are left behind the record"
    if wrong:
        raise _RecordError(wrong)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A zigzag varint and where it ends."""
    value = shift = 0
    while at < len(data) and shift <= _VARINT_BITS:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more comes
            return (value >> 1) ^ -(value & 1), at
        shift += 7
    raise _RecordError("a number in it has no end")


def _bytes(data: memoryview, at: int) -> tuple[bytes | None, int]:
    length, at = _varint(data, at)
    if length < 0:
        return None, at
    if at + length > len(data):
        raise _RecordError(f"a field says to have {length:,} bytes where {len(data) - at:,} are left")
    return bytes(data[at : at + length]), at + length


def read_everything() -> None:
    """Have all consumers of this process read as this module does. Raises `CodecsMissingError`."""
    check_codecs()
    fetcher.PartitionRecords = Records
    fetcher.MemoryRecords = Fetched
