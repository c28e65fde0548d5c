"""Where a replay reads from: the topics, or their archive. Both give the same records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from agents.record import Record
from replay import archive
from replay.kafka_log import Bounds, KafkaLog, LogError
from replay.state_snapshot import PartitionState, Snapshot, newest_snapshot
from runtime.settings import Settings
from topics.catalog import ACTIVITY, DEAD_LETTERS, PROFILES
from topics.profile import Erasure, Profile, decode_profile


class Addressee(NamedTuple):
    """What a simulated delivery knows of a supplier's profile: no address, only whether there is one."""

    has_address: bool
    zone: str | None


UNKNOWN_ADDRESSEE = Addressee(has_address=False, zone=None)
"""Somebody of whom the profiles say nothing."""
ASSUMED_ADDRESSEE = Addressee(has_address=True, zone=None)
"""Everybody, where profiles were not archived."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the reading of a partition starts, and with what state (None: at the log's own beginning)."""

    offset: int
    state: PartitionState | None = None


class OpenSource(Protocol):
    """A source while it is open; partitions are numbered as in Kafka."""

    def bounds(self) -> dict[int, Bounds]:
        """Partition -> the offsets of `supplier.activity` that there are; LogError if there is no such log."""
        ...

    def beginning(self, partition: int) -> Beginning:
        """Where to start; LogError when the log is cut and no state reaches to where it begins."""
        ...

    def records(self, partition: int, start: int, end: int) -> Iterator[Sequence[Record]]:
        """Batches of `supplier.activity` of the offsets [start, end), in offset order."""
        ...

    def dead_letters(self) -> Iterator[Record]:
        """What the live workers refused, as far as the source has it."""
        ...

    def addressees(self, partition: int) -> dict[str, Addressee] | None:
        """The newest profile of each supplier; None if the source has no profiles at all."""
        ...


@dataclass(frozen=True)
class KafkaSource:
    """The topics themselves. `state_folder`: the archive whose snapshot of state a cut log starts from."""

    settings: Settings
    state_folder: Path | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"Kafka at {self.settings.kafka}"

    @contextmanager
    def opened(self) -> Iterator[OpenSource]:
        """Connect for as long as the context lasts."""
        with KafkaLog(self.settings) as log:
            yield _OpenKafka(log, self.state_folder)


@dataclass(frozen=True)
class ArchiveSource:
    """What `success export` wrote into `folder`."""

    folder: Path

    @property
    def name(self) -> str:
        """For people."""
        return f"the archive {self.folder}"

    @contextmanager
    def opened(self) -> Iterator[OpenSource]:
        """Check that there is an archive."""
        yield _OpenArchive(self.folder)


Source = KafkaSource | ArchiveSource


@dataclass
class _OpenKafka:
    log: KafkaLog
    state_folder: Path | None

    def bounds(self) -> dict[int, Bounds]:
        return self.log.bounds(ACTIVITY)

    def beginning(self, partition: int) -> Beginning:
        begin = self.log.bounds(ACTIVITY)[partition].begin
        return _beginning(partition, begin, self.state_folder, "Kafka", "--state DIR")

    def records(self, partition: int, start: int, end: int) -> Iterator[Sequence[Record]]:
        for records, _ in self.log.read(ACTIVITY, partition, start, end):
            yield records

    def dead_letters(self) -> Iterator[Record]:
        for partition, held in self.log.bounds(DEAD_LETTERS).items():
            for records, _ in self.log.read(DEAD_LETTERS, partition, held.begin, held.end):
                yield from records

    def addressees(self, partition: int) -> dict[str, Addressee] | None:
        held = self.log.bounds(PROFILES)[partition]
        found: dict[str, Addressee] = {}
        for records, _ in self.log.read(PROFILES, partition, held.begin, held.end):
            _note_profiles(records, found)
        return found


@dataclass
class _OpenArchive:
    folder: Path

    def bounds(self) -> dict[int, Bounds]:
        return archive.bounds(self.folder, ACTIVITY)

    def beginning(self, partition: int) -> Beginning:
        begin = self.bounds()[partition].begin
        return _beginning(partition, begin, self.folder, "the archive", "`success export --state`")

    def records(self, partition: int, start: int, end: int) -> Iterator[Sequence[Record]]:
        return archive.read(self.folder, ACTIVITY, partition, start, end)

    def dead_letters(self) -> Iterator[Record]:
        for partition in range(archive.partition_count(self.folder, DEAD_LETTERS) or 0):
            for records in archive.read(self.folder, DEAD_LETTERS, partition):
                yield from records

    def addressees(self, partition: int) -> dict[str, Addressee] | None:
        if archive.partition_count(self.folder, PROFILES) is None:
            return None
        found: dict[str, Addressee] = {}
        for records in archive.read(self.folder, PROFILES, partition):
            _note_profiles(records, found)
        return found


def _beginning(partition: int, begin: int, state_folder: Path | None, where: str, remedy: str) -> Beginning:
    """The log's own beginning if it is whole, else a state that reaches at least to where it begins."""
    if begin == 0:
        return Beginning(0)
    cut = f"{where} has partition {partition} of {ACTIVITY} only from offset {begin:,} on"
    snapshot = newest_snapshot(state_folder) if state_folder is not None else None
    if snapshot is None:
        raise LogError(
            f"{cut}, and a score needs the whole log: give an exported snapshot of state with {remedy}"
        )
    state = snapshot.partition(partition)
    if state.offset < begin:
        raise LogError(
            f"{cut}, and the snapshot of state of {snapshot.taken} ends before that, at {state.offset:,}: "
            "export the state before the log is cut (`success export --state`, with each export)"
        )
    return Beginning(state.offset, state)


def _note_profiles(records: list[Record] | list[archive.ArchivedRecord], found: dict[str, Addressee]) -> None:
    for record in records:
        profile = decode_profile(record.key, record.value)
        if isinstance(profile, Profile):
            found[profile.id] = Addressee(bool(profile.email), profile.timezone)
        elif isinstance(profile, Erasure):
            found.pop(profile.id, None)


__all__ = [
    "ASSUMED_ADDRESSEE",
    "Addressee",
    "ArchiveSource",
    "KafkaSource",
    "OpenSource",
    "Snapshot",
    "Source",
]
