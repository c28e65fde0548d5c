"""Where a replay reads from: the topics, or their archive. Both give the same records."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from agents.cluster.rules_log import RulesLog
from agents.engine.record import Headers, Record
from replay.log.kafka_log import Bounds, KafkaLog, LogError
from runtime.settings import Settings
from topics.catalog import ACTIVITY, DEAD_LETTERS, PROFILES
from topics.lines import NotLinesError, checked, read_line
from topics.outcome import unreadable_by_kafka
from topics.partitioner import Homes
from topics.profile import Erasure, Profile, decode_profile

if TYPE_CHECKING:
    from replay.log.starting_state import PartitionState


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

    def homes(self) -> Homes:
        """Where suppliers are at home, and where they were before the topics have grown."""
        ...

    def rules(self) -> RulesLog:
        """The versions of the configuration, and where each partition went over to them."""
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

    def profiles(self, partition: int) -> Iterator[Profile | Erasure] | None:
        """The profiles and erasures that can be read, in order; None if the source has no profiles at all."""
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


@dataclass(frozen=True)
class FileSource:
    """A recorded file (JSON Lines of CloudEvents and profiles), as `success run` plays it; no stack, no extra."""

    path: Path

    @property
    def name(self) -> str:
        """For people."""
        return f"the file {self.path}"

    @contextmanager
    def opened(self) -> Iterator[OpenSource]:
        """Read the file; LogError where it is none of ours."""
        activity, profiles = list[Record](), list[Record]()
        try:
            with self.path.open("rb") as lines:
                for text in checked(lines, str(self.path)):
                    if text.strip():
                        topic, key, value = read_line(text)
                        there = activity if topic == ACTIVITY else profiles
                        there.append(_Line(key, value, (), len(there), 0))
        except OSError as error:
            raise LogError(f"can't read {self.path}: {error.strerror}") from error
        except NotLinesError as error:
            raise LogError(str(error)) from error
        yield _OpenFile(activity, profiles)


Source = KafkaSource | ArchiveSource | FileSource


class _Line(NamedTuple):
    key: bytes | None
    value: bytes | None
    headers: Headers
    offset: int
    timestamp: int


@dataclass
class _OpenFile:
    activity: list[Record]
    profile_records: list[Record]

    def bounds(self) -> dict[int, Bounds]:
        return {0: Bounds(0, len(self.activity))}

    def homes(self) -> Homes:
        return Homes(1)

    def rules(self) -> RulesLog:
        return RulesLog()

    def beginning(self, partition: int) -> Beginning:
        del partition
        return Beginning(0)

    def records(self, partition: int, start: int, end: int) -> Iterator[Sequence[Record]]:
        del partition
        yield self.activity[start:end]

    def dead_letters(self) -> Iterator[Record]:
        return iter(())

    def profiles(self, partition: int) -> Iterator[Profile | Erasure] | None:
        del partition
        return _readable([self.profile_records])


@dataclass
class _OpenKafka:
    log: KafkaLog
    state_folder: Path | None

    def bounds(self) -> dict[int, Bounds]:
        return self.log.bounds(ACTIVITY)

    def homes(self) -> Homes:
        return self.log.ledger().homes(len(self.bounds()), ACTIVITY)

    def rules(self) -> RulesLog:
        return self.log.rules()

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

    def profiles(self, partition: int) -> Iterator[Profile | Erasure] | None:
        held = self.log.bounds(PROFILES)[partition]
        return _readable(records for records, _ in self.log.read(PROFILES, partition, held.begin, held.end))


@dataclass
class _OpenArchive:
    folder: Path

    def bounds(self) -> dict[int, Bounds]:
        from replay.log import archive  # noqa: PLC0415 - an extra, as in all of it

        return archive.bounds(self.folder, ACTIVITY)

    def homes(self) -> Homes:
        from replay.log import archive  # noqa: PLC0415 - an extra, as in all of it

        return archive.ledger(self.folder).homes(len(self.bounds()), ACTIVITY)

    def rules(self) -> RulesLog:
        from replay.log import archive  # noqa: PLC0415 - an extra, as in all of it

        return archive.rules(self.folder)

    def beginning(self, partition: int) -> Beginning:
        begin = self.bounds()[partition].begin
        return _beginning(partition, begin, self.folder, "the archive", "`success export --state`")

    def records(self, partition: int, start: int, end: int) -> Iterator[Sequence[Record]]:
        from replay.log import archive  # noqa: PLC0415 - an extra, as in all of it

        return archive.read(self.folder, ACTIVITY, partition, start, end)

    def dead_letters(self) -> Iterator[Record]:
        from replay.log import archive  # noqa: PLC0415 - an extra, as in all of it

        for partition in range(archive.partition_count(self.folder, DEAD_LETTERS) or 0):
            for records in archive.read(self.folder, DEAD_LETTERS, partition):
                yield from records

    def profiles(self, partition: int) -> Iterator[Profile | Erasure] | None:
        from replay.log import archive  # noqa: PLC0415 - an extra, as in all of it

        if archive.partition_count(self.folder, PROFILES) is None:
            return None
        return _readable(archive.read(self.folder, PROFILES, partition))


def _beginning(partition: int, begin: int, state_folder: Path | None, where: str, remedy: str) -> Beginning:
    """The log's own beginning if it is whole, else a state that reaches at least to where it begins."""
    if begin == 0:
        return Beginning(0)
    cut = f"{where} has partition {partition} of {ACTIVITY} only from offset {begin:,} on"
    snapshot = None
    if state_folder is not None:
        from replay.log.starting_state import newest_snapshot  # noqa: PLC0415 - an extra

        snapshot = newest_snapshot(state_folder)
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


def _readable(batches: Iterable[Sequence[Record]]) -> Iterator[Profile | Erasure]:
    for records in batches:
        for record in records:
            if unreadable_by_kafka(record.headers):
                continue
            profile = decode_profile(record.key, record.value)
            if isinstance(profile, Profile | Erasure):
                yield profile


def addressees(source: OpenSource, partition: int) -> dict[str, Addressee] | None:
    """What the newest profile of each supplier of a partition says; None if the source has no profiles at all."""
    profiles = source.profiles(partition)
    if profiles is None:
        return None
    found: dict[str, Addressee] = {}
    for profile in profiles:
        if isinstance(profile, Profile):
            found[profile.id] = Addressee(bool(profile.email), profile.timezone)
        else:
            found.pop(profile.id, None)
    return found


def names(source: OpenSource, wanted: Collection[str]) -> dict[str, str]:
    """What these suppliers call their business, of those whose newest profile says it."""
    found: dict[str, str] = {}
    for partition in source.bounds() if wanted else ():
        for profile in source.profiles(partition) or ():
            found.pop(profile.id, None)
            if isinstance(profile, Profile) and profile.business_name and profile.id in wanted:
                found[profile.id] = profile.business_name
    return found


__all__ = [
    "ASSUMED_ADDRESSEE",
    "Addressee",
    "ArchiveSource",
    "FileSource",
    "KafkaSource",
    "OpenSource",
    "Source",
    "addressees",
    "names",
]
