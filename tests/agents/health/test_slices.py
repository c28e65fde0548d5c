"""Very many timers at once: fired and flushed in slices, with the signals and the order of one go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from faust.types import TP

from agents.engine.engine import Engine
from agents.engine.failure import WorkerFailedError
from agents.engine.lane import Lane
from agents.health import fold as fold_module
from agents.health import handler as activity_module
from agents.health.fold import PartitionFold
from agents.health.handler import POLICY, ScoringHandler, fire_due
from agents.health.outgoing import Flush
from agents.health.slices import at_once, in_slices
from agents.health.state_codec import META_KEY, StateHeader, newest
from bench.scale.ticks import FOUR_DAYS_LATER, records
from scoring.time import HOUR
from tests.agents.health.records import FakeRecord, event_record
from tests.reference.logs import Outcome
from topics.catalog import ACTIVITY, HEALTH

SLICE = 7
SUPPLIERS = 12 * SLICE + 3
SLICES_A_FLUSH = 5
STATE = "state"
LATER = FOUR_DAYS_LATER + HOUR
Sent = list[tuple[str, bytes, bytes]]


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_module, "SLICE", SLICE)
    monkeypatch.setattr(activity_module, "SLICES_A_FLUSH", SLICES_A_FLUSH)


@pytest.fixture(scope="module")
def changelog() -> dict[bytes, bytes]:
    """Suppliers who all fall due at the same moment."""
    return records(SUPPLIERS)


def recovered(changelog: dict[bytes, bytes], **options: Any) -> PartitionFold:
    fold = PartitionFold(0, 1, **options)
    fold.recover(dict(changelog))
    return fold


def all_at_once(
    changelog: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch, **options: Any
) -> PartitionFold:
    """A fold that has fired everything in one go."""
    with monkeypatch.context() as patch:
        patch.setattr(fold_module, "SLICE", 10**9)
        fold = recovered(changelog, **options)
        assert fold.fire_due(FOUR_DAYS_LATER) == SUPPLIERS
    return fold


# --- the fold


def test_slices_and_flushes_between_them_give_the_signals_of_one_go_in_their_order(
    changelog: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = all_at_once(changelog, monkeypatch).take_flush()
    fold = recovered(changelog)
    signals, changed, slices = [], {}, 0
    for _ in fold.firing_due(FOUR_DAYS_LATER):
        slices += 1
        flush = fold.take_flush()
        assert len(flush.health) <= SLICE
        signals += flush.signals
        changed.update(flush.changelog)
        fold.confirm(flush)
    assert slices == 13
    assert signals == expected.signals
    assert changed == dict(expected.changelog)


@pytest.mark.parametrize("seed", range(6))
def test_a_crash_between_slices_or_in_a_flush_repeats_the_same_signals_and_leaves_the_same_states(
    changelog: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    expected = all_at_once(changelog, monkeypatch).take_flush()
    rng = Random(seed)  # noqa: S311 - a test
    log, signals = dict(changelog), {}
    fold = recovered(log)
    while True:
        for _ in fold.firing_due(FOUR_DAYS_LATER):
            if rng.random() < 0.5:
                continue
            flush = fold.take_flush()
            crashes = rng.random() < 0.4
            durable = flush.changelog[: rng.randrange(len(flush.changelog))] if crashes else flush.changelog
            for signal in flush.signals:
                assert signals.setdefault(signal[2], signal) == signal
            for key, value in durable:
                log[key] = newest(log[key], value)
            if crashes:
                break
            fold.confirm(flush)
        else:
            break
        fold = recovered(log)
    last = fold.take_flush()
    signals |= {signal[2]: signal for signal in last.signals}
    log |= dict(last.changelog)
    assert sorted(signals.values()) == sorted(expected.signals)
    assert states(log) == states(changelog | dict(expected.changelog))


def states(log: dict[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """Decoded, without the bounds and snapshots owed that depend on when it was flushed."""
    outcome = Outcome()
    outcome.add_states(log)
    return outcome.states


@pytest.mark.parametrize("lose_the_fold", [False, True])
def test_what_was_left_off_fires_with_the_next_records_before_anything_later_of_the_same_supplier(
    changelog: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch, lose_the_fold: bool
) -> None:
    batch = [
        FakeRecord(record.key, record.value, offset, LATER)
        for offset, supplier in enumerate(sorted(changelog.keys() - {META_KEY})[::5])
        for record in [event_record(supplier.decode(), at=LATER - HOUR // 2)]
    ]
    straight = all_at_once(changelog, monkeypatch, grace_ms=60_000)
    straight.process(batch)
    expected = straight.take_flush()

    fold = recovered(changelog, grace_ms=60_000)
    firing = fold.firing_due(FOUR_DAYS_LATER)
    next(firing)
    firing.close()
    first = fold.take_flush()
    fold.confirm(first)
    if lose_the_fold:
        fold = recovered(changelog | dict(first.changelog), grace_ms=60_000)
    fold.process(batch)
    second = fold.take_flush()
    assert len(first.signals) == SLICE
    assert first.signals + second.signals == expected.signals
    after = changelog | dict(first.changelog) | dict(second.changelog)
    assert states(after) == states(changelog | dict(expected.changelog))


def test_in_a_batch_slices_change_neither_signals_nor_their_order(
    changelog: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch moves the time past what is due in its middle."""
    some = sorted(changelog.keys() - {META_KEY})[::4]
    batch = [
        FakeRecord(record.key, record.value, offset, at)
        for offset, supplier in enumerate(some)
        for at in [FOUR_DAYS_LATER + (offset - len(some) // 2) * 10_000]
        for record in [event_record(supplier.decode(), "form.created", at=at, form_id="f")]
    ]
    sliced = recovered(changelog, grace_ms=60_000)
    pauses = sum(1 for _ in sliced.processing(iter(batch)))
    with monkeypatch.context() as patch:
        patch.setattr(fold_module, "SLICE", 10**9)
        straight = recovered(changelog, grace_ms=60_000)
        straight.process(batch)
        expected = straight.take_flush()
    assert pauses > 5
    assert sliced.take_flush() == expected


@pytest.mark.parametrize("dies_after", [None, 1, 2])
def test_very_many_timers_due_in_the_stream_fire_between_flushes_before_anything_more_is_read(
    changelog: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch, dies_after: int | None
) -> None:
    """One event moves the time past all of them: neither the flush nor what is decoded may hold them all."""
    monkeypatch.setattr(fold_module, "SLICES_A_FLUSH", SLICES_A_FLUSH)
    first, other, *_ = sorted(changelog.keys() - {META_KEY})
    batch = [
        event_record(first.decode(), at=LATER, appended=LATER, offset=0),
        event_record(other.decode(), at=LATER + 1, appended=LATER + 1, offset=1),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(fold_module, "SLICE", 10**9)
        straight = recovered(changelog, grace_ms=60_000)
        straight.process(batch)
        expected = straight.take_flush()
    log, signals, flushes = dict(changelog), [], 0
    fold, incoming = recovered(dict(log), grace_ms=60_000), iter(batch)
    more = True
    while more:
        more = at_once(fold.processing(incoming))
        flush = fold.take_flush()
        fold.confirm(flush)
        assert len(flush.changelog) <= SLICE * SLICES_A_FLUSH + len(batch) + 1
        log |= dict(flush.changelog)
        signals += flush.signals
        flushes += 1
        if flushes == dies_after:
            fold = recovered(dict(log), grace_ms=60_000)
            incoming = iter([event_record(other.decode(), at=LATER + 2, appended=LATER + 2, offset=2)])
    assert flushes >= 3
    assert sorted(signals) == sorted(expected.signals)
    assert fold.next_due() is not None
    assert fold.next_due() > LATER


def test_a_slice_ends_as_well_where_states_are_only_looked_at(changelog: dict[bytes, bytes]) -> None:
    """Due times in the records are lower bounds: decoding a state to see that it isn't due yet costs as well."""
    early = {
        key: value if key == META_KEY else value[:21] + (1).to_bytes(8, "big") + value[29:]
        for key, value in changelog.items()
    }
    assert {StateHeader.of(value).due for key, value in early.items() if key != META_KEY} == {1}
    fold = recovered(early)
    assert list(fold.firing_due(2)) == [0] * 12


# --- the lane


class Outside:
    """Producer and consumer: takes what is sent, when it is let."""

    def __init__(self) -> None:
        self.sent: Sent = []
        self.last_offset: dict[tuple[str, int], int] = {}
        self.fails = False
        self.failed: list[str] = []

    async def send(self, topic: str, partition: int, what: Any, **_: Any) -> None:
        await self.acked(await self.queue(topic, partition, what))

    async def queue(self, topic: str, partition: int, what: Any) -> list[Any]:
        if self.fails:
            raise RuntimeError("not enough replicas")
        self.sent += [(topic, key, value) for key, value, _ in what]
        self.last_offset[topic, partition] = len(self.sent) - 1
        return []

    async def acked(self, _: Any) -> None:
        await asyncio.sleep(0)

    def fail_stop(self, reason: str, error: BaseException | None = None) -> None:
        self.failed.append(f"{reason}: {error}")

    def of(self, topic: str) -> list[bytes]:
        return [key for name, key, _ in self.sent if name == topic]


@pytest.fixture
def outside() -> Outside:
    """What the lane sends to."""
    return Outside()


@pytest.fixture
async def lane(changelog: dict[bytes, bytes], outside: Outside) -> Lane:
    """A lane whose suppliers all fall due at once."""
    engine = Engine(
        lambda _: handler,
        stateful_topic=ACTIVITY,
        compacted_topics=[],
        newest=newest,
        fail_stop=outside.fail_stop,
        now_ms=lambda: FOUR_DAYS_LATER,
    )
    fold = recovered(changelog)
    producer: Any = outside
    handler = ScoringHandler(fold, producer, "", STATE, POLICY, lambda *_: None, lambda: FOUR_DAYS_LATER)
    engine.on_recovered({0})
    return engine.lanes[TP(ACTIVITY, 0)]


async def test_others_run_between_the_slices_and_all_is_sent_as_in_one_go(
    changelog: dict[bytes, bytes], lane: Lane, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = all_at_once(changelog, monkeypatch).take_flush()
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    assert await fire_due(lane, FOUR_DAYS_LATER) == SUPPLIERS
    other.cancel()
    assert turns >= 2 * (SUPPLIERS // SLICE)  # while firing, and while encoding
    assert [entry for entry in outside.sent if entry[0] not in (HEALTH, STATE)] == expected.signals
    assert (
        outside.of(STATE).count(META_KEY) == 2 + SUPPLIERS // SLICE // SLICES_A_FLUSH
    )  # the time is noted first
    await lane.close()


async def test_a_stop_ends_the_firing_after_a_slice_and_the_rest_stays_due(
    lane: Lane, outside: Outside
) -> None:
    assert await fire_due(lane, FOUR_DAYS_LATER, stop=lambda: True) == SLICE
    assert len(outside.of(HEALTH)) == SLICE
    assert outside.of(STATE)[-1] == META_KEY
    assert await fire_due(lane, FOUR_DAYS_LATER) == SUPPLIERS - SLICE
    assert len(set(outside.of(HEALTH))) == SUPPLIERS
    await lane.close()


async def test_whoever_is_cancelled_while_it_fires_takes_nothing_with_him(
    lane: Lane, outside: Outside
) -> None:
    """Signals that were taken for a flush and never sent would be lost: their states go out with the next."""
    ticking = asyncio.create_task(fire_due(lane, FOUR_DAYS_LATER))
    for _ in range(20):
        await asyncio.sleep(0)
    ticking.cancel()
    with suppress(asyncio.CancelledError):
        await ticking
    await lane.close()  # waits for the lock
    assert len(outside.of(HEALTH)) == SUPPLIERS
    assert outside.of(STATE)[-1] == META_KEY


async def test_on_a_lane_that_was_closed_meanwhile_nothing_fires(lane: Lane, outside: Outside) -> None:
    async with lane.lock:
        closing = asyncio.create_task(lane.close())
        await asyncio.sleep(0)
        ticking = asyncio.create_task(fire_due(lane, FOUR_DAYS_LATER))
        await asyncio.sleep(0)
    await closing
    assert await ticking == 0
    assert outside.sent == []


async def test_a_failed_flush_stops_the_worker_and_nothing_more_is_flushed(
    lane: Lane, outside: Outside
) -> None:
    outside.fails = True
    with pytest.raises(RuntimeError, match="not enough replicas"):
        await fire_due(lane, FOUR_DAYS_LATER)
    assert len(outside.failed) == 1
    outside.fails = False
    with pytest.raises(WorkerFailedError):
        await lane.flush()
    assert outside.sent == []
    await lane.close()


# --- slices


def steps() -> Iterator[int]:
    """Two pauses, then a result."""
    yield 1
    yield 2
    return "done"


async def test_in_slices_and_at_once_have_the_same_result() -> None:
    both: Any = steps
    assert at_once(both()) == await in_slices(both()) == "done"


def test_an_empty_flush_is_empty_in_slices_too(changelog: dict[bytes, bytes]) -> None:
    flush = at_once(recovered(changelog).taking_flush())
    assert flush == Flush([], [], [], [], -1)
