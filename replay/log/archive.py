"""The archive: topics as Parquet files, one a stretch of offsets of one partition on one day.

`<dir>/topic=<catalogue name>/day=<UTC day of appending>/<partition>-<start>-<end>.parquet` holds every record of
the offsets [start, end) as it came. A file appears whole or not at all, so what is archived follows from the
names alone: no other note is kept that could say something else.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from agents.cluster.ledger import Ledger
from agents.cluster.rules_log import RulesLog
from agents.engine.record import Headers, Record
from replay.log.kafka_log import Bounds, LogError

_NAME = re.compile(r"(\d{5,})-(\d{15,})-(\d{15,})\.parquet").fullmatch
_UNFINISHED = ".unfinished"
_NO_HEADERS: Headers = ()
ROWS_A_BATCH = 20_000
_PARTITIONS = b"partitions"
_LEDGER = "ledger.json"
_RULES = "rules.jsonl"

SCHEMA = pa.schema(
    [
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))),
    ]
)
"""Columns of an archive file; `timestamp` is the append time."""


class ArchivedRecord(NamedTuple):
    """A record read back, as it came."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    offset: int
    timestamp: int
    partition: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """One file: the records of one partition with offsets [start, end)."""

    path: Path
    partition: int
    start: int
    end: int


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep others from writing into the archive; LogError when somebody else does.

    What a writer that was killed left unfinished is cleared away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LogError(f"another export is writing into {folder}: wait for it to end") from None
        for left in folder.glob(f"topic=*/day=*/*{_UNFINISHED}"):
            left.unlink()
        yield


def topic_folder(folder: Path, topic: str) -> Path:
    """Where a topic's files are."""
    return folder / f"topic={topic}"


def stretches(folder: Path, topic: str) -> list[Stretch]:
    """All files of a topic, by partition and offset."""
    found = []
    for path in topic_folder(folder, topic).glob("day=*/*.parquet"):
        named = _NAME(path.name)
        if named is None:
            raise LogError(f"{path} is no file of an archive: move it away")
        found.append(Stretch(path, int(named[1]), int(named[2]), int(named[3])))
    return sorted(found, key=lambda stretch: (stretch.partition, stretch.start))


def positions(folder: Path, topic: str) -> dict[int, int]:
    """Partition -> the offset after the last one archived."""
    ends: dict[int, int] = {}
    for stretch in stretches(folder, topic):
        ends[stretch.partition] = max(stretch.end, ends.get(stretch.partition, 0))
    return ends


def partition_count(folder: Path, topic: str) -> int | None:
    """How many partitions the topic had last; None if nothing of it is archived."""
    first = next(iter(stretches(folder, topic)), None)
    if first is None:
        return None
    noted = (pq.read_schema(first.path).metadata or {}).get(_PARTITIONS)
    if noted is None:
        raise LogError(
            f"{first.path} was not written by `success export`: it does not say how many partitions"
        )
    grown = ledger(folder).grown
    return max(int(noted), grown[-1].to if grown else 0)


def ledger(folder: Path) -> Ledger:
    """What the deployment knew of its topics at the last export; an empty one in archives from before there was one."""
    path = folder / _LEDGER
    return msgspec.json.decode(path.read_bytes(), type=Ledger) if path.exists() else Ledger()


def note_ledger(folder: Path, known: Ledger) -> None:
    """Keep it with the archive, whole or not at all."""
    unfinished = folder / f"{_LEDGER}{_UNFINISHED}"
    unfinished.write_bytes(msgspec.json.encode(known))
    unfinished.rename(folder / _LEDGER)
    _sync_folder(folder)


def rules(folder: Path) -> RulesLog:
    """What `success.rules` said at the last export; nothing in archives of deployments without versions."""
    path = folder / _RULES
    log = RulesLog()
    if path.exists():
        log.take(_Line(number, line) for number, line in enumerate(path.read_bytes().splitlines()))
    return log


class _Line(NamedTuple):
    offset: int
    value: bytes


def note_rules(folder: Path, log: RulesLog) -> None:
    """Keep it with the archive, whole or not at all."""
    if not log.values:
        return
    unfinished = folder / f"{_RULES}{_UNFINISHED}"
    unfinished.write_bytes(b"".join(b"%b\n" % value for value in log.values))
    unfinished.rename(folder / _RULES)
    _sync_folder(folder)


def days_of(records: Sequence[Record], start: int, end: int) -> Iterator[tuple[str, list[Record], int, int]]:
    """Cut the records of [start, end) where the day changes: (day, records, start, end) each, in offset order."""
    begun, day, taken = start, "", list[Record]()
    for record in records:
        today = _day(record.timestamp)
        if taken and today != day:
            yield day, taken, begun, record.offset
            begun, taken = record.offset, []
        day = today
        taken.append(record)
    if taken:
        yield day, taken, begun, end


def write(
    folder: Path, topic: str, partition: int, partitions: int, records: Sequence[Record], start: int, end: int
) -> None:
    """Make the records of [start, end) durable, a file a day; a crash leaves whole files, the first ones.

    Offsets without records at all are noted with the next record that comes.
    """
    schema = SCHEMA.with_metadata({"topic": topic, _PARTITIONS: str(partitions)})
    for day, of_day, begin, stop in days_of(records, start, end):
        place = topic_folder(folder, topic) / f"day={day}"
        place.mkdir(parents=True, exist_ok=True)
        name = f"{partition:05d}-{begin:015d}-{stop:015d}.parquet"
        unfinished = place / f"{name}{_UNFINISHED}"
        with unfinished.open("wb") as file:
            pq.write_table(_table(of_day, partition, schema), file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(place / name)
        _sync_folder(place)


def bounds(folder: Path, topic: str) -> dict[int, Bounds]:
    """Partition -> the offsets that the archive has of it; LogError if it has nothing of the topic."""
    count = partition_count(folder, topic)
    if count is None:
        raise LogError(f"{folder} holds nothing of {topic}: `success export --out {folder}` first")
    held = dict.fromkeys(range(count), Bounds(0, 0))
    for stretch in reversed(stretches(folder, topic)):
        held[stretch.partition] = Bounds(stretch.start, held[stretch.partition].end or stretch.end)
    return held


def read(
    folder: Path, topic: str, partition: int, start: int = 0, end: int | None = None
) -> Iterator[list[ArchivedRecord]]:
    """Yield a partition's records of the offsets [start, end) (None: to the last) in offset order, in batches.

    LogError where offsets are missing between two files: they were gone from Kafka before they were exported.
    """
    reached: int | None = None
    for stretch in stretches(folder, topic):
        if stretch.partition != partition or stretch.end <= start:
            continue
        if end is not None and stretch.start >= end:
            return
        if reached is not None and stretch.start != reached:
            raise LogError(
                f"the archive of {topic} partition {partition} lacks the offsets {reached:,} to {stretch.start:,}: "
                "they had left Kafka before they were exported; replay what is left with a later state "
                "(`success export --state`)"
            )
        reached = stretch.end
        with pq.ParquetFile(stretch.path) as file:
            for batch in file.iter_batches(ROWS_A_BATCH):
                records = _records(batch, partition)
                if stretch.start < start or (end is not None and stretch.end > end):
                    records = [
                        each
                        for each in records
                        if start <= each.offset and (end is None or each.offset < end)
                    ]
                if records:
                    yield records


def _day(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp / 1000, UTC).date().isoformat()


def _table(records: Sequence[Record], partition: int, schema: pa.Schema) -> pa.Table:
    columns: list[list[Any]] = [
        [partition] * len(records),
        [record.offset for record in records],
        [record.timestamp for record in records],
        [record.key for record in records],
        [record.value for record in records],
        [[{"name": name, "value": value} for name, value in record.headers] for record in records],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _records(batch: pa.RecordBatch, partition: int) -> list[ArchivedRecord]:
    keys, values = batch.column("key").to_pylist(), batch.column("value").to_pylist()
    offsets = batch.column("offset").to_pylist()
    times = batch.column("timestamp").cast(pa.int64()).to_pylist()
    headers = _headers(batch.column("headers"))
    return [
        ArchivedRecord(key, value, header, offset, at, partition)
        for key, value, header, offset, at in zip(keys, values, headers, offsets, times, strict=True)
    ]


def _headers(column: pa.Array) -> list[Headers]:
    if not len(column.flatten()):
        return [_NO_HEADERS] * len(column)
    return [tuple((header["name"], header["value"]) for header in row) for row in column.to_pylist()]


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, after one was made or changed there; raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
