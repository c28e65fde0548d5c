"""One partition's suppliers: raw records in, snapshots, signals, dead letters and changelog records out.

No Kafka, no Faust, no asyncio, no clock: the live agent, `success run`, replay and the benchmark fold with
the same object, so the same log gives the same answers in all of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from agents.engine.failure import RefusedError
from agents.engine.record import Record, log_append_time
from agents.health.moved_here import came_before, moved_from
from agents.health.outgoing import HEADERS, Flush, Outgoing, Place
from agents.health.slices import SLICE, at_once
from agents.health.state_codec import META_KEY, OF_A_VERSION, SCHEMA_VERSION, Meta, StateHeader, pack
from agents.health.stored_supplier import is_supplier, owed, write
from agents.health.suppliers import Owed, Supplier, Suppliers
from agents.health.tally import Tally
from agents.health.timeline import LookUp, Step, Timeline
from agents.health.timers import Timers
from runtime.configuration import vocabulary_of
from scoring.health.events import too_many
from scoring.health.machine import advance, apply, next_due
from scoring.health.rules import SHIPPED, Rules
from scoring.health.signals import HEALTH_UPDATED, Signal
from scoring.health.snapshot import snapshot
from scoring.health.state import State
from scoring.identity import snapshot_id
from scoring.time import NEVER
from topics.activity_types import Vocabulary
from topics.catalog import ACTIVITY
from topics.decoding import ActivityEvent, Refusal, type_of
from topics.decoding import decode as decode_record
from topics.encoding import SOURCE, encode_event
from topics.outcome import dead_letter
from topics.partitioner import Homes

READ_AT_ONCE = 2_000
"""Records that are decoded without a pause, some 5 ms."""
FOLD_AT_ONCE = 500
"""Events that are folded without one, some 5 ms."""
SLICES_A_FLUSH = 160
"""Slices of suppliers whose timers fire between two flushes, so that very many are not all in memory at once."""
GRACE_MS = 60_000
"""How long after its due time something due waits for late events (contract section 4)."""


class WrongStateError(Exception):
    """The recovered state does not fit what it is to be continued with; the message says what to do."""


class OtherCountError(WrongStateError, RefusedError):
    """It was built for another number of partitions."""


MOST_WAITING = 500
MOST_CHANGES = 500
MOST_GOALS = 5_000
"""Of one supplier in a batch, and in a snapshot before it has to be sent: far beyond what people do, but a service in
a loop must not make a snapshot that fits into no message (16 MiB of `success.health`)."""


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
    again. An event that lies here by another count of partitions, one that `homes` knows, is in the flush, to be sent
    to its home. At most `capacity` decoded states are kept between flushes; when so many suppliers have changed
    since the last one, the next is due.
    """

    partition: int
    partitions: int
    append_time: Callable[[Record], int] = log_append_time
    grace_ms: int | None = GRACE_MS
    topic: str = ACTIVITY
    epoch: int = 0
    capacity: int = 20_000
    most_waiting: int = MOST_WAITING
    rules: Rules = SHIPPED
    homes: Homes = field(default_factory=lambda: Homes(0))
    """By default of `partitions`, as ever."""
    brings_home: bool = True
    """Whether what lies astray is to be sent home."""
    vocabulary: Vocabulary | None = None
    """By which records are read; None: that of `rules`."""
    is_told: bool = False
    """Switches of rules are told by `learn`, before anything is read or fired."""

    watermark: int = -1
    """Offset of the last record handled."""
    stream_time: int = 0
    counters: Counters = field(default_factory=Counters)
    full: bool = False
    """Flush before anything else is read: a snapshot has as many changes as may be, or so many suppliers have changed
    that memory is short. Of very many timers the rest fires after it."""

    _suppliers: Suppliers = field(init=False)
    _touched: list[Supplier] = field(default_factory=list)
    _timers: Timers = field(default_factory=Timers)
    _outgoing: Outgoing = field(default_factory=Outgoing)
    _tally: Tally = field(default_factory=Tally)
    _times: list[int] = field(default_factory=list)
    """The stream time at each record of the batch that is being folded."""
    _moved_here: dict[int, int] = field(default_factory=dict)
    """Partition → offset there of the last record that was moved here from it."""
    _flushed_watermark: int = -1
    _ahead_until: int = -1
    _loaded_to_fire: list[str] = field(default_factory=list)
    """Suppliers whose state was decoded only for a timer: let go of at the next flush."""
    _owed: Owed = field(default_factory=Owed)
    _timeline: Timeline = field(init=False)
    _made_by: Meta | None = None
    """The meta record that the state was recovered with."""
    _held: Record | None = None
    """What was read at a switch of rules: it is folded by the new ones, once all before it is flushed."""
    _behind: list[str] = field(default_factory=list)
    """Suppliers whose state may not have seen the last switch yet."""
    _brought_up: int = 0
    """The version that all states have seen."""
    _crowded: bool = False
    """So many events wait at one supplier that they are to be folded before more are read."""
    read_by_others: int = 0
    """Workers who had the partition before may have folded records below this offset."""

    def __post_init__(self) -> None:
        """Nothing was ever otherwise, unless somebody knows better."""
        self.homes = self.homes if self.homes.partitions else Homes(self.partitions)
        self._timeline = Timeline(self.rules)
        self._suppliers = Suppliers(self.partition, self.partitions)

    # --- recovery

    def recover(self, encoded: dict[bytes, bytes]) -> None:
        """Continue from these changelog values by key (newest each); the mapping is the fold's from now on.

        Raises `WrongStateError` when they belong to another number of partitions.
        """
        self._suppliers.encoded = encoded
        due: list[tuple[int, str]] = []
        waiting: list[tuple[int, str]] = []
        for key, raw in encoded.items():
            if not is_supplier(key):
                continue
            header = StateHeader.of(raw)
            if header.epoch == self.epoch:
                self._ahead_until = max(self._ahead_until, header.offset)
            if header.due < NEVER:
                due.append((header.due, key.decode()))
            if (since := owed(raw)) is not None:
                waiting.append((since, key.decode()))
        self._owed = Owed({supplier_id: since for since, supplier_id in sorted(waiting)})
        self._timers = Timers(due)
        self._recover_meta()

    def _recover_meta(self) -> None:
        raw = self._suppliers.encoded.get(META_KEY)
        if raw is None:
            return
        header, meta = StateHeader.of(raw), Meta.of(raw)
        if meta.partitions != self.partitions:
            raise OtherCountError(
                f"the state of {self.topic} was built for {meta.partitions} partitions, now there are "
                f"{self.partitions}, which moves suppliers to partitions that do not know them: stop all workers, run "
                f"`success topics grow {self.partitions}`, start them again"
            )
        self._made_by, self._brought_up = meta, meta.brought_up
        if not self.is_told:
            self._check_rules(meta)
        self.stream_time = header.stream_time
        self._moved_here = dict(meta.moved)
        self.counters = Counters(meta.events, meta.unknown, meta.refused)
        if header.epoch == self.epoch:
            self.watermark = self._flushed_watermark = header.offset

    def _check_rules(self, meta: Meta) -> None:
        """States made by other rules are refused: scores of both would mix."""
        made_by = self._made_by_digest(meta)
        if made_by != self.rules.digest:
            raise WrongStateError(
                f"the state of {self.topic} was made by other rules (digest {made_by[:12]}) than this worker's "
                f"({self.rules.digest[:12]}), and scores of both would mix: start it with the rules it was made by "
                "(SUCCESS_CONFIG_DIR), or stop all workers and delete the state topic to rebuild it from the log by "
                "the new ones"
            )

    def _made_by_digest(self, meta: Meta) -> str:
        return meta.rules or (SHIPPED.digest if meta.events else self.rules.digest)

    # --- switches of rules

    def learn(
        self,
        steps: Sequence[Step],
        before: str = "",
        others: Iterable[Rules] = (),
        look_up: LookUp | None = None,
    ) -> None:
        """Know where the partition goes over to which rules: all switches, in order; go over where it has been.

        The first call says too what it began with: the rules whose digest is `before`, or, without a switch, the
        state's, among `rules` and `others`. `look_up` is `Timeline.learn`'s. Raises `WrongStateError` where the state
        was made by none of them.
        """
        if self.is_told:
            self.is_told = False
            self._begin_with(steps, before, others)
        self._timeline.learn(steps, look_up)
        self._take_switches(self.watermark + 1)
        if not self._behind and self._brought_up < self.rules.version:
            self._behind = self._suppliers.ids()

    def _begin_with(self, steps: Sequence[Step], before: str, others: Iterable[Rules]) -> None:
        meta, made_by = self._made_by, ""
        known = {each.digest: each for each in (*others, self.rules)}
        if meta is not None:
            made_by = self._made_by_digest(meta)
            if made_by not in {*known, *(step.rules.digest for step in steps)}:
                self._check_rules(meta)
        first = before or made_by or self.rules.digest
        self.rules = known.get(first, self.rules)
        self._timeline = Timeline(self.rules)

    def _take_switches(self, at: int) -> None:
        """Go over to the rules of every switch at or before this offset."""
        while self._timeline.next_offset <= at:
            step = self._timeline.take()
            self.rules = step.rules
            self._went_over(step)

    def _went_over(self, step: Step) -> None:
        """Time has passed as far as the switch says, and everybody is to follow; replay has them follow itself."""
        self.stream_time = max(self.stream_time, step.through + (self.grace_ms or 0))
        self._behind = self._suppliers.ids() if self._brought_up < step.rules.version else []
        if not self._behind:
            self._brought_up = max(self._brought_up, step.rules.version)

    @property
    def fired_to(self) -> int:
        """Up to when (ms) time has passed here: what is due by then has fired, or does before anything else."""
        return self.stream_time - (self.grace_ms or 0)

    @property
    def version(self) -> int:
        """The newest version that the partition has a switch to, reached or not."""
        return self._timeline.newest

    @property
    def repeats(self) -> bool:
        """Whether the next record may have been folded by another worker, who died once its signals were out.

        Those are to come out again as they were, so no switch may be placed there.
        """
        return self.watermark + 1 < self.read_by_others

    @property
    def is_behind(self) -> bool:
        """Whether suppliers are left whose state has not seen the last switch."""
        return bool(self._behind)

    def bringing_up(self) -> Generator[int, None, None]:
        """Take suppliers who were not touched since through the last switch, in slices; of each the number of signals.

        It may be left off after any of them; who is touched before is brought up then.
        """
        while self._behind:
            fired, slice_, self._behind = 0, self._behind[-SLICE:], self._behind[:-SLICE]
            for supplier_id in slice_:
                known = supplier_id in self._suppliers.decoded
                supplier = self._suppliers.get(supplier_id)
                if supplier is None:
                    continue
                fired += self._bring_up(supplier)
                if not known and supplier.touched:
                    self._loaded_to_fire.append(supplier_id)
                elif not known:
                    del self._suppliers.decoded[supplier_id]
            self._outgoing.put_in_order()
            if not self._behind:
                self._brought_up = self.rules.version
            yield fired

    def _bring_up(self, supplier: Supplier) -> int:
        """Take a supplier through the switches they have not seen; the number of signals."""
        state = supplier.state
        if state.rules >= self.rules.version or not state.seq:
            return 0
        signals = self._timeline.bring_up(state, supplier.id)
        for signal in signals:
            self._gather(supplier.id, (signal,), (0, 0, signal.at, supplier.id))
        if not supplier.touched:
            self._touch(supplier)
        self._timers.schedule(supplier.id, supplier.state.due)
        return len(signals)

    # --- records and time

    def process(self, records: Iterable[Record]) -> None:
        """Fold records in offset order; those at or below the watermark are skipped."""
        incoming = iter(records)
        while at_once(self.processing(incoming)):
            pass

    def processing(self, incoming: Iterator[Record]) -> Generator[int, None, bool]:
        """`process`, with pauses; to be finished before anything else is asked. Whether there is more to do.

        Records are read one after another, then folded supplier by supplier, which keeps one state at a time in the
        processor's caches. Before each event the supplier's time moves to where the stream's was when the event was
        read, and signals are put in the order of the stream: neither depends on where a batch ends. Of more timers
        than may fire before a flush the rest fires in calls of its own, in due order, before anything more is read.
        """
        if self._is_left_due() and (yield from self._firing_some()):
            return True
        if self._held is not None:
            self._take_switches(self._held.offset)
            incoming, self._held = chain((self._held,), incoming), None
        waiting: list[Supplier] = []
        more = True
        while (
            not self._crowded
            and self._held is None
            and (more := self._read(islice(incoming, READ_AT_ONCE), waiting))
        ):
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
        left = yield from self._firing_some()
        self._times.clear()
        if len(self._touched) >= self.capacity:
            self.full = True
        if self._held is not None:
            self.full = more = True
        return more or left

    def _firing_some(self) -> Generator[int, None, bool]:
        """Fire what the stream's time has made due, so much as may be before a flush; whether more is left."""
        if self.grace_ms is not None:
            for slices, _ in enumerate(self._firing(self.stream_time - self.grace_ms), 1):
                yield 0
                if slices == SLICES_A_FLUSH:
                    break
        self._outgoing.put_in_order()
        left = self._is_left_due()
        self.full |= left
        return left

    def _is_left_due(self) -> bool:
        """Whether the stream's time has made something due that has not fired."""
        due = self.next_due()
        return due is not None and self.grace_ms is not None and due <= self.stream_time - self.grace_ms

    def _read(  # noqa: C901 - the hot path
        self, records: Iterable[Record], waiting: list[Supplier]
    ) -> bool:
        """Decode records and let the events wait at their suppliers, who go into `waiting`; whether there were any."""
        times, most_waiting = self._times, self.most_waiting
        decoded, load = self._suppliers.decoded, self._suppliers.load
        record, read, types = None, 0, self._tally.read
        vocabulary = self.vocabulary or vocabulary_of(self.rules)
        stamped = self.append_time is log_append_time  # as it always is in a worker: a call saved
        switch_at = self._timeline.next_offset
        for record in records:
            offset = record.offset
            if offset <= self.watermark:
                continue
            if offset >= switch_at:
                self._held = record
                break
            self.watermark = offset
            append_ms = record.timestamp if stamped else self.append_time(record)
            event = decode_record(record.key, record.value, record.headers, append_ms, vocabulary)
            if type(event) is not ActivityEvent:
                self._set_aside(record, event)
                continue
            supplier = decoded.get(event.subject) or load(event.subject)
            if supplier is None:
                self._misplaced(record, event.subject)
                continue
            if self.homes.other and came_before(record, self._moved_here):
                continue
            at = event.at if event.at < append_ms else append_ms  # noqa: FURB136 - twice as fast as min()
            if at > self.stream_time:  # noqa: PLR1730 - as above
                self.stream_time = at
            read += 1
            types[event.type] += 1
            if offset <= self._ahead_until and self._suppliers.holds(event.subject, offset, self.epoch):
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
        rules = self.rules
        if state.rules != rules.version and state.seq:
            self._bring_up(supplier)
            rules = self._timeline.rules_of(state)
        client_events = rules.client_events
        for event, place, record in supplier.waiting:
            if (reason := too_many(state, event, client_events)) is not None:
                self._refuse(record, reason)
                self.counters.events -= 1
                continue
            if grace is not None and state.due <= times[place] - grace:
                self._gather_fired(supplier_id, advance(state, supplier_id, times[place] - grace, rules))
            signals = apply(state, supplier_id, event, rules)
            if signals:
                self._gather(supplier_id, signals, (place, 1))
        supplier.waiting = []
        if len(state.changes) >= MOST_CHANGES or len(state.goals) >= MOST_GOALS:
            self.full = True
        if not supplier.touched:
            self._touch(supplier)
        self._timers.schedule_sooner(supplier_id, state.due)

    def fire_due(self, to_ms: int) -> int:
        """Fire everything due at or before `to_ms` for all suppliers, in due order; the number of signals."""
        return sum(self.firing_due(to_ms))

    def let_pass(self, to_ms: int) -> bool:
        """Let time pass to `to_ms` by a clock, with nothing fired yet; whether anything is due.

        Have `only_meta` acked before anything fires: after a crash the same fires, at the same time of the stream.
        """
        self.stream_time = max(self.stream_time, to_ms + (self.grace_ms or 0))
        due = self.next_due()
        return due is not None and due <= to_ms

    def firing_due(self, to_ms: int) -> Generator[int, None, None]:
        """`fire_due` in slices, each with its number of signals.

        It may be left off after any of them: the time has moved all the same, and what did not fire yet does so
        with the next records, the next call, or after a recovery; for each supplier before anything later.
        """
        self.let_pass(to_ms)
        for fired in self._firing(to_ms):
            self._outgoing.put_in_order()
            yield fired

    def next_due(self) -> int | None:
        """A lower bound in ms of when something falls due next; None if nothing will."""
        return self._timers.next_due()

    def _firing(self, to_ms: int) -> Generator[int, None, None]:
        """Fire in due order; after each slice of suppliers the number of its signals."""
        fired = looked_at = 0
        while self._timers.is_due(to_ms):
            if looked_at == SLICE:
                yield fired
                fired = looked_at = 0
            due, supplier_id = self._timers.take()
            looked_at += 1
            supplier = self._suppliers.decoded.get(supplier_id)
            if supplier is None:
                supplier = self._suppliers.load(supplier_id)
                self._loaded_to_fire.append(supplier_id)
            if supplier is None:
                raise WrongStateError(f"a due time of {supplier_id} without its state in {self.partition}")
            brought, rules = self._brought_up_to_fire(supplier)
            fired += brought
            if next_due(supplier.state, rules) > due:
                self._timers.schedule(supplier.id, supplier.state.due)
                continue
            signals = advance(supplier.state, supplier_id, due, rules)
            if next_due(supplier.state, rules) <= due:
                raise WrongStateError(f"{supplier_id} is still due at {due} after firing it")
            if not supplier.touched:
                self._touch(supplier)
            self._timers.schedule(supplier.id, supplier.state.due)
            self._gather_fired(supplier_id, signals)
            fired += len(signals)
        if fired:
            yield fired

    def _brought_up_to_fire(self, supplier: Supplier) -> tuple[int, Rules]:
        """The signals of switches that they had not seen, and the rules by which they fire."""
        if supplier.state.rules == self.rules.version:
            return 0, self.rules
        brought = self._bring_up(supplier)
        self._timers.forget(supplier.id)
        return brought, self._timeline.rules_of(supplier.state)

    def _touch(self, supplier: Supplier) -> None:
        supplier.touched = True
        self._touched.append(supplier)

    # --- what monitoring asks

    def take_tally(self) -> list[tuple[str, str, int]]:
        """What was read since the last call: (type, `read`, `unknown` or `refused`, how many); "" for no type."""
        return self._tally.take()

    @property
    def timers(self) -> int:
        """How many suppliers have a due time."""
        return len(self._timers)

    def timers_due(self, at_ms: int, at_most: int = 10_000) -> int:
        """How many of them are due at `at_ms`, counted up to `at_most`."""
        return self._timers.count_due(at_ms, at_most)

    # --- what goes out

    def headers_of(self, signal: bytes) -> list[tuple[str, bytes]]:
        """Headers that a signal (its value) goes out with; where it is traced there is one more."""
        del signal
        return HEADERS

    def _gather(self, supplier_id: str, signals: Iterable[Signal], place: Place) -> None:
        self._outgoing.add(supplier_id, signals, place)

    def _gather_fired(self, supplier_id: str, signals: Iterable[Signal]) -> None:
        """What time fired comes before the record that moved the stream past its due time, in due order."""
        grace = self.grace_ms or 0
        for signal in signals:
            moved_by = bisect_left(self._times, signal.at + grace)
            self._gather(supplier_id, (signal,), (moved_by, 0, signal.at, supplier_id))

    def _set_aside(self, record: Record, verdict: object) -> None:
        if isinstance(verdict, Refusal):
            self._refuse(record, verdict.reason)
        else:
            self.counters.unknown += 1
            self._tally.add_unknown(type_of(record.value, record.headers))

    def _refuse(self, record: Record, reason: str) -> None:
        self.counters.refused += 1
        self._tally.refused += 1
        place = self.topic, self.partition, record.offset
        letter = dead_letter(reason, place, record.key, record.value, record.headers)
        self._outgoing.dead_letters.append((record.offset, letter))

    def _misplaced(self, record: Record, supplier_id: str) -> None:
        """An event of a supplier who is at home elsewhere: refused, unless another count of partitions explains it."""
        key = supplier_id.encode()
        if not self.homes.is_astray(key, self.partition):
            self._refuse(record, self.homes.wrong_partition(key, self.partition))
            return
        if not self.brings_home:
            return
        self._outgoing.astray.append((self.homes.of(key), moved_from(record, self.partition)))

    def take_flush(self, now_ms: int | None = None) -> Flush:
        """What there is to send since the last flush; empty if nothing was read, nothing fired and nothing is owed.

        `now_ms`: the worker's clock; snapshots on which nobody acts may wait `OWED_MS` by it. Without it none waits.
        Send it in the order of the fields, then `confirm` it before folding on.
        """
        return at_once(self.taking_flush(now_ms))

    def taking_flush(self, now_ms: int | None = None) -> Generator[None, None, Flush]:
        """`take_flush`, with a pause after each slice of suppliers; to be finished before anything else is asked."""
        waited = self._owed.late(now_ms)
        if self.watermark == self._flushed_watermark and not self._touched and not waited:
            return Flush([], [], [], [], self.watermark)
        touched = (supplier for supplier in self._touched if supplier.touched)
        flush = yield from self._taking(chain(touched, self._owed_to(waited)), whole=True, now_ms=now_ms)
        flush.changelog += self.only_meta().changelog
        self.full = False
        return flush

    def only_meta(self) -> Flush:
        """The partition's meta record once more, where nothing else is to be sent."""
        counters = self.counters
        moved = dict(self._moved_here)
        meta = Meta(
            self.partitions,
            counters.events,
            counters.unknown,
            counters.refused,
            moved,
            self.rules.digest,
            self._brought_up,
        )
        schema = OF_A_VERSION if self.rules.version else SCHEMA_VERSION
        record = META_KEY, pack(self._header(NEVER), meta.encode(), schema)
        return Flush([], [], [], [record], self.watermark)

    def owes_by(self) -> int | None:
        """When, on the worker's clock, the first snapshot that waits is to be sent; None if none waits."""
        return self._owed.by()

    def _owed_to(self, supplier_ids: Iterable[str]) -> Iterator[Supplier]:
        """Those of them to whom a snapshot is owed still, one after the other, which is not to wait."""
        for supplier_id in supplier_ids:
            if supplier_id not in self._owed.since:
                continue  # told meanwhile, of something else as well
            supplier = self._suppliers.look_at(supplier_id)
            if supplier is None:
                raise WrongStateError(
                    f"a snapshot owed of {supplier_id} without their state in {self.partition}"
                )
            supplier.state.visible = True
            yield supplier

    @property
    def has_signals(self) -> bool:
        """Whether signals wait to be sent."""
        return bool(self._outgoing.signals)

    def taking_signals(self) -> Generator[None, None, Flush]:
        """`taking_flush` of those suppliers only that have signals to send: few, where a whole flush would be long.

        The meta record stays as it is: after a crash the log is read again from there, and whoever has a newer
        record is not folded twice.
        """
        keys = dict.fromkeys(key for _, key, _ in self._outgoing.signals)
        return (yield from self._taking((self._suppliers.decoded[key.decode()] for key in keys), whole=False))

    def _taking(
        self, suppliers: Iterable[Supplier], *, whole: bool, now_ms: int | None = None
    ) -> Generator[None, None, Flush]:
        """All signals and dead letters, and these suppliers' snapshots and state records."""
        flush = self._outgoing.take(self.watermark if whole else self._flushed_watermark, whole=whole)
        for number, supplier in enumerate(suppliers, 1):
            if number % SLICE == 0:
                yield
            supplier.touched = False
            key, state = supplier.id.encode(), supplier.state
            if state.visible or (now_ms is None and state.dirty):
                flush.health.append((key, self._snapshot_event(supplier.id, state)))
                self._owed.since.pop(supplier.id, None)
            elif now_ms is not None and state.dirty and not state.owed_since:
                state.owed_since = self._owed.since[supplier.id] = now_ms
            flush.changelog += write(key, state, self._header(state.due))
        return flush

    def confirm(self, flush: Flush) -> None:
        """Take a flush that all brokers have acked as the state to continue from."""
        self._suppliers.encoded.update(flush.changelog)
        if not flush.whole:
            self._touched = [supplier for supplier in self._touched if supplier.touched]
            return
        self._flushed_watermark = flush.watermark
        for supplier_id in self._loaded_to_fire:
            self._suppliers.decoded.pop(supplier_id, None)
        self._loaded_to_fire = []
        self._suppliers.let_go(self._touched, self.capacity)
        self._touched = []

    def _header(self, due: int) -> StateHeader:
        return StateHeader(self.epoch, self.watermark, self.stream_time, due)

    def _snapshot_event(self, supplier_id: str, state: State) -> bytes:
        identity = snapshot_id(supplier_id, state.seq, state.clock)
        data = snapshot(state, self._timeline.rules_of(state), supplier_id)
        return encode_event(HEALTH_UPDATED, identity, SOURCE, supplier_id, state.clock, data)

    def state_of(self, supplier_id: str) -> State | None:
        """The present state of a supplier that this partition knows; for reading only."""
        supplier = self._suppliers.get(supplier_id) if self._suppliers.knows(supplier_id) else None
        return supplier.state if supplier is not None else None

    def supplier_ids(self) -> set[str]:
        """All suppliers that this partition knows."""
        return set(self._suppliers.ids())
