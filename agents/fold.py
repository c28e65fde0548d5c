"""One partition's suppliers: raw records in, snapshots, signals, dead letters and changelog records out.

No Kafka, no Faust, no asyncio, no clock: the live agent, `success run`, replay and the benchmark fold with
the same object, so the same log gives the same answers in all of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import islice
from operator import itemgetter

from agents.record import DeadLetter, Record, log_append_time
from agents.slices import SLICE, at_once
from agents.state_record import META_KEY, Meta, StateHeader, pack
from agents.supplier_records import is_supplier, read, write
from scoring.activity import too_many
from scoring.health import snapshot
from scoring.identity import signal_id
from scoring.machine import advance, apply, next_due
from scoring.signals import CONDITION_MET, HEALTH_UPDATED, MILESTONE_ACHIEVED, RISK_CHANGED, Signal
from scoring.state import State
from scoring.time import NEVER
from topics.catalog import ACTIVITY, CONDITIONS, MILESTONES, RISK_CHANGES
from topics.dead_letters import dead_letter_headers
from topics.decoding import ActivityEvent, Refusal
from topics.decoding import decode as decode_record
from topics.encoding import SOURCE, encode_event
from topics.partitioner import partition_of

READ_AT_ONCE = 2_000
"""Records that are decoded without a pause, some 5 ms."""
FOLD_AT_ONCE = 500
"""Events that are folded without one, some 5 ms."""
GRACE_MS = 60_000
"""How long after its due time something due waits for late events (contract section 4)."""

TOPIC_OF_SIGNAL = {RISK_CHANGED: RISK_CHANGES, MILESTONE_ACHIEVED: MILESTONES, CONDITION_MET: CONDITIONS}

SignalRecord = tuple[str, bytes, bytes]
"""(catalogue name of the topic, key, value)"""
Place = tuple[int, int] | tuple[int, int, int, str]
"""(index of the record, 1) of what an event brought about; (index, 0, due, supplier) of what fired before it."""


class WrongStateError(Exception):
    """The recovered state does not fit what it is to be continued with; the message says what to do."""


MOST_WAITING = 500
MOST_CHANGES = 500
"""Of one supplier in a batch, and in a snapshot before it has to be sent: far beyond what people do, but a service in
a loop must not make a snapshot that fits into no message (16 MiB of `success.health`)."""


@dataclass(slots=True)
class Supplier:
    """A supplier whose state is decoded."""

    id: str
    state: State
    touched: bool = False
    waiting: list[tuple[ActivityEvent, int, Record]] = field(default_factory=list)
    """Events of the batch that were read and not folded yet, each with its index in it and the record it was in."""


@dataclass(slots=True)
class Flush:
    """What a partition owes the outside, in the order of sending: acked health before the signals.

    `changelog` goes last and in order. In a `whole` one its last record, the partition's meta, vouches for everything
    up to `watermark`. Another is of some suppliers only and vouches for nothing beyond them.
    """

    health: list[tuple[bytes, bytes]]
    signals: list[SignalRecord]
    dead_letters: list[DeadLetter]
    changelog: list[tuple[bytes, bytes]]
    watermark: int
    whole: bool = True

    def __bool__(self) -> bool:
        return bool(self.changelog)


@dataclass(slots=True)
class Counters:
    """What a partition has seen over its life; part of its meta record."""

    events: int = 0
    unknown: int = 0
    refused: int = 0


@dataclass(slots=True)
class PartitionFold:
    """Folds the records of one partition of `supplier.activity`.

    `append_time` gives a record's append time in ms. With `grace_ms` None nothing fires in the stream: the
    driver calls `fire_due`. `epoch` tells one incarnation of the topic from the next, whose offsets start
    again. At most `capacity` decoded states are kept between flushes; when so many suppliers have changed since
    the last one, the next is due.
    """

    partition: int
    partitions: int
    append_time: Callable[[Record], int] = log_append_time
    grace_ms: int | None = GRACE_MS
    topic: str = ACTIVITY
    epoch: int = 0
    capacity: int = 20_000
    most_waiting: int = MOST_WAITING

    watermark: int = -1
    """Offset of the last record handled."""
    stream_time: int = 0
    counters: Counters = field(default_factory=Counters)
    full: bool = False
    """Flush before anything else is read: a snapshot has as many changes as may be, or so many suppliers have changed
    that memory is short."""

    _encoded: dict[bytes, bytes] = field(default_factory=dict)
    _suppliers: dict[str, Supplier] = field(default_factory=dict)
    _touched: list[Supplier] = field(default_factory=list)
    _heap: list[tuple[int, str]] = field(default_factory=list)
    _scheduled: dict[str, int] = field(default_factory=dict)
    _signals: list[SignalRecord] = field(default_factory=list)
    _placed: list[tuple[Place, SignalRecord]] = field(default_factory=list)
    """Signals of the batch that is being folded, each with its place in the stream."""
    _times: list[int] = field(default_factory=list)
    """The stream time at each record of that batch."""
    _dead_letters: list[tuple[int, DeadLetter]] = field(default_factory=list)
    """Each with the offset of its record."""
    _flushed_watermark: int = -1
    _ahead_until: int = -1
    _crowded: bool = False
    """So many events wait at one supplier that they are to be folded before more are read."""

    # --- recovery

    def recover(self, encoded: dict[bytes, bytes]) -> None:
        """Continue from these changelog values by key (newest each); the mapping is the fold's from now on.

        Raises `WrongStateError` when they belong to another number of partitions.
        """
        self._encoded = encoded
        heap: list[tuple[int, str]] = []
        for key, raw in encoded.items():
            if not is_supplier(key):
                continue
            header = StateHeader.of(raw)
            if header.epoch == self.epoch:
                self._ahead_until = max(self._ahead_until, header.offset)
            if header.due < NEVER:
                heap.append((header.due, key.decode()))
        heapify(heap)
        self._heap = heap
        self._scheduled = {supplier_id: due for due, supplier_id in heap}
        self._recover_meta()

    def _recover_meta(self) -> None:
        raw = self._encoded.get(META_KEY)
        if raw is None:
            return
        header, meta = StateHeader.of(raw), Meta.of(raw)
        if meta.partitions != self.partitions:
            raise WrongStateError(
                f"the state of {self.topic} was built for {meta.partitions} partitions, now there are "
                f"{self.partitions}, which moves suppliers to partitions that do not know them: "
                f"go back to {meta.partitions}, or delete the state topic to rebuild it from the log"
            )
        self.stream_time = header.stream_time
        self.counters = Counters(meta.events, meta.unknown, meta.refused)
        if header.epoch == self.epoch:
            self.watermark = self._flushed_watermark = header.offset

    # --- records and time

    def process(self, records: Iterable[Record]) -> None:
        """Fold records in offset order; those at or below the watermark are skipped."""
        incoming = iter(records)
        while at_once(self.processing(incoming)):
            pass

    def processing(self, incoming: Iterator[Record]) -> Generator[int, None, bool]:
        """`process`, with pauses; to be finished before anything else is asked. Whether there is more to come.

        Records are read one after another, then folded supplier by supplier, which keeps one state at a time in the
        processor's caches. Before each event the supplier's time moves to where the stream's was when the event was
        read, and signals are put in the order of the stream: neither depends on where a batch ends.
        """
        waiting: list[Supplier] = []
        more = True
        while not self._crowded and (more := self._read(islice(incoming, READ_AT_ONCE), waiting)):
            yield 0
            if len(waiting) >= self.capacity:
                break
        self._crowded = False
        folded = 0
        for supplier in waiting:
            folded += len(supplier.waiting)
            self._fold_waiting(supplier)
            if folded >= FOLD_AT_ONCE:
                folded = 0
                yield 0
        if self.grace_ms is not None:
            yield from self._firing(self.stream_time - self.grace_ms)
        self._put_in_order()
        self._times.clear()
        if len(self._touched) >= self.capacity:
            self.full = True
        return more

    def _read(self, records: Iterable[Record], waiting: list[Supplier]) -> bool:
        """Decode records and let the events wait at their suppliers, who go into `waiting`; whether there were any."""
        times, suppliers, most_waiting = self._times, self._suppliers, self.most_waiting
        record, read = None, 0
        stamped = self.append_time is log_append_time  # as it always is in a worker: a call saved
        for record in records:
            offset = record.offset
            if offset <= self.watermark:
                continue
            self.watermark = offset
            append_ms = record.timestamp if stamped else self.append_time(record)
            event = decode_record(record.key, record.value, record.headers, append_ms)
            if type(event) is not ActivityEvent:
                self._set_aside(record, event)
                continue
            supplier = suppliers.get(event.subject) or self._load(event.subject)
            if supplier is None:
                self._refuse(record, self._wrong_partition(event.subject))
                continue
            at = event.at if event.at < append_ms else append_ms  # noqa: FURB136 - twice as fast as min()
            if at > self.stream_time:  # noqa: PLR1730 - as above
                self.stream_time = at
            read += 1
            if offset <= self._ahead_until and self._already_holds(event.subject, offset):
                continue
            if not supplier.waiting:
                waiting.append(supplier)
            supplier.waiting.append((event, len(times), record))
            times.append(self.stream_time)
            if len(supplier.waiting) >= most_waiting:
                self._crowded = True
                break
        self.counters.events += read
        return record is not None

    def _fold_waiting(self, supplier: Supplier) -> None:
        """Fold what waits at a supplier; replay hands it on instead."""
        state, supplier_id, grace, times = supplier.state, supplier.id, self.grace_ms, self._times
        for event, place, record in supplier.waiting:
            if (reason := too_many(state, event)) is not None:
                self._refuse(record, reason)
                self.counters.events -= 1
                continue
            if grace is not None and state.due <= times[place] - grace:
                self._gather_fired(supplier_id, advance(state, supplier_id, times[place] - grace))
            signals = apply(state, supplier_id, event)
            if signals:
                self._gather(supplier_id, signals, (place, 1))
        supplier.waiting = []
        if len(state.changes) >= MOST_CHANGES:
            self.full = True
        if not supplier.touched:
            self._touch(supplier)
        if state.due < self._scheduled.get(supplier_id, NEVER):
            self._schedule(supplier)

    def fire_due(self, to_ms: int) -> int:
        """Fire everything due at or before `to_ms` for all suppliers, in due order; the number of signals."""
        return sum(self.firing_due(to_ms))

    def firing_due(self, to_ms: int) -> Generator[int, None, None]:
        """`fire_due` in slices, each with its number of signals.

        It may be left off after any of them: the time has moved all the same, and what did not fire yet does so
        with the next records, the next call, or after a recovery; for each supplier before anything later.
        """
        self.stream_time = max(self.stream_time, to_ms + (self.grace_ms or 0))
        for fired in self._firing(to_ms):
            self._put_in_order()
            yield fired

    def next_due(self) -> int | None:
        """A lower bound in ms of when something falls due next; None if nothing will."""
        return self._heap[0][0] if self._heap else None

    def _firing(self, to_ms: int) -> Generator[int, None, None]:
        """Fire in due order; after each slice of suppliers the number of its signals."""
        heap, fired, looked_at = self._heap, 0, 0
        while heap and heap[0][0] <= to_ms:
            if looked_at == SLICE:
                yield fired
                fired = looked_at = 0
            due, supplier_id = heappop(heap)
            if self._scheduled.get(supplier_id) != due:
                continue  # a later pass scheduled it earlier; this entry is a leftover
            looked_at += 1
            supplier = self._suppliers.get(supplier_id) or self._load(supplier_id)
            if supplier is None:
                raise WrongStateError(f"a due time of {supplier_id} without its state in {self.partition}")
            del self._scheduled[supplier_id]
            if next_due(supplier.state) > due:
                self._schedule(supplier)
                continue
            signals = advance(supplier.state, supplier_id, due)
            if next_due(supplier.state) <= due:
                raise WrongStateError(f"{supplier_id} is still due at {due} after firing it")
            if not supplier.touched:
                self._touch(supplier)
            self._schedule(supplier)
            self._gather_fired(supplier_id, signals)
            fired += len(signals)
        if fired:
            yield fired

    def _schedule(self, supplier: Supplier) -> None:
        due = supplier.state.due
        if due < NEVER:
            self._scheduled[supplier.id] = due
            heappush(self._heap, (due, supplier.id))

    def _touch(self, supplier: Supplier) -> None:
        supplier.touched = True
        self._touched.append(supplier)

    # --- suppliers

    def _load(self, supplier_id: str) -> Supplier | None:
        """The supplier with its state, a new one if it is at home here; None if it belongs elsewhere."""
        key = supplier_id.encode()
        state = read(self._encoded, key)
        if state is None:
            if partition_of(key, self.partitions) != self.partition:
                return None
            state = State()
        supplier = self._suppliers[supplier_id] = Supplier(supplier_id, state)
        return supplier

    def _already_holds(self, supplier_id: str, offset: int) -> bool:
        """Whether a flush that was cut short had already written this supplier's state up to `offset`."""
        raw = self._encoded.get(supplier_id.encode())
        if raw is None:
            return False
        header = StateHeader.of(raw)
        return header.epoch == self.epoch and header.offset >= offset

    # --- what goes out

    def _gather(self, supplier_id: str, signals: Iterable[Signal], place: Place) -> None:
        key = supplier_id.encode()
        for signal in signals:
            value = encode_event(signal.type, signal.id, SOURCE, supplier_id, signal.at, signal.data)
            self._placed.append((place, (TOPIC_OF_SIGNAL[signal.type], key, value)))

    def _gather_fired(self, supplier_id: str, signals: Iterable[Signal]) -> None:
        """What time fired comes before the record that moved the stream past its due time, in due order."""
        grace = self.grace_ms or 0
        for signal in signals:
            moved_by = bisect_left(self._times, signal.at + grace)
            self._gather(supplier_id, (signal,), (moved_by, 0, signal.at, supplier_id))

    def _put_in_order(self) -> None:
        self._placed.sort(key=itemgetter(0))
        self._signals += [record for _, record in self._placed]
        self._placed.clear()

    def _set_aside(self, record: Record, verdict: object) -> None:
        if isinstance(verdict, Refusal):
            self._refuse(record, verdict.reason)
        else:
            self.counters.unknown += 1

    def _refuse(self, record: Record, reason: str) -> None:
        self.counters.refused += 1
        headers = dead_letter_headers(reason, self.topic, self.partition, record.offset, list(record.headers))
        self._dead_letters.append((record.offset, (record.key, record.value, headers)))

    def _wrong_partition(self, supplier_id: str) -> str:
        home = partition_of(supplier_id.encode(), self.partitions)
        return (
            f"wrong_partition: {supplier_id} belongs on partition {home} of {self.partitions}, "
            "not here; use the murmur2 partitioner (librdkafka: partitioner=murmur2_random)"
        )

    def take_flush(self) -> Flush:
        """What there is to send since the last flush; empty if nothing was read and nothing fired.

        Send it in the order of the fields, then `confirm` it before folding on.
        """
        return at_once(self.taking_flush())

    def taking_flush(self) -> Generator[None, None, Flush]:
        """`take_flush`, with a pause after each slice of suppliers; to be finished before anything else is asked."""
        if self.watermark == self._flushed_watermark and not self._touched:
            return Flush([], [], [], [], self.watermark)
        touched = (supplier for supplier in self._touched if supplier.touched)
        flush = yield from self._taking(touched, whole=True)
        counters = self.counters
        meta = Meta(self.partitions, counters.events, counters.unknown, counters.refused)
        flush.changelog.append((META_KEY, pack(self._header(NEVER), meta.encode())))
        self.full = False
        return flush

    @property
    def has_signals(self) -> bool:
        """Whether signals wait to be sent."""
        return bool(self._signals)

    def taking_signals(self) -> Generator[None, None, Flush]:
        """`taking_flush` of those suppliers only that have signals to send: few, where a whole flush would be long.

        The meta record stays as it is: after a crash the log is read again from there, and whoever has a newer
        record is not folded twice.
        """
        keys = dict.fromkeys(key for _, key, _ in self._signals)
        return (yield from self._taking((self._suppliers[key.decode()] for key in keys), whole=False))

    def _taking(self, suppliers: Iterable[Supplier], *, whole: bool) -> Generator[None, None, Flush]:
        """All signals and dead letters, and these suppliers' snapshots and state records."""
        self._dead_letters.sort(key=itemgetter(0))  # what is refused when it is folded is noted later
        dead_letters = [letter for _, letter in self._dead_letters]
        watermark = self.watermark if whole else self._flushed_watermark
        flush = Flush([], self._signals, dead_letters, [], watermark, whole)
        self._signals, self._dead_letters = [], []
        for number, supplier in enumerate(suppliers, 1):
            if number % SLICE == 0:
                yield
            supplier.touched = False
            key, state = supplier.id.encode(), supplier.state
            if state.dirty:
                flush.health.append((key, self._snapshot_event(supplier.id, state)))
            flush.changelog += write(key, state, self._header(state.due))
        return flush

    def confirm(self, flush: Flush) -> None:
        """Take a flush that all brokers have acked as the state to continue from."""
        self._encoded.update(flush.changelog)
        if not flush.whole:
            self._touched = [supplier for supplier in self._touched if supplier.touched]
            return
        self._flushed_watermark = flush.watermark
        if len(self._suppliers) > self.capacity:
            self._forget_the_least_recent()
        self._touched = []

    def _forget_the_least_recent(self) -> None:
        """Let go of decoded states beyond `capacity`, those that were not just touched first."""
        for supplier in self._touched:
            self._suppliers[supplier.id] = self._suppliers.pop(supplier.id)
        for supplier_id in list(islice(self._suppliers, len(self._suppliers) - self.capacity)):
            del self._suppliers[supplier_id]

    def _header(self, due: int) -> StateHeader:
        return StateHeader(self.epoch, self.watermark, self.stream_time, due)

    @staticmethod
    def _snapshot_event(supplier_id: str, state: State) -> bytes:
        identity = signal_id(supplier_id, HEALTH_UPDATED, "", str(state.seq))
        at = state.evaluated_at
        return encode_event(HEALTH_UPDATED, identity, SOURCE, supplier_id, at, snapshot(state))

    def state_of(self, supplier_id: str) -> State | None:
        """The present state of a supplier that this partition knows; for reading only."""
        if supplier_id not in self._suppliers and supplier_id.encode() not in self._encoded:
            return None
        supplier = self._suppliers.get(supplier_id) or self._load(supplier_id)
        return supplier.state if supplier is not None else None

    def supplier_ids(self) -> set[str]:
        """All suppliers that this partition knows."""
        known = {key.decode() for key in self._encoded if is_supplier(key)}
        return known | set(self._suppliers)
