"""The measurements of scale at their smallest: they run, and what they say adds up; most are for `make test-long`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.scale import __main__ as scale
from bench.scale import (
    clients,
    latency,
    postgres,
    recovery,
    rescoring,
    state,
    suppliers,
    ticks,
    workers,
)
from bench.scale.probes import WAITED_FOR
from bench.scale.rebalance import longest_gap
from bench.scale.suppliers import changelog, ids, realistic
from embedded.registry import Addresses
from topics.partitioner import partition_of


def test_timers_due_at_once_fire_all_and_each_with_its_signal() -> None:
    found = ticks.measure(50)
    assert (found["timers"], found["signals"]) == (50, 50)
    assert "50 timers" in ticks.lines(found)[0]


def test_clients_do_not_make_a_flush_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "SIZES", (10, 1_000, 10_000))
    few, many, most = clients.measure(100)["sizes"]
    assert [row["clients"] for row in (few, many, most)] == [10, 1_000, 10_000]
    assert most["state_bytes"] < 1.3 * many["state_bytes"] < 3 * few["state_bytes"]


def test_a_flush_an_event_costs_more_changelog_than_a_flush_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "LOG_EVENTS", 400)
    monkeypatch.setattr(state, "LOG_SUPPLIERS", 20)
    each, _, many = state.changelog_bytes()
    assert each["state_bytes_an_event"] > 2 * many["state_bytes_an_event"]
    assert each["signal_bytes_an_event"] == many["signal_bytes_an_event"]


def test_a_changelog_in_bulk_holds_each_supplier_at_home_and_ends_with_the_partitions_own() -> None:
    records = list(changelog(realistic(5, 20), 40, 4, 0))
    assert [key.decode() for _, key, _ in records[:40]] == list(ids(40))
    assert all(number == partition_of(key, 4) for number, key, _ in records[:40])
    assert [number for number, _, _ in records[40:]] == [0, 1, 2, 3]


@pytest.mark.stack
def test_a_worker_recovers_a_changelog_in_bulk(stack: Addresses) -> None:
    found = recovery.measure(stack.kafka, 300)
    assert found["suppliers"] == 300
    assert found["changelog"]["suppliers_per_second"] > 0
    assert len(recovery.lines(found)[-1].split("|")) == 7


@pytest.mark.long
@pytest.mark.stack
def test_two_processes_leave_the_state_of_a_sequential_fold_and_all_rows(stack: Addresses) -> None:
    found = workers.measure(stack, 1_000, 100, (2,))
    assert [(row["log"], row["processes"]) for row in found["rows"]] == [("dense", 2), ("new", 2)]
    assert "| new | 2 | 100 |" in workers.lines(found)[-1]


@pytest.mark.long
@pytest.mark.stack
def test_latency_is_taken_from_what_events_brought_about(
    stack: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "WARM_UP_S", 0.5)
    monkeypatch.setattr(latency, "PROBES", 3)
    monkeypatch.setattr(latency, "SUPPLIERS", 50)
    measured = latency.measure(stack, [200], [200], 2.0)
    [alone], [found] = measured["signals"], measured["rates"]
    assert alone["risk change"]["events"] > 0
    assert found["lost"] == dict.fromkeys(WAITED_FOR, 0)
    assert all(found[what]["events"] == 3 for what in WAITED_FOR)
    for waits in (found["risk change"], *(found[what] for what in WAITED_FOR)):
        assert 0 < waits["p50_ms"] <= waits["p99_ms"] <= waits["most_ms"]


@pytest.mark.long
@pytest.mark.stack
def test_the_writer_is_measured_on_tables_that_grow(
    stack: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "SEEDS", 20)
    monkeypatch.setattr(postgres, "WRITTEN_ON", 40)
    found = postgres.measure(stack.database_url, (20, 100))
    small, large = found["sizes"]
    assert len(postgres.lines(found)) == 4 + 2
    assert small["rows"]["customer_health"] == 2 * 20  # the seeds, and one copy of each
    assert large["rows"]["customer_health"] == 2 * 20 + 40 + 4 * 20  # and the new ones, and four copies more
    assert large["rows"]["success_interventions"] > small["rows"]["success_interventions"]
    rates = large["rates"]
    assert rates["known suppliers"]["success.health"]["records"] == 40
    assert rates["new suppliers"]["success.milestones"]["success_milestones_rows_per_second"] > 0


def test_a_pause_counts_the_wait_that_was_running_when_it_began() -> None:
    assert longest_gap([0, 1_000, 4_000, 4_500, 9_000], 2_000, 5_000) == 3.0
    assert longest_gap([], 2_000, 5_000) == 3.0


def test_figures_of_one_kind_stand_beside_those_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "scale.md"
    page.write_text("head\n<!-- measured: begin -->\n<!-- measured: end -->\n")
    for name, path in (("RESULTS", tmp_path), ("STORED", tmp_path / "scale.json"), ("PAGE", page)):
        monkeypatch.setattr(scale, name, path)
    where = {"at": "2026-01-05", "cores": 2, "load": 0.1, "commit": "abc"}
    scale.keep("ticks", {"machine": where, **ticks.measure(5)})
    scale.keep("clients", {"machine": where, **clients.measure(5)})
    assert set(json.loads((tmp_path / "scale.json").read_text())) == {"ticks", "clients"}
    text = page.read_text()
    assert text.startswith("head\n")
    assert "### Timers due at once" in text
    assert "### Many clients" in text


@pytest.mark.long
@pytest.mark.stack
def test_other_weights_for_everybody_send_nothing_and_let_events_through(
    stack: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suppliers, "SAMPLE", 50)
    monkeypatch.setattr(rescoring, "BEFORE_S", 0.5)
    found = rescoring.measure(stack.kafka, 400)
    assert (found["sent"], found["to_celebrate"], found["lost"]) == (0, 0, 0)
    assert found["signals"] > 0
    assert set(found["rows"]) <= {"rules_changed"}
    assert found["before"]["events"] > 0
    assert "0 messages could be sent" in rescoring.lines(found)[-1]
