"""Snapshots of the scoring state: where a replay starts when the beginning of the log is gone.

`<dir>/state/taken=<UTC time>/<partition>.parquet` holds the state topic's records, the newest of each key: the
scores of a partition's suppliers, and how far they had read. The folder appears whole or not at all.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from agents.cluster.provisioning import STATE
from agents.health.state_codec import META_KEY, Meta, StateHeader, newest
from agents.health.stored_supplier import is_supplier
from replay.log.kafka_log import KafkaLog, LogError
from topics.time import format_time

SCHEMA = pa.schema(
    [pa.field("key", pa.binary(), nullable=False), pa.field("value", pa.binary(), nullable=False)]
)
_UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class PartitionState:
    """The state of one partition: `values` by key, holding everything below `offset`, up to `stream_time` (ms)."""

    values: dict[bytes, bytes]
    offset: int
    stream_time: int
    partitions: int

    @classmethod
    def of(cls, values: dict[bytes, bytes]) -> PartitionState:
        """Read where the state stands from its meta record; an empty one stands at the beginning."""
        raw = values.get(META_KEY)
        if raw is None:
            return cls({}, 0, 0, 0)
        header = StateHeader.of(raw)
        return cls(values, header.offset + 1, header.stream_time, Meta.of(raw).partitions)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot in the archive. `taken` is its folder's time."""

    folder: Path
    taken: str

    def partition(self, number: int) -> PartitionState:
        """The state of a partition; an empty one if nothing had been scored there."""
        path = self.folder / f"{number:05d}.parquet"
        if not path.exists():
            return PartitionState.of({})
        table = pq.read_table(path)
        return PartitionState.of(dict(zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True)))


def take(log: KafkaLog, folder: Path, now_ms: int) -> tuple[Snapshot, dict[int, int]]:
    """Write a snapshot of the state as the live workers have it; also how many suppliers each partition has.

    The archive must be locked (`archive.locked`). Raises LogError when nothing has been scored yet.
    """
    taken = format_time(now_ms).replace(":", "")
    unfinished = folder / "state" / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    suppliers = {}
    for partition in log.bounds(STATE):
        values = read_state(log, partition)
        if META_KEY not in values:
            continue
        table = pa.Table.from_arrays(
            [pa.array(list(values), pa.binary()), pa.array(list(values.values()), pa.binary())], schema=SCHEMA
        )
        pq.write_table(table, unfinished / f"{partition:05d}.parquet", compression="zstd")
        suppliers[partition] = sum(map(is_supplier, values))
    if not suppliers:
        shutil.rmtree(unfinished)
        raise LogError("there is no state yet: let `success worker` read the log first")
    finished = unfinished.with_name(f"taken={taken}")
    unfinished.rename(finished)
    return Snapshot(finished, taken), suppliers


def read_state(log: KafkaLog, partition: int) -> dict[bytes, bytes]:
    """The newest value of each key of the state topic's partition, as a worker recovers it."""
    held = log.bounds(STATE)[partition]
    values: dict[bytes, bytes] = {}
    for records, _ in log.read(STATE, partition, held.begin, held.end):
        for record in records:
            key, value = record.key or b"", record.value
            if value is None:
                values.pop(key, None)
            else:
                values[key] = newest(values.get(key), value)
    return values


def newest_snapshot(folder: Path) -> Snapshot | None:
    """The last snapshot in the archive, if there is any."""
    found = sorted((folder / "state").glob("taken=*"))
    return Snapshot(found[-1], found[-1].name.partition("=")[2]) if found else None
