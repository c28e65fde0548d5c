"""Logs for replays without Kafka: events as records of partitions, and archives of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import orjson

from agents.engine.record import Headers
from replay.log import archive
from replay.log.archive import ArchivedRecord
from tests.factories import cloudevent
from topics.catalog import ACTIVITY, PROFILES
from topics.lines import read_line
from topics.partitioner import partition_of
from topics.time import parse_time

PARTITIONS = 3
MONDAY = parse_time("2026-01-05T09:00:00Z")
_numbers = count()

Logs = dict[str, list[list[ArchivedRecord]]]


def event(supplier: str, kind: str, at: int, event_id: str = "", **data: object) -> dict[str, Any]:
    """One activity event as a line has it."""
    return cloudevent(kind, supplier, at, **({"id": event_id} if event_id else {}), data=data)


def logs_of(lines: Iterable[dict[str, Any]], partitions: int = PARTITIONS, delay_ms: int = 0) -> Logs:
    """The lines as the topics would hold them, each appended `delay_ms` after its event's time.

    One with an attribute `premature` comes ahead of its time, one with `binary` in CloudEvents' binary mode.
    """
    logs: Logs = {topic: [[] for _ in range(partitions)] for topic in (ACTIVITY, PROFILES)}
    appended = MONDAY
    for line in lines:
        topic, key, value = read_line(orjson.dumps(line))
        if "time" in line and "premature" not in line:
            appended = max(appended, parse_time(line["time"]) + delay_ms)
        partition = partition_of(key or b"", partitions)
        log = logs[topic][partition]
        headers: Headers = ()
        if "binary" in line:
            value, headers = _binary(line)
        log.append(ArchivedRecord(key, value, headers, len(log), appended, partition))
    return logs


def _binary(line: dict[str, Any]) -> tuple[bytes, Headers]:
    """The same event in CloudEvents' binary mode."""
    attributes = ("specversion", "id", "source", "type", "subject", "time")
    headers = tuple((f"ce_{name}", str(line[name]).encode()) for name in attributes)
    return orjson.dumps(line.get("data", {})), (*headers, ("content-type", b"application/json"))


def archive_of(folder: Path, logs: Logs) -> Path:
    """The archive that an export of these topics would write."""
    for topic, partitions in logs.items():
        for partition, records in enumerate(partitions):
            archive.write(folder, topic, partition, len(partitions), records, 0, len(records))
    return folder


def suppliers(number: int) -> Sequence[str]:
    """So many supplier ids."""
    return [f"{n:08x}-0000-4000-8000-000000000000" for n in range(1, number + 1)]


def sorted_rows(connection: duckdb.DuckDBPyConnection, table: str) -> list[tuple[Any, ...]]:
    """All rows of a table, in an order of their own."""
    return sorted(connection.table(table).fetchall(), key=str)
