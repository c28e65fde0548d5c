"""`make bench` at its smallest: every engine ends with the state of a sequential fold, and a wrong one is found."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from bench import report
from bench.engines import engines
from bench.engines.compare import Comparison, Measured, Plan
from bench.engines.small_fold import DAY, SmallState
from bench.logs.events import activity
from bench.logs.kinds import DENSE, KNOWN, NEW, Kind
from bench.peers.folds import packed
from bench.peers.job import Job
from bench.process import WrongStateError
from bench.product import ID as PRODUCT
from bench.rows.compare import BY_HAND, OURS, Row
from bench.rows.compare import NEW as NEW_ROWS
from bench.scale.suppliers import ids
from embedded.registry import Addresses

PLAN = Plan(dense_events=2_000, sparse_events=200, slow_events=400, repeats=1)
START = 1_767_603_600_000


@pytest.mark.long
@pytest.mark.stack
@pytest.mark.timeout(300)
def test_engines_end_with_the_state_of_a_sequential_fold(stack: Addresses) -> None:
    dense_alone = tuple(engine.id for engine in engines.PEERS if not engine.sparse)  # the others: next test
    rows = Comparison(stack.kafka, replace(PLAN, only=(PRODUCT, *dense_alone)), DENSE, print).run()
    assert [row.id for row in rows] == [PRODUCT, *dense_alone]
    assert all(len(row.runs) == 1 and row.rate > 0 for row in rows)


@pytest.mark.long
@pytest.mark.stack
@pytest.mark.timeout(300)
def test_every_engine_begins_with_what_is_known_of_suppliers(
    stack: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.engines.compare.SAMPLE", 20)
    monkeypatch.setattr("bench.product.SAMPLE", 20)
    ours = PRODUCT.replace(" / ", f", Python {platform.python_version()} / ")
    plan = replace(PLAN, pythons=(sys.executable,), layers=True)
    comparison = Comparison(stack.kafka, plan, KNOWN, print)
    rows = comparison.run()
    assert [row.id for row in rows] == [ours, *(engine.id for engine in engines.PEERS if engine.sparse)]
    assert comparison.layers["cpu fold (state, time, signals)"] != 0


@pytest.mark.parametrize("kind", [KNOWN, NEW])
def test_in_a_sparse_log_every_event_is_another_suppliers(kind: Kind) -> None:
    log = kind.events(40, START)
    assert sorted(key.decode() for key, _ in log) == sorted(ids(40))
    assert all(json.loads(value)["subject"] == key.decode() for key, value in log)


@pytest.mark.stack
def test_an_engine_with_one_event_too_few_is_found_out(
    stack: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = next(engine for engine in engines.PEERS if engine.id == "plain loop / small")
    monkeypatch.setattr("bench.engines.compare.PEERS", (replace(plain, final=one_short(plain.final)),))
    plan = replace(PLAN, dense_events=1_000, only=("plain loop / small",))
    with pytest.raises(WrongStateError, match=r"plain loop / small: of 20 suppliers 1 differ"):
        Comparison(stack.kafka, plan, DENSE, print).run()


def one_short(final: Callable[[Job], dict[bytes, bytes]]) -> Callable[[Job], dict[bytes, bytes]]:
    def short(job: Job) -> dict[bytes, bytes]:
        states = final(job)
        key = min(states)
        state = SmallState.unpack(states[key])
        state.counts[0] -= 1
        return states | {key: state.pack()}

    return short


def test_the_small_fold_of_bytes_goes_on_where_it_was() -> None:
    log = [(key, value, START) for key, value in activity(600, 5, 3, START, 40 * DAY)]
    halves = dict.fromkeys({key for key, _, _ in log}, SmallState().pack())
    rng = Random(1)  # noqa: S311 - a test
    for key, value, append_ms in log:
        state = SmallState.unpack(halves[key])
        state.take(key, value, append_ms)
        halves[key] = state.pack()
        if rng.random() < 0.01:
            assert SmallState.unpack(state.pack()).pack() == state.pack()
    assert halves == packed("small", log)


def test_results_say_where_they_come_from_and_replace_only_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured: begin -->\nstale figures\n<!-- measured: end -->\nafter\n")
    for name, path in (("RESULTS", "."), ("STORED", "kept.json"), ("PAGE", "page.md"), ("PLOT", "plot.svg")):
        monkeypatch.setattr(report, name, tmp_path / path)
    run = {"seconds": 2.0, "cpu_seconds": 1.0, "memory_mb": 100.0}
    ours = Measured(
        "wedsync-success", "full", 100_000, "topic", "the scoring", "dense", [run, {**run, "seconds": 4.0}]
    )
    plain = Measured(
        "plain loop", "full", 100_000, "topic", "the scoring", "dense", [{**run, "seconds": 1.5}]
    )
    where = report.machine()
    report.Found.load().keep({"dense": report.log_part(where, PLAN, [ours, plain], {"cpu fold": 0.5})})
    rows = [
        Row(way, NEW_ROWS, 1_000, [{"seconds": took, "cpu_seconds": 0.1, "postgres_cpu_seconds": 0.05}])
        for way, took in ((OURS, 0.5), (BY_HAND, 0.25))
    ]
    report.Found.load().keep({"rows": report.rows_part(where, 1, rows)})
    found = json.loads((tmp_path / "kept.json").read_text())["parts"]
    assert found["dense"]["engines"][0]["events_per_second"] == {
        "median": 37500,
        "least": 25000,
        "most": 50000,
    }
    assert found["dense"]["layers_us"] == {"fold": 5.0}
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "stale figures" not in text
    assert "37,500 (25,000 to 50,000)" in text
    assert "- Dense: 0.56 of the plain loop with the same scoring (floor: 1.0)." in text
    assert "| success worker | new suppliers | 1,000 | 2,000 (2,000 to 2,000) | 100.0 | 50.0 |" in text
    assert "0.50 of the reference by hand (floor: 0.8)" in text
    assert "37,500" in (tmp_path / "plot.svg").read_text()
