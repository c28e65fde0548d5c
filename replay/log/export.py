"""Topics into the archive, continuing where the archive ends: each offset once, whatever kills an export."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.cluster.ledger import Ledger
from agents.engine.record import Record
from replay.log import archive
from replay.log.kafka_log import Bounds, KafkaLog, LogError
from topics.catalog import PROFILES, TOPICS

ROWS_A_FILE = 100_000
BYTES_A_FILE = 64 * 1024 * 1024

PSEUDONYMOUS = tuple(name for name in TOPICS if name != PROFILES)
"""Topics without personal data: what is archived unless profiles are asked for."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be read of one partition: offsets [start, end), of `partitions` partitions."""

    topic: str
    partition: int
    partitions: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Offsets [start, end) that Kafka no longer had when they were to be archived."""

    topic: str
    partition: int
    start: int
    end: int


def plan(log: KafkaLog, folder: Path, topics: Sequence[str]) -> tuple[list[Task], list[Lost]]:
    """What is new since the last export, and what can't be had any more.

    Raises LogError when a topic can't be the one that the archive was made of.
    """
    tasks, lost = [], []
    known = log.ledger()
    for topic in topics:
        bounds, archived = log.bounds(topic), archive.positions(folder, topic)
        _check_same_topic(folder, topic, bounds, archived, known)
        for partition, held in bounds.items():
            reached = archived.get(partition, 0)
            if held.begin > reached:
                lost.append(Lost(topic, partition, reached, held.begin))
            start = max(reached, held.begin)
            if start < held.end:
                tasks.append(Task(topic, partition, len(bounds), start, held.end))
    return tasks, lost


def export(
    log: KafkaLog, folder: Path, tasks: Sequence[Task], on_records: Callable[[Task, int, int], None]
) -> None:
    """Archive what `plan` found. `on_records(task, records, offsets)` hears of each file made durable.

    The archive must be locked (`archive.locked`).
    """
    archive.note_ledger(folder, log.ledger())
    archive.note_rules(folder, log.rules())
    for task in tasks:
        for records, start, end in _files(log, task):
            archive.write(folder, task.topic, task.partition, task.partitions, records, start, end)
            on_records(task, len(records), end - start)


def _files(log: KafkaLog, task: Task) -> Iterator[tuple[list[Record], int, int]]:
    """The records of each file to be, with the offsets [start, end) it stands for."""
    start, size, gathered = task.start, 0, list[Record]()
    end = start
    for records, behind in log.read(task.topic, task.partition, task.start, task.end):
        gathered += records
        size += sum(len(record.value or b"") for record in records)
        end = behind
        if gathered and (len(gathered) >= ROWS_A_FILE or size >= BYTES_A_FILE):
            yield gathered, start, end
            start, size, gathered = end, 0, []
    if gathered:
        yield gathered, start, end


def _check_same_topic(
    folder: Path, topic: str, bounds: dict[int, Bounds], archived: dict[int, int], known: Ledger
) -> None:
    count = archive.partition_count(folder, topic)
    before = archive.ledger(folder).ids.get(topic)
    if count is not None and before and known.ids.get(topic, before) != before:
        raise LogError(
            f"{folder} holds another log of {topic}, which was made anew since: export to another folder"
        )
    if count is not None and count != len(bounds) and count not in {each.partitions for each in known.grown}:
        raise LogError(
            f"{folder} holds {topic} with {count} partitions, now it has {len(bounds)}: export to another folder"
        )
    for partition, reached in archived.items():
        if reached > bounds[partition].end:
            raise LogError(
                f"{folder} holds {topic} partition {partition} up to offset {reached:,}, but Kafka ends at "
                f"{bounds[partition].end:,}: the topic was made anew; export to another folder"
            )
