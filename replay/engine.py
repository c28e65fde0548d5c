"""Runs a whole log through the machine: every partition, every variant, in as many processes as are wanted."""

from __future__ import annotations

import gc
import multiprocessing
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from agents.collector import tune_collector
from agents.state_record import META_KEY, StateHeader
from replay.kafka_log import LogError
from replay.life import Life
from replay.outreach import Outreach
from replay.source import ASSUMED_ADDRESSEE, UNKNOWN_ADDRESSEE, Addressee, OpenSource, Source
from replay.stream import Stream, as_played, log_append_time
from replay.tables import Tables
from replay.variant import Variant
from scoring.state import decode
from scoring.time import NEVER
from topics.partitioner import partition_of

SMALL = 50_000
"""So many records are read faster in one process than another one starts."""


@dataclass(frozen=True)
class Job:
    """What to replay; times in ms. Results go to `out/<variant>/<table>/<partition>.parquet`.

    `until` None: the greatest event time of the log. `supplier_id`: this one only. `played`: the log was filled by
    `success run`, whose clock followed the events. `step_ms`: see `Life`.
    """

    source: Source
    variants: tuple[Variant, ...]
    out: Path
    since: int = 0
    until: int | None = None
    supplier_id: str | None = None
    played: bool = False
    step_ms: int = 0


@dataclass
class Outcome:
    """What was read; `until` is the moment that the results are of (ms)."""

    records: int = 0
    events: int = 0
    unknown: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    suppliers: int = 0
    late: set[str] = field(default_factory=set)
    last_event_at: int = 0
    until: int = 0
    from_state: dict[int, int] = field(default_factory=dict)
    """Partition -> the offset that a snapshot of state reached, where the log's beginning was gone."""
    assumes_addresses: bool = False
    """There were no profiles: everybody was taken to have an address, in the policy's time zone."""

    def add(self, other: Outcome) -> None:
        """Take over what another worker has read."""
        self.records += other.records
        self.events += other.events
        self.unknown += other.unknown
        self.refused += other.refused
        self.suppliers += other.suppliers
        self.late |= other.late
        self.last_event_at = max(self.last_event_at, other.last_event_at)
        self.from_state |= other.from_state
        self.assumes_addresses |= other.assumes_addresses


class PartitionReplay:
    """One partition: read it once, then close it at the moment that is looked at."""

    def __init__(self, job: Job, source: OpenSource, partition: int, outcome: Outcome) -> None:
        self._job, self._partition, self._outcome = job, partition, outcome
        self._tables = [
            Tables(
                job.out / variant.name,
                f"{partition:05d}",
                job.since,
                NEVER if job.until is None else job.until,
            )
            for variant in job.variants
        ]
        self._stream = Stream(partition, source.partitions(), as_played if job.played else log_append_time)
        self._lives: dict[str, tuple[Life, ...]] = {}
        self._states: dict[bytes, bytes] = {}
        self._addressees = self._read_addressees(source)

    def read(self, source: OpenSource) -> Iterator[int]:
        """Read the partition to its end, and yield how many records each batch had."""
        lives, only = self._lives, self._job.supplier_id
        for records in source.records(self._partition, self._begin(source)):
            for told in self._stream.read(records):
                supplier_id = told.event.subject
                if only is not None and supplier_id != only:
                    continue
                versions = lives.get(supplier_id) or self._meet(supplier_id)
                for life in versions:
                    life.tell(told)
            self._take()
            self._outcome.records += len(records)
            yield len(records)
        self._note_stream()

    def finish(self, until: int) -> None:
        """Let time pass up to `until` for everybody, and write what is left."""
        for key in self._states:
            if key != META_KEY:
                supplier_id = key.decode()
                if self._job.supplier_id in {None, supplier_id} and supplier_id not in self._lives:
                    self._meet(supplier_id)
        for supplier_id, versions in self._lives.items():
            for life, tables in zip(versions, self._tables, strict=True):
                life.close(until)
                tables.take(life)
                tables.conclude(life, late=supplier_id in self._stream.late)
        for tables in self._tables:
            tables.close()
        self._outcome.suppliers += sum(versions[0].final is not None for versions in self._lives.values())

    def _begin(self, source: OpenSource) -> int:
        """Where to start reading; takes over the state if there is one to start from."""
        beginning = source.beginning(self._partition)
        state = beginning.state
        if state is not None:
            if any(variant.scale is not None for variant in self._job.variants):
                raise LogError(
                    "the log's beginning is gone: a state that was scored with the usual weights can't be continued "
                    "with others; replay an archive that holds everything"
                )
            self._states = state.values
            self._stream.stream_time = state.stream_time
            self._outcome.from_state[self._partition] = state.offset
        return beginning.offset

    def _meet(self, supplier_id: str) -> tuple[Life, ...]:
        until = NEVER if self._job.until is None else self._job.until
        raw = self._states.get(supplier_id.encode())
        versions = []
        for variant in self._job.variants:
            outreach = None
            if variant.policy is not None:
                outreach = Outreach(supplier_id, variant.policy, self._addressee(supplier_id))
            life = Life(
                supplier_id, until=until, outreach=outreach, step_ms=self._job.step_ms, scale=variant.scale
            )
            if raw is not None:
                life.state, life.holds = decode(StateHeader.body(raw)), StateHeader.of(raw).offset
            versions.append(life)
        self._lives[supplier_id] = tuple(versions)
        return self._lives[supplier_id]

    def _read_addressees(self, source: OpenSource) -> dict[str, Addressee] | None:
        if all(variant.policy is None for variant in self._job.variants):
            return {}
        found = source.addressees(self._partition)
        self._outcome.assumes_addresses |= found is None
        return found

    def _addressee(self, supplier_id: str) -> Addressee:
        if self._addressees is None:
            return ASSUMED_ADDRESSEE
        return self._addressees.get(supplier_id, UNKNOWN_ADDRESSEE)

    def _take(self) -> None:
        for versions in self._lives.values():
            for life, tables in zip(versions, self._tables, strict=True):
                tables.take(life)

    def _note_stream(self) -> None:
        stream, outcome = self._stream, self._outcome
        outcome.events += stream.events
        outcome.unknown += stream.unknown
        outcome.refused.update(stream.refused)
        outcome.late |= stream.late
        outcome.last_event_at = max(outcome.last_event_at, stream.last_event_at)


def run(
    job: Job, processes: int | None = None, on_records: Callable[[int], None] = lambda _count: None
) -> Outcome:
    """Replay; the tables are in `job.out` when it returns. `on_records` hears of progress.

    Raises LogError when the log can't be replayed.
    """
    with job.source.opened() as source:
        count, size = source.partitions(), source.size()
    partitions = list(range(count))
    if job.supplier_id is not None:
        partitions = [partition_of(job.supplier_id.encode(), count)]
    if processes is None:
        processes = 1 if size < SMALL else multiprocessing.cpu_count()
    shares = [partitions[number::processes] for number in range(min(processes, len(partitions)))]
    if len(shares) == 1:
        return _run_here(job, shares[0], on_records)
    return _run_in_processes(job, shares, on_records)


def _run_here(job: Job, partitions: Sequence[int], on_records: Callable[[int], None]) -> Outcome:
    outcome = Outcome()
    with _calm_collector():
        with job.source.opened() as source:
            replays = [PartitionReplay(job, source, partition, outcome) for partition in partitions]
            for replay in replays:
                for count in replay.read(source):
                    on_records(count)
        outcome.until = outcome.last_event_at if job.until is None else job.until
        for replay in replays:
            replay.finish(outcome.until)
    return outcome


@contextmanager
def _calm_collector() -> Iterator[None]:
    """Collect garbage as seldom as a worker process does, for as long as this process replays."""
    before = gc.get_threshold()
    tune_collector()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _run_in_processes(
    job: Job, shares: Sequence[Sequence[int]], on_records: Callable[[int], None]
) -> Outcome:
    """Each process reads its share; when all have, they are told up to when time is to pass."""
    context = multiprocessing.get_context("spawn")
    workers: dict[Connection[Any, Any], BaseProcess] = {}
    try:
        for share in shares:
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=_work, args=(job, share, theirs), daemon=True)
            process.start()
            theirs.close()
            workers[ours] = process
        last = max(_gather(workers, on_records))
        until = last if job.until is None else job.until
        for connection in workers:
            connection.send(until)
        total = Outcome()
        for outcome in _gather(workers, on_records):
            total.add(outcome)
        total.until = until
        return total
    finally:
        for connection, process in workers.items():
            connection.close()
            process.terminate()
            process.join()


def _gather(
    workers: dict[Connection[Any, Any], BaseProcess], on_records: Callable[[int], None]
) -> Iterator[Any]:
    """Yield each worker's next result; LogError when one of them fails."""
    waiting = set(workers)
    while waiting:
        for ready in cast("list[Connection[Any, Any]]", wait(list(waiting))):
            try:
                kind, what = ready.recv()
            except EOFError:
                raise LogError(
                    "a process of the replay died; is there memory enough? (--processes 1)"
                ) from None
            if kind == "failed":
                raise what
            if kind == "records":
                on_records(what)
            else:
                waiting.discard(ready)
                yield what


def _work(job: Job, partitions: Sequence[int], parent: Connection[Any, Any]) -> None:
    """A process: one share of the partitions."""
    tune_collector()
    outcome = Outcome()
    try:
        with job.source.opened() as source:
            replays = [PartitionReplay(job, source, partition, outcome) for partition in partitions]
            for replay in replays:
                for count in replay.read(source):
                    parent.send(("records", count))
        parent.send(("read", outcome.last_event_at))
        until = parent.recv()
        for replay in replays:
            replay.finish(until)
        parent.send(("done", outcome))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent is to say it
        text = str(error) if isinstance(error, LogError) else traceback.format_exc()
        parent.send(("failed", LogError(text)))
