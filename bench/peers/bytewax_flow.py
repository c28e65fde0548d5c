"""Bytewax with recovery: state snapshots and offsets in its SQLite partitions at the end of every epoch.

Its own Kafka connector makes an object of each record; this source hands on tuples, which is faster.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from confluent_kafka import Consumer, KafkaError, TopicPartition

from bench.peers.folds import FOLDS, Folded
from bench.peers.job import Clock, Job, job
from runtime.collector import tune_collector

POLLED = 5_000
POLL_S = 0.01

Raw = tuple[bytes, bytes, int]


class LogPartition(StatefulSourcePartition[tuple[str, Raw], int]):
    """One partition of the log, to its end."""

    def __init__(self, work: Job, number: int, offset: int, clock: Clock) -> None:
        self._clock = clock
        self._offset = offset
        self._at_end = False
        self._consumer = Consumer(
            {
                "bootstrap.servers": work.kafka,
                "group.id": work.run,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        self._consumer.assign([TopicPartition(work.topic, number, offset)])

    def next_batch(self) -> list[tuple[str, Raw]]:
        """What has come."""
        if self._at_end:
            raise StopIteration
        batch = []
        for message in self._consumer.consume(POLLED, POLL_S):
            if (error := message.error()) is None:
                key = message.key()
                batch.append((key.decode(), (key, message.value(), message.timestamp()[1])))
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - so it is named
                self._at_end = True
            else:
                raise RuntimeError(str(error))
        if batch:
            self._clock.start()
        self._offset += len(batch)
        return batch

    def snapshot(self) -> int:
        """Where to go on."""
        return self._offset

    def close(self) -> None:
        """Leave."""
        self._consumer.close()


class Log(FixedPartitionedSource[tuple[str, Raw], int]):
    """The topic."""

    def __init__(self, work: Job, clock: Clock) -> None:
        self._work = work
        self._clock = clock

    def list_parts(self) -> list[str]:
        """Kafka's partitions."""
        return [str(number) for number in range(self._work.partitions)]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> LogPartition:
        """One of them."""
        del step_id
        return LogPartition(self._work, int(for_part), resume_state or 0, self._clock)


class SupplierLogic(op.StatefulBatchLogic[Raw, bytes, bytes]):
    """One supplier; says its state at the end of the log. `first` knows the state before the first event."""

    def __init__(self, first: Callable[[bytes], Folded], folded: Folded | None) -> None:
        self._first = first
        self._folded = folded

    def on_batch(self, values: list[Raw]) -> tuple[Iterable[bytes], bool]:
        """Fold."""
        if self._folded is None:
            self._folded = self._first(values[0][0])
        take = self._folded.take
        for value in values:
            take(*value)
        return (), False

    def on_eof(self) -> tuple[Iterable[bytes], bool]:
        """The final state, for the comparison."""
        return (self.snapshot(),), False

    def snapshot(self) -> bytes:
        """For recovery."""
        return self._folded.pack() if self._folded else b""


class Finals(DynamicSink[tuple[str, bytes]], StatelessSinkPartition[tuple[str, bytes]]):
    """Keeps the final states."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Finals:
        """There is one worker only."""
        del step_id, worker_index, worker_count
        return self

    def write_batch(self, items: list[tuple[str, bytes]]) -> None:
        """Keep."""
        self.states.update((key, packed.hex()) for key, packed in items)


def main() -> None:
    """Measure."""
    tune_collector()
    work, clock, finals = job(), Clock(), Finals()
    kind: Any = FOLDS[work.fold]
    known = work.known_states()

    def first(key: bytes) -> Folded:
        folded: Folded = known.pop(key) if key in known else kind()
        return folded

    def logic(snapshot: bytes | None) -> SupplierLogic:
        return SupplierLogic(first, None if snapshot is None else kind.unpack(snapshot))

    flow = Dataflow("bench")
    log = op.input("log", flow, Log(work, clock))
    op.output("final", op.stateful_batch("fold", log, logic), finals)
    recovery = work.path("recovery")
    recovery.mkdir()
    init_db_dir(recovery, 1)  # type: ignore[no-untyped-call]
    kept = RecoveryConfig(recovery)  # type: ignore[no-untyped-call]
    cli_main(flow, epoch_interval=timedelta(seconds=work.interval_s), recovery_config=kept)  # type: ignore[no-untyped-call]
    clock.report()
    work.path("final.json").write_text(json.dumps(finals.states), encoding="utf-8")


if __name__ == "__main__":
    main()
