"""What `success run` spares on a stack of its own changes nothing: the same rows, letters and counts."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from cli.dev.recording import Recording, read_recording
from cli.dev.run import _run as play
from embedded.registry import Addresses
from replay.simulator.simulate import population
from runtime.configuration import load
from runtime.settings import Settings
from tests.conftest import in_own_loop, own_settings
from tests.forms import LONG
from topics.time import parse_time

START = parse_time("2026-01-01T00:00:00Z")
SUPPLIERS, DAYS = (12, 9) if LONG else (8, 7)

ROWS = {
    "success_interventions": "supplier_id, trigger_condition, signal_id",
    "customer_health": "supplier_id",
    "health_history": "id",
    "success_milestones": "supplier_id, milestone_type",
    "support_interactions": "supplier_id, notes",
    "message_words": "intervention_id",
}
OF_NO_RUN = {
    "customer_health": {"id", "created_at", "updated_at"},
    "success_milestones": {"created_at"},
    "support_interactions": {"updated_at"},
}
"""Columns that are drawn, or that Postgres fills by its own clock."""


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_one_partition_and_nobody_else_give_the_same_as_many_and_others(
    stack: Addresses, tmp_path: Path, seed: int
) -> None:
    lines = [orjson.dumps(line) for line in population(SUPPLIERS, DAYS, seed, START)]
    recording = read_recording(lines)

    with own_settings(stack, tmp_path / "many") as many, own_settings(stack, tmp_path / "one") as one:
        usual = rows_of(many, recording, alone=False)
        alike = one.model_copy(
            update={"partitions": 1, "topic_prefix": f"{one.topic_prefix}{uuid.uuid4().hex[:4]}."}
        )
        spared = rows_of(alike, recording, alone=True)

    assert usual["success_interventions"]
    assert usual["message_words"]
    assert spared == usual


def rows_of(settings: Settings, recording: Recording, *, alone: bool) -> dict[str, Any]:
    """The counts of a run, and all it left in Postgres, but for what no clock of the run says."""
    summary = in_own_loop(play(settings, load(), recording, None, alone=alone))
    found: dict[str, Any] = {"counts": summary.counts(), "messages": summary.messages}
    with psycopg.connect(settings.database_url) as connection:
        for table, order in ROWS.items():
            rows = connection.execute(f"SELECT to_jsonb(t) FROM {table} t ORDER BY {order}").fetchall()  # noqa: S608
            left_out = OF_NO_RUN.get(table, set())
            found[table] = [
                {name: value for name, value in row.items() if name not in left_out} for (row,) in rows
            ]
    return found
