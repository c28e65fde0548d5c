"""`make bench` at its smallest: every engine ends with the state of a sequential fold, and a wrong one is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from bench.engines import engines
from bench.engines.compare import Comparison, Measured, Plan
from bench.engines.small_fold import DAY, SmallState
from bench.logs.events import activity
from bench.peers.folds import sequential
from bench.peers.job import Job
from bench.process import WrongStateError
from bench.product import ID as PRODUCT
from bench.report import as_json, machine, measured_part, plot, put_between_marks
from embedded.registry import Addresses

PLAN = Plan(events=2_000, slow_events=400, suppliers=100, repeats=1)
START = 1_767_603_600_000


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_every_engine_ends_with_the_state_of_a_sequential_fold(stack: Addresses) -> None:
    rows = Comparison(stack.kafka, PLAN, print).run()
    assert [row.id for row in rows] == [PRODUCT, *(engine.id for engine in engines.PEERS)]
    assert all(len(row.runs) == 1 and row.rate > 0 for row in rows)


@pytest.mark.stack
def test_an_engine_with_one_event_too_few_is_found_out(
    stack: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = next(engine for engine in engines.PEERS if engine.id == "plain loop / small")
    monkeypatch.setattr("bench.engines.compare.PEERS", (replace(plain, final=one_short(plain.final)),))
    with pytest.raises(WrongStateError, match=r"plain loop / small: of 100 suppliers 1 differ"):
        Comparison(stack.kafka, replace(PLAN, events=1_000, only=("plain loop / small",)), print).run()


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
    assert halves == sequential("small", log)


def test_results_say_where_they_come_from_and_replace_only_what_was_measured(tmp_path: Path) -> None:
    run = {"seconds": 2.0, "cpu_seconds": 1.0, "memory_mb": 100.0, "cpu fold": 0.5}
    rows = [
        Measured("wedsync-success", "full", 100_000, "topic", "the scoring", [run, {**run, "seconds": 4.0}]),
        Measured("plain loop", "full", 100_000, "topic", "the scoring", [{**run, "seconds": 1.5}]),
    ]
    found = json.loads(json.dumps(as_json(PLAN, machine(), rows)))
    assert found["engines"][0]["events_per_second"] == {"median": 37500, "least": 25000, "most": 50000}
    assert found["ratios"] == [
        {
            "ours": "wedsync-success / full",
            "against": "the plain loop with the same scoring",
            "ratio": 0.56,
            "wanted": 0.8,
        }
    ]
    assert found["layers_us"] == {"fold": 5.0}
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured: begin -->\nstale figures\n<!-- measured: end -->\nafter\n")
    put_between_marks(page, measured_part(PLAN, machine(), rows))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "stale figures" not in text
    assert "37,500 (25,000 to 50,000)" in text
    plot(rows, tmp_path / "plot.svg")
    assert "37,500" in (tmp_path / "plot.svg").read_text()
