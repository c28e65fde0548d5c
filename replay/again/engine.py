"""Runs a whole log through the machine: every partition, every variant, in as many processes as are wanted."""

from __future__ import annotations

import gc
import multiprocessing
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from agents.engine.record import log_append_time
from agents.health.suppliers import Supplier
from agents.health.telling import tell
from agents.health.timeline import Step
from replay.again.life import Life
from replay.again.outreach import Outreach
from replay.again.rows import Counts, Nowhere, Rows, Sink, concluded, gathered
from replay.again.variant import Variant
from replay.log.eras import earlier_eras, present_era
from replay.log.kafka_log import LogError
from replay.log.offsets import WHOLE, Offsets, Span
from replay.log.source import (
    ASSUMED_ADDRESSEE,
    UNKNOWN_ADDRESSEE,
    Addressee,
    OpenSource,
    Source,
    addressees,
)
from replay.log.stream import Stream, Told, as_played, batches
from runtime.collector import tune_collector
from runtime.configuration import vocabulary_of_all
from scoring.health.rules import SHIPPED, Rules
from scoring.health.state import State, decode, encode
from scoring.time import NEVER
from topics.partitioner import Homes, partition_of

SMALL = 50_000
"""So many records are read faster in one process than another one starts."""


@dataclass(frozen=True)
class Job:
    """What to replay; times in ms. Results go to `out/<variant>/<table>/<partition>.parquet`.

    `out` None: what comes of it is counted only (`Outcome.counts`), of one variant without a policy (else ValueError).
    `until` None: the greatest event time of the log. `supplier_id`: this one only. `played`: the log was filled by
    `success run`, whose clock followed the events. `step_ms`: see `Life`. `offsets`: what of each partition; a first
    one only for variants without a policy (ValueError), as nothing says when messages were decided before it.
    `sinks`: makes what takes the rows of a variant (its name) and partition, in place of `out`; in one process.
    """

    source: Source
    variants: tuple[Variant, ...]
    out: Path | None
    since: int = 0
    until: int | None = None
    supplier_id: str | None = None
    played: bool = False
    step_ms: int = 0
    offsets: Offsets = WHOLE
    sinks: Callable[[str, int], Sink] | None = None

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if self.offsets.first is not None and any(variant.policy is not None for variant in self.variants):
            raise ValueError("a first offset is for variants without a policy")
        if self.counts and (len(self.variants) != 1 or self.variants[0].policy is not None):
            raise ValueError("one variant without a policy can be counted")

    @property
    def every_rules(self) -> tuple[Rules, ...]:
        """Those of its variants."""
        return tuple(variant.rules for variant in self.variants)

    @property
    def counts(self) -> bool:
        """Whether nobody reads rows."""
        return self.out is None and self.sinks is None

    @property
    def stops_in_stream(self) -> bool:
        """Time passes only as far as the records move it, as in a worker that stopped at the last offset.

        Messages are decided up to one moment for all partitions, so a policy lets time pass up to the last event.
        """
        by_offset = self.until is None and self.offsets.last is not None
        return by_offset and all(variant.policy is None for variant in self.variants)

    def spans(self, source: OpenSource) -> dict[int, Span]:
        """What is replayed of each partition; LogError for what there is not."""
        held = source.bounds()
        self.offsets.check_fits(source.homes())
        spans = self.offsets.spans(held)
        if self.supplier_id is None:
            return spans
        partition = partition_of(self.supplier_id.encode(), len(held))
        return {partition: self.offsets.of_supplier(spans, self.supplier_id, partition)}


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
    spans: dict[int, Span] = field(default_factory=dict)
    """Partition -> what was replayed of it, where offsets were chosen."""
    counts: Counts = field(default_factory=Counts)
    """What came of it, of a job without tables."""
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
        self.counts.add(other.counts)
        self.assumes_addresses |= other.assumes_addresses


class PartitionReplay:
    """One partition: read it once, then close it at the moment that is looked at."""

    def __init__(self, job: Job, source: OpenSource, partition: int, span: Span, outcome: Outcome) -> None:
        self._job, self._partition, self._span, self._outcome = job, partition, span, outcome
        self._groups = by_rules(job.variants)
        sinks = job.sinks or _files_of(job)
        self._tables = {variant.name: sinks(variant.name, partition) for variant in job.variants}
        self._window = job.since, NEVER if job.until is None else job.until
        self._homes = source.homes()
        self._rules = source.rules()
        self._stream = self._new_stream(partition, self._homes)
        self._late: set[str] = set()
        self._lives: dict[str, tuple[Life, ...]] = {}
        self._reporting = not span.first
        self._addressees = self._read_addressees(source)

    def read(self, source: OpenSource) -> Iterator[int]:
        """Read the partition to the end of its span, and yield how many records each batch had."""
        span, stream = self._span, self._stream
        begin = self._begin(source)
        if self._homes.grown and self._partition not in self._outcome.from_state:
            yield from self._read_before_growths(source)
            begin = present_era(self._homes, self._partition, source.bounds()[self._partition]).start
        records = source.records(self._partition, begin, span.end)
        for batch in batches(records, span.first):
            if not self._reporting and batch[0].offset >= span.first:
                self._begin_to_report()
            stream.process(batch)
            for tables in self._tables.values():
                tables.write_full()
            self._outcome.records += len(batch)
            yield len(batch)
        if not self._reporting:
            self._begin_to_report()
        self._note_stream()

    def _new_stream(self, partition: int, homes: Homes) -> Stream:
        append_time = as_played if self._job.played else log_append_time
        own = next((each.rules for each in self._job.variants if each.follows), SHIPPED)
        known = [self._rules.policy(number).rules for number in self._rules.versions]
        return Stream(
            partition,
            homes.partitions,
            append_time,
            rules=own,
            vocabulary=vocabulary_of_all([*self._job.every_rules, *known]),
            tell=self._tell,
            homes=homes,
            brings_home=False,
            on_switch=partial(self._switch, partition, homes),
        )

    def _switch(self, partition: int, homes: Homes, step: Step) -> None:
        """Let everybody who lives on a partition go over to other rules, in the variants that follow."""
        policy = self._rules.policy(step.rules.version)
        for supplier_id, versions in self._lives.items():
            if homes.of(supplier_id.encode()) != partition:
                continue
            for life, variants in zip(versions, self._groups, strict=True):
                if variants[0].follows:
                    life.switch(policy, step.through)
                    self._keep(variants, life)

    def _keep(self, variants: Sequence[Variant], life: Life) -> None:
        if not self._reporting:
            life.forget()
        elif self._job.counts:
            self._outcome.counts.take(life, *self._window)
        else:
            self._take(variants, gathered(life))

    def _tell_rules(self, stream: Stream) -> None:
        """Say where live scoring went over to which rules, if any variant follows it."""
        own = [each.rules for each in self._job.variants if each.follows]
        if own:
            tell(stream, self._rules, [SHIPPED, *own])
        else:
            stream.learn([])

    def _read_before_growths(self, source: OpenSource) -> Iterator[int]:
        """What this partition's suppliers did where they lived before; each record counts where it lies."""
        for era in earlier_eras(self._homes, source.bounds()):
            stream = self._new_stream(era.partition, era.homes)
            stream.tell = self._tell_of_ours
            self._tell_rules(stream)
            for batch in batches(source.records(era.partition, era.start, era.end), 0):
                stream.process(batch)
                for tables in self._tables.values():
                    tables.write_full()
                if era.partition == self._partition:
                    self._outcome.records += len(batch)
                    yield len(batch)
            self._late |= stream.late
            if era.partition == self._partition:
                self._note_counts(stream)

    def _tell_of_ours(self, supplier: Supplier, told: Sequence[Told]) -> None:
        if self._homes.of(supplier.id.encode()) == self._partition:
            self._tell(supplier, told)

    def finish(self, until: int | None) -> None:
        """Let time pass up to `until` for everybody, and write what is left.

        None: as far as the records have moved it, as a worker that has stopped there.
        """
        only, late = self._job.supplier_id, self._stream.late | self._late
        for supplier_id in self._stream.supplier_ids():
            if supplier_id not in self._lives and only in {None, supplier_id}:
                self._meet(supplier_id)
        for supplier_id, versions in self._lives.items():
            for life, variants in zip(versions, self._groups, strict=True):
                life.close(self._stream.fired_to if until is None else until)
                self._keep(variants, life)
                if self._job.counts:
                    self._outcome.counts.conclude(life)
                else:
                    self._take(variants, concluded(life, late=supplier_id in late))
        for tables in self._tables.values():
            tables.close()
        self._outcome.suppliers += sum(
            versions[0].final_level is not None for versions in self._lives.values()
        )

    def _begin(self, source: OpenSource) -> int:
        """Where to start reading; takes over the state if there is one to start from."""
        beginning = source.beginning(self._partition)
        state = beginning.state
        if state is not None:
            drafts = [variant for variant in self._job.variants if not variant.follows]
            if any(variant.rules != SHIPPED or self._rules.versions for variant in drafts):
                raise LogError(
                    "the log's beginning is gone: a state that was scored with the usual weights can't be continued "
                    "with others; replay an archive that holds everything"
                )
            self._span.check_reaches(self._partition, state.offset)
            if state.partitions not in {0, self._homes.partitions}:
                raise LogError(
                    f"the snapshot of state was taken with {state.partitions} partitions, now there are "
                    f"{self._homes.partitions}: export the state again (`success export --state`)"
                )
            self._stream.recover(state.values)
            self._outcome.from_state[self._partition] = state.offset
        self._tell_rules(self._stream)
        return beginning.offset

    def _tell(self, supplier: Supplier, told: Sequence[Told]) -> None:
        if self._job.supplier_id not in {None, supplier.id}:
            return
        versions = self._lives.get(supplier.id) or self._meet(supplier.id)
        for life, variants in zip(versions, self._groups, strict=True):
            life.tell(told)
            self._keep(variants, life)

    def _take(self, variants: Sequence[Variant], found: Iterable[tuple[int, str, Rows]]) -> None:
        for number, name, rows in found:
            self._tables[variants[number].name].add(name, rows)

    def _begin_to_report(self) -> None:
        """What a worker would have fired before this record is not reported."""
        self._reporting = True
        for versions in self._lives.values():
            for life in versions:
                life.pass_time(self._stream.fired_to)
                life.forget()

    def _meet(self, supplier_id: str) -> tuple[Life, ...]:
        until = NEVER if self._job.until is None else self._job.until
        known = self._stream.state_of(supplier_id) or State()
        versions: list[Life] = []
        for variants in self._groups:
            state = decode(encode(known)) if versions else known
            outreaches = outreaches_of(supplier_id, variants, self._addressees)
            rules, shows = variants[0].rules, not self._job.counts
            life = Life(supplier_id, state, until, outreaches, self._job.step_ms, rules, shows)
            if variants[0].follows:
                self._bring_up(life)
            versions.append(life)
        self._lives[supplier_id] = tuple(versions)
        return self._lives[supplier_id]

    def _bring_up(self, life: Life) -> None:
        """Begin with the rules that are in force where the stream is."""
        stream = self._stream
        version = stream.rules.version
        if version in self._rules.versions and version:
            life.begin_with(self._rules.policy(version), stream.bring_up(life.state, life.id))
        else:
            life.rules = stream.rules

    def _read_addressees(self, source: OpenSource) -> dict[str, Addressee] | None:
        if all(variant.policy is None for variant in self._job.variants):
            return {}
        found = addressees(source, self._partition)
        self._outcome.assumes_addresses |= found is None
        return found

    def _note_stream(self) -> None:
        self._note_counts(self._stream)
        self._outcome.late |= {each for each in self._late if each in self._lives}

    def _note_counts(self, stream: Stream) -> None:
        outcome = self._outcome
        outcome.events += stream.counters.events
        outcome.unknown += stream.counters.unknown
        outcome.refused.update(stream.reasons)
        outcome.late |= stream.late
        outcome.last_event_at = max(outcome.last_event_at, stream.last_event_at)


def _files_of(job: Job) -> Callable[[str, int], Sink]:
    out = job.out
    if out is None:
        return lambda _variant, _partition: Nowhere()
    from replay.again.tables import Tables  # noqa: PLC0415 - an extra

    until = NEVER if job.until is None else job.until
    return lambda variant, partition: Tables(out / variant, f"{partition:05d}", job.since, until)


def by_rules(variants: Iterable[Variant]) -> list[list[Variant]]:
    """The variants in groups that score alike, in their order: each group is scored once."""
    groups: list[list[Variant]] = []
    for variant in variants:
        for group in groups:
            if group[0].follows != variant.follows:
                continue
            if group[0].rules == variant.rules and group[0].policy is not None and variant.policy is not None:
                group.append(variant)
                break
        else:
            groups.append([variant])
    return groups


def outreaches_of(
    supplier_id: str, variants: Iterable[Variant], addressees: Mapping[str, Addressee] | None
) -> tuple[Outreach, ...]:
    """A simulated delivery for each variant that has a policy."""
    addressee = ASSUMED_ADDRESSEE
    if addressees is not None:
        addressee = addressees.get(supplier_id, UNKNOWN_ADDRESSEE)
    return tuple(
        Outreach(supplier_id, variant.policy, addressee) for variant in variants if variant.policy is not None
    )


def run(
    job: Job, processes: int | None = None, on_records: Callable[[int], None] = lambda _count: None
) -> Outcome:
    """Replay; the tables are in `job.out` when it returns. `on_records` hears of progress.

    Raises LogError when the log can't be replayed.
    """
    with job.source.opened() as source:
        spans = job.spans(source)
    if processes is None:
        size = sum(span.end - span.begin for span in spans.values())
        processes = 1 if size < SMALL else multiprocessing.cpu_count()
    shares = [dict(list(spans.items())[number::processes]) for number in range(min(processes, len(spans)))]
    alone = len(shares) == 1
    outcome = _run_here(job, shares[0], on_records) if alone else _run_in_processes(job, shares, on_records)
    if job.offsets:
        outcome.spans = spans
    return outcome


def _run_here(job: Job, spans: dict[int, Span], on_records: Callable[[int], None]) -> Outcome:
    outcome = Outcome()
    with _calm_collector():
        with job.source.opened() as source:
            replays = [
                PartitionReplay(job, source, partition, span, outcome) for partition, span in spans.items()
            ]
            for replay in replays:
                for count in replay.read(source):
                    on_records(count)
        outcome.until = outcome.last_event_at if job.until is None else job.until
        for replay in replays:
            replay.finish(None if job.stops_in_stream else outcome.until)
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
    job: Job, shares: Sequence[dict[int, Span]], on_records: Callable[[int], None]
) -> Outcome:
    """Each process reads its share; when all have, they are told up to when time is to pass."""
    forks = _may_fork()
    context: ForkContext | SpawnContext = get_context("fork") if forks else get_context("spawn")
    workers: dict[Connection[Any, Any], BaseProcess] = {}
    try:
        for share in shares:
            ours, theirs = context.Pipe()
            inherited = [*workers, ours] if forks else []
            process: BaseProcess = context.Process(
                target=_work, args=(job, share, theirs, inherited), daemon=True
            )
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


def _may_fork() -> bool:
    """Whether this process may be forked, which saves each one importing all of it: it has no threads of its own."""
    return sys.platform == "linux" and threading.active_count() == 1


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


def _work(
    job: Job, spans: dict[int, Span], parent: Connection[Any, Any], inherited: Sequence[Connection[Any, Any]]
) -> None:
    """A process: one share of the partitions. `inherited`: ends of pipes that are the parent's, who may die."""
    for connection in inherited:
        connection.close()
    with _calm_collector():
        _play_share(job, spans, parent)


def _play_share(job: Job, spans: dict[int, Span], parent: Connection[Any, Any]) -> None:
    outcome = Outcome()
    try:
        with job.source.opened() as source:
            replays = [
                PartitionReplay(job, source, partition, span, outcome) for partition, span in spans.items()
            ]
            for replay in replays:
                for count in replay.read(source):
                    parent.send(("records", count))
        parent.send(("read", outcome.last_event_at))
        until = parent.recv()
        for replay in replays:
            replay.finish(None if job.stops_in_stream else until)
        parent.send(("done", outcome))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent is to say it
        text = str(error) if isinstance(error, LogError) else traceback.format_exc()
        parent.send(("failed", LogError(text)))
