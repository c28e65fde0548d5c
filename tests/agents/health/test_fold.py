"""A partition's fold: its time, its refusals, and that a crash at any point changes nothing."""

from __future__ import annotations

from random import Random

import orjson
import pytest

from agents.health import suppliers as suppliers_module
from agents.health.fold import PartitionFold, WrongStateError
from agents.health.slices import at_once
from agents.health.state_codec import META_KEY, StateHeader, newest, pack
from agents.health.stored_supplier import MissingPageError, is_page, page_key
from agents.health.stored_supplier import states as supplier_states
from agents.health.suppliers import MOST_OWED, OWED_MS
from bench.logs.events import activity
from scoring.health import clients, state
from scoring.time import DAY, HOUR
from tests.agents.health.records import PARTITIONS, T0, FakeRecord, event_record, numbered, suppliers_of
from tests.forms import seeds
from tests.reference.logs import Event, Outcome, differences
from tests.reference.poison import poisoned
from topics.catalog import CONDITIONS, MILESTONES
from topics.partitioner import partition_of
from topics.time import format_time

HERE = 0
GRACE = 60_000
ANNA, BELLE, CLARA = suppliers_of(HERE, 3)


def new_fold(**options: object) -> PartitionFold:
    return PartitionFold(HERE, PARTITIONS, **options)  # type: ignore[arg-type]


def conditions(fold: PartitionFold) -> list[tuple[str, str]]:
    """(supplier, condition) of what was met since the last look."""
    flush = fold.take_flush()
    fold.confirm(flush)
    return [
        (key.decode(), orjson.loads(value)["data"]["condition"])
        for topic, key, value in flush.signals
        if topic == CONDITIONS
    ]


# --- time


def test_what_is_due_fires_for_a_supplier_without_events_once_others_move_time_past_it_and_the_grace() -> (
    None
):
    fold = new_fold()
    fold.process(numbered([event_record(ANNA, at=T0)]))
    week_later = T0 + 7 * DAY
    fold.process([event_record(BELLE, at=week_later + GRACE - 1, offset=1)])
    assert (ANNA, "no_login_7_days") not in conditions(fold)
    fold.process([event_record(BELLE, at=week_later + GRACE, offset=2)])
    assert (ANNA, "no_login_7_days") in conditions(fold)


def test_an_event_moves_time_no_further_than_its_append_time() -> None:
    fold = new_fold()
    fold.process(numbered([event_record(ANNA, at=T0)]))
    early = event_record(BELLE, at=T0 + 7 * DAY + GRACE, appended=T0 + 7 * DAY + GRACE - 1, offset=1)
    fold.process([early])
    assert conditions(fold) == []


def test_records_that_are_refused_or_of_unknown_type_move_no_time() -> None:
    fold = new_fold()
    fold.process(numbered([event_record(ANNA, at=T0)]))
    later = T0 + 30 * DAY
    fold.process([event_record(BELLE, "moon.risen", at=later, offset=1)])
    fold.process([event_record(BELLE, "form.created", at=later, offset=2)])  # without its form_id
    elsewhere = suppliers_of(HERE + 1, 1)[0]
    fold.process([event_record(elsewhere, at=later, offset=3)])
    assert fold.stream_time == T0
    assert conditions(fold) == []
    assert (fold.counters.unknown, fold.counters.refused) == (1, 2)


def test_suppliers_fire_in_the_order_of_their_due_times() -> None:
    fold = new_fold()
    signed_up = [event_record(s, "supplier.signed_up", at=T0 + i) for i, s in enumerate((CLARA, ANNA, BELLE))]
    fold.process(numbered(signed_up))
    conditions(fold)
    fold.process([event_record(ANNA, "supplier.logged_in", at=T0 + 80 * HOUR, offset=3)])
    imports = [supplier for supplier, name in conditions(fold) if name == "zero_clients_imported"]
    assert imports == [CLARA, ANNA, BELLE]


def test_without_grace_only_the_driver_fires() -> None:
    fold = new_fold(grace_ms=None)
    fold.process(numbered([event_record(ANNA, at=T0), event_record(BELLE, at=T0 + 8 * DAY)]))
    assert conditions(fold) == []
    assert fold.next_due() == T0 + 3 * DAY
    assert fold.fire_due(T0 + 8 * DAY) == 1
    assert conditions(fold) == [(ANNA, "no_login_7_days")]


def test_firing_again_up_to_the_same_time_does_nothing() -> None:
    fold = new_fold(grace_ms=None)
    fold.process(numbered([event_record(ANNA, at=T0)]))
    assert fold.fire_due(T0 + 60 * DAY) > 0
    assert fold.fire_due(T0 + 60 * DAY) == 0


def test_a_due_time_that_is_put_off_fires_at_its_new_time_only() -> None:
    fold = new_fold(grace_ms=None)
    fold.process(numbered([event_record(ANNA, at=T0), event_record(ANNA, at=T0 + 5 * DAY)]))
    fold.fire_due(T0 + 11 * DAY)
    assert conditions(fold) == []
    fold.fire_due(T0 + 12 * DAY)
    assert conditions(fold) == [(ANNA, "no_login_7_days")]


# --- records


def test_a_dead_letter_keeps_key_value_and_headers_and_says_why_and_where() -> None:
    fold = new_fold()
    fold.process([FakeRecord(b"k", b"{not json", 0, headers=(("trace", b"7"),))])
    [(key, value, headers)] = fold.take_flush().dead_letters
    assert (key, value) == (b"k", b"{not json")
    assert headers[0] == ("trace", b"7")
    named = dict(headers)
    assert named["error"].startswith(b"not_json")
    assert (named["topic"], named["partition"], named["offset"]) == (b"supplier.activity", b"0", b"0")


def test_a_supplier_on_a_partition_that_is_not_theirs_is_refused_and_told_the_right_one() -> None:
    stranger = suppliers_of(2, 1)[0]
    fold = new_fold()
    fold.process([event_record(stranger)])
    [(_, _, headers)] = fold.take_flush().dead_letters
    assert dict(headers)["error"].startswith(b"wrong_partition")
    assert b"partition 2 of 4" in dict(headers)["error"]
    assert fold.supplier_ids() == set()


def test_a_flush_has_one_snapshot_a_supplier_and_ends_with_the_partition_s_meta_record() -> None:
    fold = new_fold()
    fold.process(numbered([event_record(ANNA), event_record(BELLE), event_record(ANNA)]))
    flush = fold.take_flush()
    assert sorted(key.decode() for key, _ in flush.health) == [ANNA, BELLE]
    assert flush.changelog[-1][0] == META_KEY
    assert {StateHeader.of(value).offset for _, value in flush.changelog} == {2}


# --- snapshots that may wait


def told(fold: PartitionFold, now: int | None) -> list[str]:
    """Whose snapshots a flush at this time has."""
    flush = fold.take_flush(now)
    fold.confirm(flush)
    return [key.decode() for key, _ in flush.health]


NOW = T0 + 100 * DAY
"""The worker's clock has nothing to do with the suppliers'."""
SENT = {"journey_id": "j", "message_id": "m"}


def with_emails(*suppliers: str) -> PartitionFold:
    """They are known, and an email of a journey of theirs was sent: nothing that anybody acts on."""
    fold = new_fold()
    fold.process(numbered([event_record(supplier) for supplier in suppliers]))
    assert told(fold, NOW) == list(suppliers)
    sent = [event_record(supplier, "journey.email_sent", **SENT) for supplier in suppliers]
    for offset, record in enumerate(sent, len(suppliers)):
        record.offset = offset
    fold.process(sent)
    return fold


def test_what_nobody_acts_on_is_told_a_quarter_of_an_hour_later_at_the_latest() -> None:
    fold = with_emails(ANNA)
    assert told(fold, NOW) == []
    assert fold.owes_by() == NOW + OWED_MS <= NOW + 15 * 60_000
    assert told(fold, NOW + OWED_MS - 1) == []
    assert told(fold, NOW + OWED_MS) == [ANNA]
    assert fold.owes_by() is None
    assert told(fold, NOW + 2 * OWED_MS) == []


def test_it_is_told_with_whatever_else_is() -> None:
    fold = with_emails(ANNA, BELLE)
    assert told(fold, NOW) == []
    fold.process([event_record(BELLE, "form.created", form_id="f", offset=4)])
    assert told(fold, NOW + 1) == [BELLE]
    assert told(fold, NOW + OWED_MS) == [ANNA]


def test_a_new_worker_knows_what_the_one_before_owed_and_since_when() -> None:
    fold = with_emails(ANNA, BELLE)
    assert told(fold, NOW) == []
    again = new_fold()
    again.recover(dict(fold._suppliers.encoded))
    assert told(again, NOW + OWED_MS - 1) == []
    assert told(again, NOW + OWED_MS) == [ANNA, BELLE]
    again.recover(dict(again._suppliers.encoded))
    assert again.owes_by() is None


def test_whoever_stops_owes_nothing() -> None:
    fold = with_emails(ANNA, BELLE)
    assert told(fold, NOW) == []
    assert told(fold, None) == [ANNA, BELLE]


def test_of_very_many_that_wait_the_oldest_are_told_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppliers_module, "MOST_OWED", 1)
    fold = with_emails(ANNA, BELLE)
    assert told(fold, NOW) == []
    fold.process([event_record(CLARA, offset=4)])
    assert told(fold, NOW + 1) == [CLARA, ANNA]
    assert fold.owes_by() == NOW + OWED_MS
    assert MOST_OWED > 1


def test_a_condition_that_moves_nothing_has_its_snapshot_all_the_same() -> None:
    fold = new_fold(grace_ms=None)
    fold.process(numbered([event_record(ANNA, "supplier.signed_up")]))
    assert told(fold, NOW) == [ANNA]
    fold.fire_due(T0 + 3 * DAY)
    assert fold.has_signals
    [(_, value)] = fold.take_flush(NOW).health
    assert orjson.loads(value)["data"]["calculated_at"] == format_time(T0 + 3 * DAY)


def test_a_flush_of_signals_is_of_those_suppliers_only_who_have_some_and_leaves_the_meta_record() -> None:
    fold = new_fold()
    fold.process(numbered([event_record(ANNA), event_record(BELLE)]))
    fold.confirm(fold.take_flush())
    fold.process([event_record(ANNA, offset=2), event_record(BELLE, "form.created", offset=3, form_id="f")])
    assert fold.has_signals
    urgent = at_once(fold.taking_signals())
    assert [key.decode() for key, _ in urgent.health] == [BELLE]
    assert [key.decode() for key, _ in urgent.changelog] == [BELLE]
    assert [topic for topic, _, _ in urgent.signals] == [MILESTONES]
    assert not urgent.whole
    fold.confirm(urgent)
    assert not fold.has_signals
    rest = fold.take_flush()
    assert [key.decode() for key, _ in rest.health] == [ANNA]
    assert [key for key, _ in rest.changelog] == [ANNA.encode(), META_KEY]
    assert rest.signals == []


def test_what_has_gone_out_with_a_flush_of_signals_is_not_folded_again_after_a_crash() -> None:
    fold = new_fold()
    records = numbered([event_record(ANNA), event_record(BELLE, "form.created", form_id="f")])
    fold.process(records[:1])
    whole = fold.take_flush()
    fold.confirm(whole)
    fold.process(records[1:])
    urgent = at_once(fold.taking_signals())
    again = new_fold()
    again.recover(dict([*whole.changelog, *urgent.changelog]))
    assert again.watermark == 0
    again.process(records)
    assert not again.has_signals
    assert again.counters.events == 2


def test_a_flush_without_anything_new_is_empty() -> None:
    fold = new_fold()
    fold.process(numbered([event_record(ANNA)]))
    fold.confirm(fold.take_flush())
    fold.process(numbered([event_record(ANNA)]))  # offset 0 again
    assert not fold.take_flush()


def test_more_suppliers_than_fit_into_the_cache_are_decoded_anew() -> None:
    everyone = suppliers_of(HERE, 30)
    small, large = new_fold(capacity=3), new_fold()
    rng = Random(3)  # noqa: S311 - a test
    records = numbered([event_record(rng.choice(everyone), at=T0 + n * HOUR) for n in range(400)])
    for fold, step in ((small, 7), (large, 400)):
        for start in range(0, 400, step):
            fold.process(records[start : start + step])
            fold.confirm(fold.take_flush())
    for supplier in everyone:
        mine, theirs = small.state_of(supplier), large.state_of(supplier)
        assert mine is not None
        assert theirs is not None
        assert (mine.seq, mine.clock, mine.recent) == (theirs.seq, theirs.clock, theirs.recent)


@pytest.mark.parametrize("seed", range(4))
def test_where_a_batch_ends_changes_neither_signals_nor_their_order(seed: int) -> None:
    lines = with_late_ones(list(activity(1_500, 12, seed, T0, 40 * DAY)), Random(seed))  # noqa: S311 - a test
    records = [FakeRecord(key, value, place, T0 + 41 * DAY) for place, (key, value) in enumerate(lines)]
    at_once, one_by_one = PartitionFold(0, 1), PartitionFold(0, 1)
    at_once.process(records)
    for record in records:
        one_by_one.process([record])
    expected = one_by_one.take_flush()
    assert len({key for _, key, _ in expected.signals}) == 12
    assert at_once.take_flush() == expected


# --- recovery


def crash_and_recover(records: list[FakeRecord], seed: int) -> Outcome:
    """Fold in random batches; now and then a flush, whole or of signals, is cut short, and a new fold takes over."""
    rng = Random(seed)  # noqa: S311 - a test
    outcome, log, now = Outcome(), {}, T0
    fold, position = PartitionFold(0, 1, capacity=10), 0
    while position < len(records):
        now += rng.randrange(OWED_MS // 2)
        step = rng.randrange(1, 700)
        fold.process(records[position : position + step])
        position += step
        if rng.random() < 0.5:
            continue
        flush = at_once(fold.taking_signals()) if rng.random() < 0.5 else fold.take_flush(now)
        everything = [
            *(("health", key, value) for key, value in flush.health),
            *(("signal", key, value) for _, key, value in flush.signals),
            *(("dead", key, headers) for key, _, headers in flush.dead_letters),
            *(("state", key, value) for key, value in flush.changelog),
        ]
        crashes = rng.random() < 0.4
        if crashes:
            states = len(flush.changelog)
            sent = len(everything) - (rng.randrange(states + 1) if rng.random() < 0.8 else states)
            del everything[rng.randrange(sent + 1) if rng.random() < 0.2 else sent :]
            while everything and is_page(everything[-1][1]):
                everything.pop()  # a page and the record that goes with it lie in one batch of the log
        for kind, key, value in everything:
            if kind == "health":
                outcome.add_snapshot(key.decode(), value)
            elif kind == "signal":
                outcome.add_signal(value)
                assert outcome.snapshots[key.decode()]["seq"] >= orjson.loads(value)["data"]["seq"]
            elif kind == "dead":
                outcome.add_dead_letter(value)
            else:
                log[key] = newest(log.get(key), value)
        if crashes:
            fold = PartitionFold(0, 1, capacity=10)
            fold.recover(dict(log))
            position = fold.watermark + 1
        else:
            fold.confirm(flush)
            owed = {key for key, state in supplier_states(fold._suppliers.encoded) if state.dirty}
            assert not flush.whole or owed == {supplier.encode() for supplier in fold._owed.since}
            assert not flush.whole or (fold.owes_by() or now + 1) > now
    drain(fold, outcome)
    return outcome


def drain(fold: PartitionFold, outcome: Outcome) -> None:
    flush = fold.take_flush()
    for key, value in flush.health:
        outcome.add_snapshot(key.decode(), value)
    for _, _, value in flush.signals:
        outcome.add_signal(value)
    for _, _, headers in flush.dead_letters:
        outcome.add_dead_letter(headers)
    fold.confirm(flush)
    outcome.add_states(fold._suppliers.encoded)


def with_late_ones(lines: list[Event], rng: Random) -> list[Event]:
    """One in thirty comes up to 200 places later than it should, long past the grace."""
    order = [
        (place + (rng.randrange(200) if rng.random() < 0.03 else 0), place) for place in range(len(lines))
    ]
    return [lines[place] for _, place in sorted(order)]


@pytest.mark.parametrize("seed", seeds(8))
@pytest.mark.parametrize("suppliers", [20, 2])  # with 2, the last 256 events alone would not tell repetitions
@pytest.mark.parametrize("pages", [False, True])
def test_crashes_in_the_middle_of_flushes_change_no_state_no_signal_and_no_dead_letter(
    suppliers: int, seed: int, pages: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pages:  # a handful of clients is many
        monkeypatch.setattr(state, "FEW_CLIENTS", 2)
        monkeypatch.setattr(clients, "CLIENTS_A_PAGE", 2)
    lines = list(poisoned(activity(5_000, suppliers, seed, T0, 40 * DAY), every=40, seed=seed))
    records = [
        FakeRecord(key, value, offset, T0 + 41 * DAY)
        for offset, (key, value) in enumerate(with_late_ones(lines, Random(seed)))  # noqa: S311 - a test
    ]
    straight = PartitionFold(0, 1)
    straight.process(records)
    expected = Outcome()
    drain(straight, expected)
    assert len(expected.signals) > 10
    assert any(map(is_page, straight._suppliers.encoded)) is pages
    assert not differences(expected, crash_and_recover(records, seed))


def test_recovery_restores_the_timers() -> None:
    fold = new_fold()
    fold.process(numbered([event_record(ANNA, at=T0)]))
    flush = fold.take_flush()
    recovered = new_fold()
    recovered.recover(dict(flush.changelog))
    assert recovered.stream_time == T0
    recovered.process([event_record(BELLE, at=T0 + 7 * DAY + GRACE, offset=1)])
    assert (ANNA, "no_login_7_days") in conditions(recovered)


def test_a_late_record_of_a_worker_that_lost_its_partition_loses() -> None:
    def at(offset: int, stream_time: int, body: bytes) -> bytes:
        return pack(StateHeader(0, offset, stream_time, 0), body)

    owner, zombie = at(20, 5, b"owner"), at(10, 9, b"zombie")
    assert newest(owner, zombie) == owner
    assert newest(zombie, owner) == owner
    ticked = at(20, 6, b"ticked")
    assert newest(ticked, owner) == ticked
    again = at(20, 6, b"again")
    assert newest(ticked, again) == again


def test_state_of_another_number_of_partitions_is_not_continued() -> None:
    fold = PartitionFold(HERE, 8)
    fold.process([event_record(next(s for s in (ANNA, BELLE, CLARA) if partition_of(s.encode(), 8) == HERE))])
    flush = fold.take_flush()
    with pytest.raises(WrongStateError, match="built for 8 partitions, now there are 4"):
        new_fold().recover(dict(flush.changelog))


def test_state_of_an_unknown_schema_version_is_not_continued() -> None:
    raw = bytes([99]) + pack(StateHeader(0, 1, 1, 1), b"")[1:]
    with pytest.raises(ValueError, match="schema version 99"):
        new_fold().recover({ANNA.encode(): raw})


def test_offsets_of_an_earlier_topic_of_the_same_name_skip_nothing() -> None:
    fold = new_fold(epoch=1)
    fold.process(numbered([event_record(ANNA), event_record(ANNA, at=T0 + 1)]))
    flush = fold.take_flush()
    again = new_fold(epoch=2)
    again.recover(dict(flush.changelog))
    again.process(numbered([event_record(ANNA, at=T0 + 2)]))
    state = again.state_of(ANNA)
    assert state is not None
    assert (again.watermark, state.seq) == (0, 3)


# --- very many clients


def venue(clients: int) -> PartitionFold:
    """Anna with so many clients, flushed."""
    fold = new_fold()
    fold.process([event_record(ANNA, "client.imported", client_ids=[f"c{n:05d}" for n in range(clients)])])
    fold.confirm(fold.take_flush())
    return fold


def flushed_bytes(fold: PartitionFold) -> int:
    """What one more event makes the state topic and the health topic grow by."""
    fold.process([event_record(ANNA, "client.active", client_id="c00007", offset=fold.watermark + 1)])
    flush = fold.take_flush()
    fold.confirm(flush)
    return sum(len(key) + len(value) for key, value in [*flush.changelog, *flush.health])


def test_an_event_of_a_supplier_with_ten_thousand_clients_makes_a_flush_no_larger_than_with_a_thousand() -> (
    None
):
    thousand, ten_thousand = flushed_bytes(venue(1_000)), flushed_bytes(venue(10_000))
    assert ten_thousand < 1.3 * thousand
    assert ten_thousand < flushed_bytes(venue(200))


def test_pages_come_before_their_suppliers_record_and_only_those_that_changed() -> None:
    fold = venue(1_000)
    fold.process(
        [event_record(ANNA, "client.active", client_id="c00007", offset=1), event_record(BELLE, offset=2)]
    )
    page, anna, belle, meta = (key for key, _ in fold.take_flush().changelog)
    assert is_page(page)
    assert page[1:-2] == anna == ANNA.encode()
    assert (belle, meta) == (BELLE.encode(), META_KEY)


def test_a_supplier_whose_clients_are_not_all_there_is_not_continued() -> None:
    values = dict(venue(1_000)._suppliers.encoded)
    del values[page_key(ANNA.encode(), 3)]
    again = new_fold()
    again.recover(values)
    with pytest.raises(
        MissingPageError, match=f"of the clients of {ANNA} page 3 of 16 is not in the state topic"
    ):
        again.state_of(ANNA)


def test_pages_are_no_suppliers() -> None:
    fold = venue(1_000)
    again = new_fold()
    again.recover(dict(fold._suppliers.encoded))
    assert again.supplier_ids() == fold.supplier_ids() == {ANNA}
    state = again.state_of(ANNA)
    assert state is not None
    assert len(state.clients) == 1_000


def test_a_record_of_before_there_were_pages_is_continued() -> None:
    fold = venue(200)
    old = {key: b"\x01" + raw[1:] for key, raw in fold._suppliers.encoded.items()}
    again = new_fold()
    again.recover(old)
    assert flushed_bytes(again) == flushed_bytes(fold)
