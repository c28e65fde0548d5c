"""A partition that goes over to other rules: at one place, exactly once for everybody, whatever dies in between."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import orjson
import pytest

from agents.health.fold import PartitionFold, WrongStateError
from agents.health.slices import at_once
from agents.health.state_codec import META_KEY, Meta, StateHeader, newest, schema_of
from agents.health.stored_supplier import is_supplier
from agents.health.timeline import Step
from scoring.health.machine import advance, apply
from scoring.health.rules import SHIPPED, Rules
from scoring.health.rules_file import parse
from scoring.health.rules_switch import switch
from scoring.health.state import State, decode
from scoring.time import DAY, HOUR, MINUTE
from tests.agents.health.records import PARTITIONS, T0, FakeRecord, event_record, suppliers_of
from tests.forms import seeds
from topics.decoding import ActivityEvent
from topics.decoding import decode as decode_record

HERE, GRACE = 0, 60_000
SUPPLIERS = suppliers_of(HERE, 40)
KINDS: tuple[tuple[str, dict[str, object]], ...] = (
    ("supplier.signed_up", {"plan": "free"}),
    ("supplier.logged_in", {}),
    ("form.created", {"form_id": "f"}),
    ("client.imported", {"client_ids": ["a", "b", "c"]}),
    ("client.active", {"client_id": "a"}),
    ("payment.received", {"payment_id": "p", "amount_minor": 1, "currency": "GBP"}),
)


def rules(number: int, text: str) -> Rules:
    return Rules(parse(text), version=number)


STRICTER = rules(1, "[levels]\nhealthy = 75\nat_risk = 45\n")
OTHERS = rules(
    2,
    """
    [components.loginFrequency]
    points = 20
    bands = [{ below = "2d", points = 20 }, { below = "5d", points = 4 }]
    [components.clientActivity]
    points = 35
    [[condition]]
    name = "daily"
    number = 9
    since = "supplier.logged_in"
    after = "1d"
    repeat = "1d"
    times = 20
    [[milestone]]
    name = "second_form"
    number = 9
    event = "form.created"
    nth = 2
    """,
)


def log_of(seed: int, count: int) -> list[FakeRecord]:
    random, at, records = Random(seed), T0, []  # noqa: S311
    for offset in range(count):
        at += random.choice((0, 1, MINUTE, HOUR, 7 * HOUR))
        kind, data = random.choice(KINDS)
        late = random.choice((0, 0, 0, 0, 30_000))
        records.append(
            event_record(random.choice(SUPPLIERS), kind, at - late, appended=at, offset=offset, **data)
        )
    return records


def one_by_one(records: list[FakeRecord], steps: list[Step], until: int) -> set[str]:
    """The ids of all signals: each supplier through the machine alone, switched at each step's place."""
    states: dict[str, State] = {}
    left, current, stream, ids = list(steps), SHIPPED, 0, set()

    def hear(signals: Iterable[object]) -> None:
        ids.update(signal.id for signal in signals)  # type: ignore[attr-defined]

    def switch_all(step: Step) -> None:
        for supplier, state in states.items():
            hear(switch(state, supplier, current, step.rules, step.through))

    for record in records:
        while left and record.offset >= left[0].offset:
            switch_all(left[0])
            stream = max(stream, left[0].through + GRACE)
            current = left.pop(0).rules
        event = decode_record(record.key, record.value, record.headers, record.timestamp)
        assert isinstance(event, ActivityEvent)
        stream = max(stream, min(event.at, record.timestamp))
        state = states.setdefault(event.subject, State())
        hear(advance(state, event.subject, stream - GRACE, current))
        hear(apply(state, event.subject, event, current))
    for supplier, state in states.items():
        hear(advance(state, supplier, until, current))
    return ids


class Crashing:
    """A worker that dies now and then: after some of what it sent, or before anything."""

    def __init__(self, steps: list[Step], random: Random) -> None:
        self.steps, self.random = steps, random
        self.log: dict[bytes, bytes] = {}
        self.read_to = 0
        self.ids: set[str] = set()
        self.fold = self.recovered()

    def recovered(self) -> PartitionFold:
        fold = PartitionFold(HERE, PARTITIONS, is_told=True)
        fold.recover(dict(self.log))
        fold.read_by_others = self.read_to
        fold.learn(self.steps)
        return fold

    def flush(self, *, only_signals: bool = False, dies: bool = False) -> None:
        flush = at_once(self.fold.taking_signals()) if only_signals else self.fold.take_flush()
        self.ids |= {orjson.loads(value)["id"] for _, _, value in flush.signals}
        cut = (
            self.random.randrange(len(flush.changelog) + 1)
            if dies and flush.changelog
            else len(flush.changelog)
        )
        for key, value in flush.changelog[:cut]:
            self.log[key] = newest(self.log.get(key), value)
        if dies:
            self.fold = self.recovered()
        else:
            self.fold.confirm(flush)

    def read(self, records: list[FakeRecord]) -> None:
        while True:
            self.between(records)
            position = self.fold.watermark + 1
            batch = iter(records[position : position + self.random.randrange(1, 12)])
            if position >= len(records):
                break
            more = True
            while more:
                more = at_once(self.fold.processing(batch))
                self.read_to = max(self.read_to, self.fold.watermark + 1)
                chance = self.random.random()
                if chance < 0.08:
                    self.fold = self.recovered()
                    break
                if chance < 0.16:
                    self.flush(dies=True)
                    break
                if self.fold.full or chance < 0.4:
                    self.flush()
                elif chance < 0.5:
                    self.flush(only_signals=True)
                if self.fold.is_behind and chance > 0.7:
                    next(self.fold.bringing_up())
        self.flush()

    def let_pass(self, to_ms: int) -> None:
        self.flush()
        if self.fold.let_pass(to_ms):
            meta = self.fold.only_meta()
            self.log |= dict(meta.changelog)
            self.fold.confirm(meta)
        self.fold.fire_due(to_ms)

    def between(self, records: list[FakeRecord]) -> None:
        """What is done between two batches."""


class Placing(Crashing):
    """Such a worker, which says itself where its partition goes over, now and then after a silence."""

    def __init__(self, wanted: list[Rules], random: Random) -> None:
        self.wanted = wanted
        super().__init__([], random)

    def between(self, records: list[FakeRecord]) -> None:
        """Timers fire in a silence, and a worker may die of that: a switch may come right after."""
        place, chance = self.fold.watermark + 1, 0.02
        silent = 0 < place < len(records) and records[place].timestamp - records[place - 1].timestamp > HOUR
        if silent and self.random.random() < 0.3:
            self.let_pass(records[place].timestamp - GRACE - MINUTE)
            self.flush(dies=self.random.random() < 0.5)
            chance = 0.3
        if not self.wanted or self.random.random() > max(chance, 3 * place / len(records) - 1):
            return
        if not self.fold.repeats:
            self.flush()
            through = self.fold.fired_to
            self.steps = [*self.steps, Step(self.wanted.pop(0), self.fold.watermark + 1, max(0, through))]
            if self.random.random() < 0.2:
                self.fold = self.recovered()
            else:
                self.fold.learn(self.steps)


@pytest.mark.parametrize("seed", seeds(100))
def test_wherever_a_worker_died_the_next_one_goes_over_behind_all_that_it_told(seed: int) -> None:
    random = Random(seed)  # noqa: S311
    records = log_of(seed, 300)
    worker = Placing([STRICTER, OTHERS], random)
    worker.read(records)
    while worker.fold.is_behind:
        next(worker.fold.bringing_up())
        worker.flush(dies=random.random() < 0.2)
    until = records[-1].timestamp + 40 * DAY
    worker.fold.fire_due(until)
    worker.flush()
    assert len(worker.steps) == 2
    assert worker.ids == one_by_one(records, worker.steps, until)


@pytest.mark.parametrize("seed", seeds(25))
def test_wherever_it_switches_and_dies_everybody_gets_what_they_get_alone(seed: int) -> None:
    random = Random(seed)  # noqa: S311
    records = log_of(seed, 300)
    first, second = sorted(random.sample(range(5, 300), 2))
    # What has fired there, or as much more as a silence has let pass.
    through = [records[place - 1].timestamp - GRACE + random.randrange(HOUR) for place in (first, second)]
    steps = [Step(STRICTER, first, through[0]), Step(OTHERS, second, through[1])]
    worker = Crashing(steps, random)
    worker.read(records)
    while worker.fold.is_behind:
        next(worker.fold.bringing_up())
        worker.flush(dies=random.random() < 0.2)
    until = records[-1].timestamp + 40 * DAY
    worker.fold.fire_due(until)
    worker.flush()
    assert worker.ids == one_by_one(records, steps, until)
    states = {key: decode(StateHeader.body(raw)) for key, raw in worker.log.items() if is_supplier(key)}
    assert {state.rules for state in states.values()} == {2}
    assert Meta.of(worker.log[META_KEY]).brought_up == 2


def test_without_a_switch_bytes_are_as_ever() -> None:
    told, plain = PartitionFold(HERE, PARTITIONS, is_told=True), PartitionFold(HERE, PARTITIONS)
    told.recover({})
    told.learn([])
    records = log_of(3, 200)
    for fold in (told, plain):
        fold.process(records)
    assert told.take_flush() == plain.take_flush()


def test_records_of_a_version_cant_be_read_by_a_program_that_knows_none() -> None:
    fold = PartitionFold(HERE, PARTITIONS, is_told=True)
    fold.recover({})
    fold.learn([Step(STRICTER, 0, 0)])
    fold.process(log_of(4, 20))
    flush = fold.take_flush()
    assert {schema_of(value) for _, value in flush.changelog} == {3}


def test_suppliers_whom_nobody_touches_are_brought_up_and_fire_by_the_new_rules() -> None:
    fold = PartitionFold(HERE, PARTITIONS, is_told=True)
    fold.recover({})
    fold.learn([])
    fold.process([event_record(SUPPLIERS[0], at=T0, offset=0)])
    fold.confirm(fold.take_flush())
    fold.learn([Step(OTHERS, 1, T0 + HOUR)])
    assert fold.is_behind
    assert sum(fold.bringing_up()) == 0  # still critical, and nothing else was reached
    fold.fire_due(T0 + DAY)
    (signal,) = fold.take_flush().signals
    said = orjson.loads(signal[2])
    assert (said["data"]["condition"], said["data"]["config_version"]) == ("daily", 2)


def test_a_state_of_rules_that_nobody_knows_is_refused() -> None:
    made = PartitionFold(HERE, PARTITIONS, rules=rules(0, "[levels]\nhealthy = 90\n"))
    made.process(log_of(5, 5))
    values = dict(made.take_flush().changelog)
    fold = PartitionFold(HERE, PARTITIONS, is_told=True)
    fold.recover(values)
    with pytest.raises(WrongStateError, match="made by other rules"):
        fold.learn([])


def test_what_was_in_force_before_the_first_version_is_known_by_its_digest() -> None:
    old = rules(0, "[levels]\nhealthy = 90\n")
    made = PartitionFold(HERE, PARTITIONS, rules=old)
    records = log_of(6, 30)
    made.process(records)
    fold = PartitionFold(HERE, PARTITIONS, is_told=True)
    fold.recover(dict(made.take_flush().changelog))
    fold.learn([Step(STRICTER, 30, records[-1].timestamp)], old.digest, [old])
    for _ in fold.bringing_up():
        pass
    assert fold.rules == STRICTER
