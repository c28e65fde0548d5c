"""A replay finds what the live worker's fold makes of the same records, however messy they are."""

from __future__ import annotations

from pathlib import Path
from random import Random

import orjson
import pytest

from agents.health.fold import PartitionFold
from cli.analysis.replay_print import counted as counts_in
from replay.again import tables
from replay.again.engine import Job, run
from replay.again.explain import explain
from replay.again.variant import Variant, base
from replay.log import archive
from replay.log.source import ArchiveSource
from replay.simulator.simulate import population
from scoring.time import DAY, HOUR, MINUTE
from tests.forms import seeds
from tests.replay.logs import MONDAY, PARTITIONS, archive_of, event, logs_of, sorted_rows, suppliers
from topics.catalog import ACTIVITY
from topics.partitioner import partition_of
from topics.time import format_time

END = MONDAY + 60 * DAY


def messy(lines, seed):
    """The lines with late, repeated, premature, unknown and broken ones among them."""
    rng = Random(seed)  # noqa: S311 - a test, not a secret
    found = []
    for line in lines:
        chance = rng.random()
        if chance < 0.05 and "time" in line:
            found.append(
                {**line, "id": f"early-{line['id']}", "time": "2027-01-01T00:00:00Z", "premature": 1}
            )
        elif chance < 0.10:
            found.append({**line, "type": "form.folded"})
        elif chance < 0.15:
            found.append({**line, "data": "none"})
        found.append(
            {**line, "binary": 1} if 0.5 < chance < 0.6 and "time" in line and "data" in line else line
        )
        if chance > 0.9:
            found.append(line)
    for place in range(0, len(found) - 40, 23):  # late by up to 40 lines, which is seconds to days
        found.insert(place + rng.randrange(40), found.pop(place))
    return found


def folded(logs, until):
    """Signals by id, and changes by id, of the live fold."""
    signals, changes = {}, {}
    for partition, records in enumerate(logs[ACTIVITY]):
        fold = PartitionFold(partition, PARTITIONS)
        for start in range(0, len(records), 50):  # whatever the batches are
            fold.process(records[start : start + 50])
        fold.fire_due(until)
        flush = fold.take_flush()
        signals |= {orjson.loads(value)["id"]: value for _, _, value in flush.signals}
        for _, value in flush.health:
            changes |= {change["id"]: change for change in orjson.loads(value)["data"]["changes"]}
    return signals, changes


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("window", [(0, END), (MONDAY + 9 * DAY, MONDAY + 20 * DAY)], ids=["all", "a part"])
def test_what_is_only_counted_is_as_much_as_the_tables_hold(tmp_path, processes, window):
    folder = archive_of(tmp_path / "archive", logs_of(messy(population(12, 40, 3, MONDAY), 3)))
    source, (since, until) = ArchiveSource(folder), window
    variants = (Variant("base"),)
    written = run(Job(source, variants, tmp_path / "out", since=since, until=until), 1)

    counted = run(Job(source, variants, None, since=since, until=until), processes)

    assert counted.counts == counts_in(tables.connect(tmp_path / "out"))
    assert counted.counts.changes
    assert counted.counts.signals
    assert not written.counts.levels
    assert (counted.suppliers, counted.events, counted.late) == (
        written.suppliers,
        written.events,
        written.late,
    )


def test_what_is_only_counted_has_no_messages():
    with pytest.raises(ValueError, match="without a policy"):
        Job(ArchiveSource(Path()), (base(),), None)


def replayed(folder, out, until=END, processes=1):
    outcome = run(Job(ArchiveSource(folder), (Variant("base"),), out, until=until), processes)
    return outcome, tables.connect(out)


@pytest.mark.parametrize("seed", seeds(4))
def test_a_messy_log_gives_the_same_signals_byte_for_byte(tmp_path, seed):
    logs = logs_of(messy(population(12, 40, seed, MONDAY), seed), delay_ms=2 * MINUTE)
    logs[ACTIVITY][0] += [  # and some on a partition where they do not belong
        record._replace(offset=len(logs[ACTIVITY][0]) + number, partition=0)
        for number, record in enumerate(logs[ACTIVITY][1][:5])
    ]
    signals, changes = folded(logs, END)
    outcome, found = replayed(archive_of(tmp_path / "archive", logs), tmp_path / "out")
    assert len(signals) > 100
    assert dict(found.execute("SELECT id, value FROM base.signals").fetchall()) == signals
    rows = found.execute("SELECT id, seq, score, level, causes FROM base.changes").fetchall()
    assert {row[0]: (*row[1:4], orjson.loads(row[4])) for row in rows} == {
        key: (change["seq"], change["score"], change["level"], change["causes"])
        for key, change in changes.items()
    }
    assert 0 < outcome.refused["wrong_partition"] <= 5
    assert outcome.refused["future_time"] > 0
    assert outcome.unknown > 0
    assert outcome.late


def test_processes_share_the_partitions_and_find_the_same(tmp_path):
    folder = archive_of(tmp_path / "archive", logs_of(population(8, 30, 5, MONDAY)))
    alone, one = replayed(folder, tmp_path / "one", until=None)
    shared, three = replayed(folder, tmp_path / "three", until=None, processes=3)
    assert shared == alone
    for table in tables.SCHEMAS:
        assert sorted_rows(three, f"base.{table}") == sorted_rows(one, f"base.{table}")


def test_the_window_limits_the_report_and_not_the_reading(tmp_path):
    folder = archive_of(tmp_path / "archive", logs_of(population(8, 30, 6, MONDAY)))
    _, whole = replayed(folder, tmp_path / "whole", until=None)
    since, until = MONDAY + 10 * DAY, MONDAY + 20 * DAY
    run(Job(ArchiveSource(folder), (Variant("base"),), tmp_path / "part", since=since, until=until), 1)
    part = tables.connect(tmp_path / "part")
    query = "SELECT id, value FROM base.signals WHERE epoch_ms(time) BETWEEN ? AND ? ORDER BY id"
    inside = whole.execute(query, [since, until]).fetchall()
    assert inside
    assert part.execute(query, [0, END]).fetchall() == inside


def test_the_state_at_a_moment_is_that_of_a_log_that_ends_there(tmp_path):
    lines = list(population(8, 30, 7, MONDAY))
    moment = MONDAY + 17 * DAY + 5 * HOUR
    until_then = [line for line in lines if "time" not in line or line["time"] <= "2026-01-22T14:00:00.000Z"]
    _, whole = replayed(archive_of(tmp_path / "a", logs_of(lines)), tmp_path / "1", until=moment)
    _, cut = replayed(archive_of(tmp_path / "b", logs_of(until_then)), tmp_path / "2", until=moment)
    query = "SELECT * FROM base.suppliers ORDER BY supplier_id"
    expected = cut.execute(query).fetchall()
    assert expected
    assert whole.execute(query).fetchall() == expected


def test_an_explanation_adds_up_and_ends_where_the_replay_does(tmp_path):
    folder = archive_of(
        tmp_path / "archive", logs_of(messy(population(6, 40, 8, MONDAY), 8), delay_ms=MINUTE)
    )
    _, found = replayed(folder, tmp_path / "out")
    for supplier_id, total, score, level in found.execute(
        "SELECT supplier_id, sum, score, level FROM base.suppliers"
    ).fetchall():
        told = explain(ArchiveSource(folder), supplier_id, END)
        steps = [step.as_json() for step in told.steps]
        assert round(sum(step["sum_delta"] for step in steps), 9) == total
        assert sum(step["delta"] for step in steps) == score
        assert steps[-1]["level"] == level
        for before, after in zip(told.steps, told.steps[1:], strict=False):
            assert after.sum_before == before.sum_after
            assert after.at >= before.at
        for step in steps:
            moved = sum(part["delta"] for part in step["components"])
            assert moved == pytest.approx(step["sum_delta"], abs=2e-9)
            assert (step["cause"] == "time") == (step["event_type"] is None)


def home_of(supplier_id: str) -> int:
    return partition_of(supplier_id.encode(), PARTITIONS)


def test_without_a_moment_time_passes_up_to_the_last_event_of_the_whole_log(tmp_path):
    """Of whichever partition: as in a replay of everybody."""
    owner, *others = suppliers(20)
    elsewhere = next(other for other in others if home_of(other) != home_of(owner))
    lines = [
        event(owner, "supplier.logged_in", MONDAY),
        event(elsewhere, "form.created", MONDAY + 8 * DAY, form_id="f"),
    ]
    folder = archive_of(tmp_path / "archive", logs_of(lines))
    told = explain(ArchiveSource(folder), owner)
    assert (told.until, told.state["score"]) == (MONDAY + 8 * DAY, 10)
    _, found = replayed(folder, tmp_path / "out", until=None)
    assert found.execute("SELECT score FROM base.suppliers WHERE supplier_id = ?", [owner]).fetchall() == [
        (10,)
    ]


def test_an_explanation_names_the_event_or_the_passing_of_time(tmp_path):
    (owner,) = suppliers(1)
    lines = [
        event(owner, "supplier.logged_in", MONDAY, "first"),
        event(owner, "form.created", MONDAY + HOUR, "form", form_id="f"),
        event(owner, "form.created", MONDAY + HOUR, "form", form_id="f"),
    ]
    folder = archive_of(tmp_path, logs_of(lines))
    told = explain(ArchiveSource(folder), owner, MONDAY + 8 * DAY)
    assert [(step.at - MONDAY, step.event and step.event.id, step.sum_after) for step in told.steps] == [
        (0, "first", 30.0),
        (HOUR, "form", 36.25),
        (3 * DAY, None, 26.25),
        (7 * DAY, None, 16.25),
    ]


@pytest.mark.parametrize("whose", ["theirs", "another's"])
def test_a_late_event_does_not_carry_anybody_past_the_moment_that_is_looked_at(tmp_path, whose):
    """It came when the stream had let the third day pass: what it changed, it changed after the moment."""
    (owner,) = suppliers(1)
    fourth_day = MONDAY + 4 * DAY
    lines = [
        event(owner, "supplier.logged_in", MONDAY),
        event(owner, "template.used", fourth_day, template_id="t")
        if whose == "theirs"
        else beside(owner, fourth_day),
        event(owner, "client.imported", MONDAY + DAY, client_id="late"),
    ]
    folder = archive_of(tmp_path / "archive", logs_of(lines))
    told = explain(ArchiveSource(folder), owner, MONDAY + 2 * DAY)
    assert [(step.at, step.sum_after) for step in told.steps] == [(MONDAY, 30.0)]
    _, found = replayed(folder, tmp_path / "out", until=MONDAY + 2 * DAY)
    (text,) = found.execute("SELECT snapshot FROM base.suppliers WHERE supplier_id = ?", [owner]).fetchone()
    for state in (told.state, orjson.loads(text)):
        assert (state["calculated_at"], state["clients"]["known"]) == (format_time(MONDAY), 0)


def test_a_late_event_that_is_evaluated_by_the_moment_counts(tmp_path):
    """The stream has passed the moment, their clock has not: nothing of theirs happened in between."""
    (owner,) = suppliers(1)
    lines = [
        event(owner, "supplier.logged_in", MONDAY),
        beside(owner, MONDAY + 2 * DAY),
        event(owner, "form.created", MONDAY - DAY, form_id="late"),
    ]
    folder = archive_of(tmp_path / "archive", logs_of(lines))
    told = explain(ArchiveSource(folder), owner, MONDAY + DAY)
    assert [(step.at, step.sum_after) for step in told.steps] == [(MONDAY, 30.0), (MONDAY, 36.25)]
    _, found = replayed(folder, tmp_path / "out", until=MONDAY + DAY)
    assert found.execute("SELECT sum FROM base.suppliers WHERE supplier_id = ?", [owner]).fetchall() == [
        (36.25,)
    ]


def beside(owner, at):
    """An event of another supplier on the same partition."""
    other = next(each for each in suppliers(100)[1:] if home_of(each) == home_of(owner))
    return event(other, "supplier.logged_in", at)


@pytest.mark.parametrize("seed", seeds(3))
def test_an_explanation_up_to_a_moment_is_the_beginning_of_the_whole(tmp_path, seed):
    """With whatever comes late, and it ends where the replay of everybody up to that moment does."""
    lines = messy(population(6, 40, 50 + seed, MONDAY), seed)
    folder = archive_of(tmp_path / "archive", logs_of(lines, delay_ms=MINUTE))
    moments = [MONDAY + days * DAY + 5 * HOUR for days in (8, 17, 26)]
    outputs = [tmp_path / str(moment) for moment in moments]
    found = [replayed(folder, out, until=moment)[1] for moment, out in zip(moments, outputs, strict=True)]
    for supplier_id in {line["subject"] for line in lines if "subject" in line}:
        whole = explain(ArchiveSource(folder), supplier_id)
        for moment, tables_then in zip(moments, found, strict=True):
            told = explain(ArchiveSource(folder), supplier_id, moment)
            assert told.steps == [step for step in whole.steps if step.at <= moment]
            rows = tables_then.execute(
                "SELECT snapshot FROM base.suppliers WHERE supplier_id = ?", [supplier_id]
            ).fetchall()
            assert [orjson.loads(text) for (text,) in rows] == (
                [{**told.state, "changes": [], "goals": {}}] if told.state else []
            )
            assert told.state is None or told.state["calculated_at"] <= format_time(moment)


def test_what_a_supplier_who_is_not_in_the_log_gives_is_nothing(tmp_path):
    owner, other = suppliers(2)
    folder = archive_of(tmp_path, logs_of([event(owner, "supplier.logged_in", MONDAY)]))
    assert explain(ArchiveSource(folder), other).state is None


def test_an_archive_without_activity_says_what_to_do(tmp_path):
    with pytest.raises(archive.LogError, match="success export"):
        run(Job(ArchiveSource(tmp_path), (Variant("base"),), tmp_path / "out"))
