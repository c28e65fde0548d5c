"""The Faust table's store: partitions of plain bytes in memory, rebuilt from the changelog."""

# ruff: noqa: ARG002 - the arguments are those of Faust's interface

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from faust.serializers.schemas import Schema
from faust.stores import STORES
from faust.stores.base import Store
from faust.types import TP, EventT

from agents.engine.engine import Engine, EngineApp
from agents.engine.failure import WorkerFailedError
from agents.engine.record import Batch
from topics.outcome import unreadable_by_kafka

SCHEME = "partitions"


class RawSchema(Schema[bytes, bytes]):
    """Keys and values stay as they are: bytes, or a `Batch` of records."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:
        """The key as it is."""
        return message.key

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        """The value as it is."""
        return message.value


class PartitionStore(Store[bytes, bytes]):
    """Changelog values by key, a dict a partition.

    Filled by recovery, where of two values of a key the one that holds more wins (the engine's `newest` says which),
    and by the folds, which own a partition's dict between recoveries. A partition that is revoked is dropped. Each has
    a mark: the offset in the changelog up to which it holds everything, so that nothing before it need be read again.
    """

    def __post_init__(self) -> None:
        """Start empty."""
        self._partitions: dict[int, dict[bytes, bytes]] = {}
        self._marks: dict[int, int] = {}
        self.outdated = 0
        """Records of workers that had lost their partition when they wrote; ignored."""

    def partition(self, number: int) -> dict[bytes, bytes]:
        """The values of one partition; the caller may change them."""
        return self._partitions.setdefault(number, {})

    def marked(self) -> dict[int, int]:
        """How far each partition reaches in the changelog."""
        return dict(self._marks)

    def wrote(self, number: int, records: int, last_offset: int) -> None:
        """Move a partition's mark after so many records of ours, the last at this offset, which it now holds.

        Another worker's record among them, which we do not hold, leaves the mark where it is until the next recovery.
        """
        mark = self._marks.get(number)
        if mark is not None and mark + records == last_offset:
            self._marks[number] = last_offset

    # --- recovery

    def begin(self, offsets: Mapping[int, int]) -> None:
        """Expect what follows these offsets of the changelog."""
        for number, offset in offsets.items():
            self._marks.setdefault(number, offset)

    def apply_changelog_batch(
        self, batch: Iterable[EventT[Any]], to_key: Callable[[Any], bytes], to_value: Callable[[Any], bytes]
    ) -> None:
        """Merge what recovery has read. Faust would only log an error and go on, so one stops the worker."""
        try:
            for event in batch:
                message = event.message
                self._take(message.partition, cast("Batch", message.value), message.offset)
        except Exception as error:  # noqa: BLE001 - whatever it is, going on would lose state
            self._engine.fail_stop("the state cannot be recovered", error)

    def _take(self, number: int, records: Batch, last_offset: int) -> None:
        mark = self._marks.get(number)
        if mark is None:
            return  # read for an assignment that is over
        if records.follows > mark + 1:
            raise WorkerFailedError(
                f"records {mark + 1} to {records.follows - 1} of the state of partition {number} are missing"
            )
        self._merge(number, records)
        self._marks[number] = max(mark, last_offset)

    def _merge(self, number: int, records: Iterable[Any]) -> None:
        values, newest = self.partition(number), self._engine.newest
        for record in records:
            if record.headers and (refusal := unreadable_by_kafka(record.headers)):
                raise WorkerFailedError(
                    f"the state of partition {number}, offset {record.offset}: {refusal.reason}"
                )
            if record.value is None:
                values.pop(record.key, None)
                continue
            old = values.get(record.key)
            winner = newest(old, record.value)
            if winner is old:
                self.outdated += 1
            else:
                values[record.key] = winner

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Drop what others own now; what stays is merged on, so nothing may fold until then."""
        await self._engine.close_lanes()
        changelog = self.table.changelog_topic.get_topic_name()
        for tp in revoked:
            if tp.topic == changelog:
                self._drop(tp.partition)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Hand the recovered partitions to the engine. Faust would not notice an error here."""
        active = {tp.partition for tp in active_tps}
        for number in self._partitions.keys() - active:
            self._drop(number)
        if self.outdated:
            self.log.info("ignored %d late records of workers that had lost their partition", self.outdated)
        try:
            self._engine.on_recovered(active)
        except Exception as error:  # noqa: BLE001 - see above
            self._engine.fail_stop("the recovered state cannot be used", error)

    def _drop(self, number: int) -> None:
        self._marks.pop(number, None)
        self._partitions.pop(number, None)

    @property
    def _engine(self) -> Engine:
        return cast("EngineApp", self.app).engine

    # --- the rest of Faust's interface: reading works, writing is for the folds

    def persisted_offset(self, tp: TP) -> int | None:
        """Where recovery may begin: everything up to this offset is here. None if nothing is known."""
        return self._marks.get(tp.partition)

    def __getitem__(self, key: bytes) -> bytes:
        for values in self._partitions.values():
            if key in values:
                return values[key]
        raise KeyError(key)

    def __setitem__(self, key: bytes, value: bytes) -> None:
        raise NotImplementedError("the state is written by the folds, through the changelog")

    def __delitem__(self, key: bytes) -> None:
        raise NotImplementedError("the state is written by the folds, through the changelog")

    def __iter__(self) -> Iterator[bytes]:
        for values in self._partitions.values():
            yield from values

    def __len__(self) -> int:
        return sum(map(len, self._partitions.values()))

    def clear(self) -> None:
        """Forget everything."""
        self._partitions.clear()
        self._marks.clear()

    def reset_state(self) -> None:
        """Forget everything."""
        self.clear()

    async def backup_partition(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to back up: the changelog is all there is."""

    def restore_backup(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to restore: the changelog is all there is."""


def register() -> None:
    """Make `SCHEME` known to Faust."""
    STORES.aliases[SCHEME] = f"{__name__}:{PartitionStore.__name__}"
