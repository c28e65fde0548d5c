"""Local snapshots of partitions' state, so that a restart reads only the end of the changelog.

A snapshot only ever saves time. It is used when the log itself proves that it belongs to it: the record that it
ends with must still lie at the same offset with the same append time. Whatever speaks against a snapshot (it is
damaged, of another cluster, topic, number of partitions or schema, older than the log reaches back, or newer than
the log) is logged in one line, and the partition is recovered from the whole changelog.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from agents import snapshot_file
from agents.kafka import client_options
from agents.snapshot_file import Snapshot, SnapshotHeader, SnapshotRefusedError
from runtime.settings import Settings

CHECK_WITHIN_S = 5.0
POLL_MS = 500
STALE_MS = 12 * 3600 * 1000
"""A snapshot older than this may have missed tombstones: they leave the log 24 h (`delete.retention.ms`) later."""
LEFTOVER_S = 3600.0
"""A temporary file this old was left by a process that was killed while it wrote."""

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Mark(NamedTuple):
    """How far a partition's state in memory reaches in the changelog."""

    offset: int
    """It holds every record up to this one; it may hold later ones as well."""
    append_ms: int | None = None
    """When the broker appended that record; None if there is none, or nobody knows."""


Restored = dict[int, tuple[Mark, dict[bytes, bytes]]]


class Snapshots:
    """The snapshots of one state topic in one folder, which workers of one machine may share."""

    def __init__(self, settings: Settings, topic: str, folder: Path, now_ms: Callable[[], int]) -> None:
        self.topic = topic
        self._settings = settings
        self._folder = folder / topic
        self._now_ms = now_ms
        self._cluster = ""
        self._saved: dict[int, Mark] = {}
        self._saving: set[asyncio.Task[None]] = set()
        self._trouble: str | None = None
        """Why none could be written the last time; said once."""
        self._thread = ThreadPoolExecutor(1, "snapshots")
        """Writes one at a time."""

    async def open(self) -> None:
        """Learn which cluster this is, and clear away what killed workers left half-written."""
        admin = AIOKafkaAdminClient(**client_options(self._settings))
        await admin.start()
        try:
            self._cluster = (await admin.describe_cluster())["cluster_id"] or ""
        finally:
            await admin.close()
        await asyncio.to_thread(self._clear_away)

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*self._saving)
        self._thread.shutdown(wait=False)

    def path(self, partition: int) -> Path:
        """Where the snapshot of a partition lies."""
        return self._folder / f"{partition}.snapshot"

    # --- writing

    async def save(self, partition: int, mark: Mark, records: Mapping[bytes, bytes]) -> None:
        """Write a snapshot unless nothing is new; what fails is logged, the old one stays.

        The records are copied at once (their bytes are not); they are written in a thread.
        """
        if not self._is_new(partition, mark):
            return
        write = partial(self._write, partition, mark, list(records), list(records.values()))
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, write)
        except OSError as error:
            self._complain(error.strerror or str(error))
        else:
            self._trouble = None

    def save_behind(self, partition: int, mark: Mark, records: Mapping[bytes, bytes]) -> None:
        """The same without waiting, for a partition that goes to somebody else."""
        task = asyncio.create_task(self.save(partition, mark, records))
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)

    def _complain(self, trouble: str) -> None:
        if self._trouble != trouble:
            logger.warning(
                "no snapshots can be written to %s: %s; a restart will read more of the changelog",
                self._folder,
                trouble,
            )
        self._trouble = trouble

    def _is_new(self, partition: int, mark: Mark) -> bool:
        return mark.append_ms is not None and self._saved.get(partition) != mark

    def _write(self, partition: int, mark: Mark, keys: list[bytes], values: list[bytes]) -> None:
        began = time.monotonic()
        path = self.path(partition)
        assert mark.append_ms is not None  # noqa: S101 - see _is_new
        if self._has_newer(path, mark.append_ms):
            return
        header = SnapshotHeader(
            cluster=self._cluster,
            topic=self.topic,
            partition=partition,
            partitions=self._settings.partitions,
            offset=mark.offset,
            append_ms=mark.append_ms,
            records=len(keys),
        )
        snapshot_file.write(path, header, keys, values)
        self._saved[partition] = mark
        logger.debug("%s: %d records in %.2f s", path, len(keys), time.monotonic() - began)

    def _has_newer(self, path: Path, append_ms: int) -> bool:
        """Whether whoever has the partition now has written one of this log already."""
        try:
            with Snapshot(path) as there:
                return there.header.cluster == self._cluster and there.header.append_ms > append_ms
        except (FileNotFoundError, SnapshotRefusedError):
            return False

    # --- reading

    async def load(self, partitions: Iterable[int]) -> Restored:
        """The state of those partitions whose snapshot may be used."""
        began = time.monotonic()
        refused: dict[int, str] = {}
        with ExitStack() as files:
            found: dict[int, Snapshot] = {}
            for partition in partitions:
                snapshot = await _tried(partition, partial(self._open, partition), refused)
                if snapshot is not None:
                    found[partition] = files.enter_context(snapshot)
            restored = await self._read(found, refused)
        self._log_refused(refused)
        if restored:
            logger.info(
                "%d records of %d partitions restored from snapshots in %.1f s",
                sum(len(records) for _, records in restored.values()),
                len(restored),
                time.monotonic() - began,
            )
        return restored

    async def _read(self, found: Mapping[int, Snapshot], refused: dict[int, str]) -> Restored:
        restored: Restored = {}
        headers = {partition: snapshot.header for partition, snapshot in found.items()}
        for partition, objection in (await self._objections(headers)).items():
            if objection:
                refused[partition] = objection
                continue
            records = await _tried(partition, found[partition].read, refused)
            if records is not None:
                mark = Mark(headers[partition].offset, headers[partition].append_ms)
                restored[partition] = mark, records
                self._saved[partition] = mark
        return restored

    def _open(self, partition: int) -> Snapshot:
        """A partition's snapshot, if it is one of this state. Raises `SnapshotRefusedError`."""
        snapshot = Snapshot(self.path(partition))
        try:
            self._check(snapshot.header, partition)
        except SnapshotRefusedError:
            with snapshot:
                raise
        return snapshot

    def _check(self, header: SnapshotHeader, partition: int) -> None:
        for what, found, wanted in (
            ("cluster", header.cluster, self._cluster),
            ("topic", header.topic, self.topic),
            ("partition", header.partition, partition),
            ("number of partitions", header.partitions, self._settings.partitions),
        ):
            if found != wanted:
                raise SnapshotRefusedError(f"it is of another {what} ({found}, here {wanted})")

    def _log_refused(self, refused: Mapping[int, str]) -> None:
        """A line for each reason."""
        alike: dict[str, list[str]] = {}
        for partition, objection in refused.items():
            alike.setdefault(objection, []).append(str(partition))
        for objection, partitions in alike.items():
            logger.warning(
                "in %s the snapshot of partition %s is not used: %s; the whole changelog is read",
                self._folder,
                ", ".join(partitions),
                objection,
            )

    async def _objections(self, headers: Mapping[int, SnapshotHeader]) -> dict[int, str | None]:
        """What the log says against each snapshot."""
        if not headers:
            return {}
        consumer = AIOKafkaConsumer(
            **client_options(self._settings), enable_auto_commit=False, auto_offset_reset="none"
        )
        try:
            await consumer.start()
            return await self._ask_log(consumer, headers)
        except KafkaError as error:
            return dict.fromkeys(headers, f"the log could not be asked ({error!r})")
        finally:
            await consumer.stop()

    async def _ask_log(
        self, consumer: AIOKafkaConsumer, headers: Mapping[int, SnapshotHeader]
    ) -> dict[int, str | None]:
        places = {number: TopicPartition(self.topic, number) for number in headers}
        begins = await consumer.beginning_offsets(places.values())
        ends = await consumer.end_offsets(places.values())
        found = {
            number: self._out_of_reach(header, begins[places[number]], ends[places[number]])
            for number, header in headers.items()
        }
        asked = {places[number]: headers[number] for number, objection in found.items() if not objection}
        last_records = await append_times(consumer, {tp: header.offset for tp, header in asked.items()})
        for tp, header in asked.items():
            if tp not in last_records:
                found[tp.partition] = f"the log did not answer within {CHECK_WITHIN_S:.0f} s"
            elif last_records[tp] is None:
                found[tp.partition] = f"the record it ends with ({header.offset}) is no longer in the log"
            elif last_records[tp] != header.append_ms:
                found[tp.partition] = (
                    f"the log has another record at {header.offset}, where it ends: the topic was made anew"
                )
        return found

    def _out_of_reach(self, header: SnapshotHeader, begin: int, end: int) -> str | None:
        if header.offset >= end:
            return f"it reaches to {header.offset}, the log ends at {end}: the topic was made anew"
        if header.offset < begin:
            return f"it ends at {header.offset}, the log begins at {begin}"
        age_ms = self._now_ms() - header.append_ms
        if header.offset < end - 1 and age_ms > STALE_MS:
            return f"it is {age_ms / 3_600_000:.0f} h old, and the log has gone on"
        return None

    # --- files

    def _clear_away(self) -> None:
        for path in self._folder.glob(f"*{snapshot_file.TEMPORARY}"):
            with suppress(OSError):  # another worker was faster, or it is another user's
                if time.time() - path.stat().st_mtime > LEFTOVER_S:
                    path.unlink()


async def _tried(partition: int, read: Callable[[], T], refused: dict[int, str]) -> T | None:
    """What a thread reads; None if there is nothing, or if it is refused."""
    try:
        return await asyncio.to_thread(read)
    except FileNotFoundError:
        return None
    except SnapshotRefusedError as error:
        refused[partition] = str(error)
    except OSError as error:
        refused[partition] = error.strerror or str(error)
    return None


async def append_times(
    consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int | None]:
    """When the record at each of these offsets was appended, ms; None where it is no longer there.

    What the log has not answered in time is left out.
    """
    found: dict[TopicPartition, int | None] = {}
    waiting = set(offsets)
    consumer.assign(list(offsets))
    for tp, offset in offsets.items():
        consumer.seek(tp, offset)
    deadline = time.monotonic() + CHECK_WITHIN_S
    while waiting and time.monotonic() < deadline:
        for tp, records in (await consumer.getmany(*waiting, timeout_ms=POLL_MS, max_records=1)).items():
            waiting.discard(tp)
            found[tp] = records[0].timestamp if records[0].offset == offsets[tp] else None
    return found
