"""What is chosen by offsets is what a worker that read up to there, or from there on, has made of it."""

from __future__ import annotations

from itertools import chain
from typing import Any

import orjson
import pytest

from agents.health.fold import PartitionFold
from replay.again import tables
from replay.again.engine import Job, run
from replay.again.explain import explain
from replay.again.variant import Variant, base, what_if
from replay.log.kafka_log import LogError
from replay.log.offsets import Offsets
from replay.log.source import ArchiveSource
from replay.simulator.simulate import population
from scoring.health.snapshot import snapshot
from scoring.time import DAY, MINUTE
from tests.replay.again.test_same_as_live_folding import messy
from tests.replay.logs import MONDAY, PARTITIONS, archive_of, logs_of, sorted_rows
from topics.catalog import ACTIVITY
from topics.partitioner import partition_of

PLAIN = (Variant("base"),)
FIRST, LAST = {0: 90, 1: 35, 2: 110}, {0: 150, 1: 160, 2: 130}


@pytest.fixture(scope="module")
def logs():
    return logs_of(messy(population(12, 40, 41, MONDAY), 41), delay_ms=2 * MINUTE)


@pytest.fixture(scope="module")
def source(tmp_path_factory, logs):
    return ArchiveSource(archive_of(tmp_path_factory.mktemp("archive"), logs))


def folded(logs, start, end):
    """Signals in offsets [start[p], end[p]) of the live fold, and everybody's snapshot at their end."""
    signals, states = set(), {}
    for partition, records in enumerate(logs[ACTIVITY]):
        fold = PartitionFold(partition, PARTITIONS)
        fold.process(records[: start[partition]])
        fold.take_flush()
        fold.process(records[start[partition] : end[partition]])
        signals |= {value for _, _, value in fold.take_flush().signals}
        for supplier_id in fold.supplier_ids():
            state = fold.state_of(supplier_id)
            if state is not None and state.seq:
                states[supplier_id] = {**snapshot(state), "changes": [], "goals": {}}
    return signals, states


def replayed(source, out, processes=1, variants=PLAIN, **options: Any):
    outcome = run(Job(source, variants, out, **options), processes)
    return outcome, tables.connect(out)


def signals(connection):
    return {value for (value,) in connection.execute("SELECT value FROM base.signals").fetchall()}


def states(connection):
    rows = connection.execute("SELECT supplier_id, snapshot FROM base.suppliers").fetchall()
    return {supplier_id: orjson.loads(text) for supplier_id, text in rows}


def behind(chosen):
    return {partition: offset + 1 for partition, offset in chosen.items()}


def everything(logs):
    return {partition: len(records) for partition, records in enumerate(logs[ACTIVITY])}


NOTHING = dict.fromkeys(range(PARTITIONS), 0)


@pytest.mark.parametrize("processes", [1, 2])
def test_up_to_an_offset_are_the_signals_and_states_of_a_worker_that_stopped_there(
    logs, source, tmp_path, processes
):
    wanted, expected = folded(logs, NOTHING, behind(LAST))
    outcome, found = replayed(source, tmp_path, processes, offsets=Offsets(last=LAST))
    assert len(wanted) > 50
    assert signals(found) == wanted
    assert states(found) == expected
    assert outcome.records == sum(behind(LAST).values())


def test_from_an_offset_on_are_the_signals_that_a_worker_sends_after_it(logs, source, tmp_path):
    wanted, expected = folded(logs, FIRST, behind(LAST))
    _, found = replayed(source, tmp_path, offsets=Offsets(FIRST, LAST))
    assert 20 < len(wanted) < len(folded(logs, NOTHING, behind(LAST))[0])
    assert signals(found) == wanted
    assert states(found) == expected  # whose history before it counts, of course


def test_stretches_that_follow_each_other_make_up_the_whole(logs, source, tmp_path):
    ends = {partition: end - 1 for partition, end in everything(logs).items()}
    _, whole = replayed(source, tmp_path / "whole", offsets=Offsets(last=ends))
    parts = [
        replayed(source, tmp_path / str(number), offsets=offsets)[1]
        for number, offsets in enumerate(
            (Offsets(last=FIRST), Offsets(behind(FIRST), LAST), Offsets(behind(LAST), ends))
        )
    ]
    for table in ("signals", "changes", "cancellations"):
        rows = [sorted_rows(part, f"base.{table}") for part in parts]
        if table != "cancellations":
            assert all(rows)
        assert sorted(chain(*rows), key=str) == sorted_rows(whole, f"base.{table}")


def test_one_number_is_for_all_partitions_and_a_shorter_one_is_read_to_its_end(logs, source, tmp_path):
    ends = everything(logs)
    longest = max(ends.values()) - 1
    assert min(ends.values()) <= longest
    wanted, _ = folded(logs, NOTHING, ends)
    outcome, found = replayed(source, tmp_path, offsets=Offsets(last=longest))
    assert signals(found) == wanted
    assert outcome.records == sum(ends.values())


def test_partitions_that_are_not_named_are_left_out(logs, source, tmp_path):
    outcome, found = replayed(source, tmp_path, offsets=Offsets(last={1: LAST[1]}))
    assert set(outcome.spans) == {1}
    assert signals(found) == folded(logs, NOTHING, {0: 0, 1: LAST[1] + 1, 2: 0})[0]


def test_with_a_time_as_well_silence_follows_up_to_it(logs, source, tmp_path):
    """As in a log that ends there."""
    until = MONDAY + 90 * DAY
    cut = {
        topic: [
            records[: behind(LAST)[number]] if topic == ACTIVITY else records
            for number, records in enumerate(log)
        ]
        for topic, log in logs.items()
    }
    ended = ArchiveSource(archive_of(tmp_path / "cut", cut))
    for variants in (PLAIN, (base(None), what_if(None, ["caps.total=1"]))):
        options = {"variants": variants, "until": until}
        _, chosen = replayed(source, tmp_path / f"{len(variants)}a", offsets=Offsets(last=LAST), **options)
        _, whole = replayed(ended, tmp_path / f"{len(variants)}b", **options)
        for variant in variants:
            for table in tables.SCHEMAS:
                name = f"{variant.name}.{table}"
                assert sorted_rows(chosen, name) == sorted_rows(whole, name), name
    # without a time, a what-if looks at the last event that was read
    outcome, _ = replayed(source, tmp_path / "c", variants=variants, offsets=Offsets(last=LAST))
    assert outcome.until == outcome.last_event_at < until


@pytest.mark.parametrize("first", [FIRST, 20, 60, 100, 140])
def test_an_explanation_is_cut_where_the_replay_is(source, tmp_path, first):
    last = LAST if first == FIRST else 145
    _, found = replayed(source, tmp_path, offsets=Offsets(first, last))
    query = (
        "SELECT supplier_id, sum, (SELECT count(*) FROM base.changes AS c WHERE c.supplier_id = s.supplier_id) "
        "FROM base.suppliers AS s"
    )
    for supplier_id, total, changes in found.execute(query).fetchall():
        told = explain(source, supplier_id, offsets=Offsets(first, last))
        uncut = explain(source, supplier_id, offsets=Offsets(last=last))
        assert told.steps == uncut.steps
        assert uncut.skipped == 0
        assert told.steps[-1].sum_after == total
        displayed = [
            step
            for step in told.steps[told.skipped :]
            if (step.score_before, step.level_before) != (step.score_after, step.level_after)
        ]
        assert len(displayed) == changes


@pytest.mark.parametrize(
    ("offsets", "complaint"),
    [
        (
            Offsets(last={3: 5}),
            "--to-offset 3:5: there is no partition 3 of supplier.activity, there are 0 to 2",
        ),
        (Offsets({7: 5}), "--from-offset 7:5: there is no partition 7"),
        (Offsets(last={0: 100_000}), "--to-offset 0:100000: partition 0 holds the offsets 0 to "),
        (Offsets(last=100_000), "--to-offset 100000: no partition reaches it"),
        (Offsets(100_000), "--from-offset 100000: no partition reaches it"),
        (Offsets({1: 20}, {1: 10}), "--from-offset 1:20 lies behind --to-offset 1:10"),
        (Offsets(20, 10), "--from-offset 20 lies behind --to-offset 10"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(source, tmp_path, offsets, complaint):
    with pytest.raises(LogError, match=complaint):
        replayed(source, tmp_path, offsets=offsets)


def test_a_supplier_of_another_partition_is_refused(source, tmp_path):
    _, found = replayed(source, tmp_path)
    (owner,) = found.execute("SELECT supplier_id FROM base.suppliers LIMIT 1").fetchone()
    home = partition_of(owner.encode(), PARTITIONS)
    other = (home + 1) % PARTITIONS
    with pytest.raises(LogError, match=f"are in partition {home}, not in {other}"):
        explain(source, owner, offsets=Offsets(last={other: 10}))


def test_a_first_offset_has_no_meaning_for_messages(source, tmp_path):
    with pytest.raises(ValueError, match="without a policy"):
        Job(source, (base(None),), tmp_path, offsets=Offsets(5))
