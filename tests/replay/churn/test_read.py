"""The same activity gives the same samples, whether it comes as lines or as an archive; the command takes both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from cli.main import run
from replay.churn.fit import HORIZON_MS
from replay.churn.read import read_log
from replay.churn.samples import take_samples
from replay.log.activity_log import LogError
from replay.simulator.simulate import population
from scoring.health.churn import load_model
from tests.replay.logs import archive_of, logs_of
from topics.time import parse_time

START = parse_time("2025-06-02T00:00:00Z")


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    return list(population(25, 80, 3, START))


@pytest.fixture
def recorded(lines: list[dict[str, Any]], tmp_path: Path) -> Path:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps(line) for line in lines) + b"\n")
    return path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def fit(*arguments: object) -> dict[str, Any]:
        code = run(["fit-churn", *map(str, arguments), "--json"])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        found: dict[str, Any] = json.loads(printed.out)
        return found

    return fit


def test_an_archive_and_lines_of_the_same_events_give_the_same_samples(lines, recorded, tmp_path):
    from_lines = read_log(recorded)
    from_archive = read_log(archive_of(tmp_path / "archive", logs_of(lines)))
    assert from_archive.events == from_lines.events
    mine, theirs = take_samples(from_lines, HORIZON_MS), take_samples(from_archive, HORIZON_MS)
    assert len(mine) > 50
    assert np.array_equal(mine.signals, theirs.signals)
    assert np.array_equal(mine.left, theirs.left)


def test_lines_that_are_no_events_are_counted(recorded):
    with recorded.open("ab") as file:
        file.write(b'{"specversion": "1.0", "type": "supplier.logged_in"}\n\n')
    assert read_log(recorded).notes == ("lines that could not be read as activity: 1",)


def test_a_map_is_for_csv_files_only(recorded, tmp_path, lines):
    archive = archive_of(tmp_path / "archive", logs_of(lines))
    with pytest.raises(LogError, match="are for CSV files"):
        read_log(archive, ["user=x"])
    with pytest.raises(LogError, match="are for CSV files"):
        read_log(recorded, horizon_days=10)


def test_the_simulated_population_is_fitted_and_written(said, tmp_path):
    out = tmp_path / "model.toml"
    found = said("--simulated", "--suppliers", "160", "--out", out, "--anyway")
    assert found["leaving"] == "events that say so"
    assert found["horizon_days"] == 30
    assert found["written"] == str(out)
    model = load_model(out)
    assert "simulated" in model.origin
    assert model.weights == found["model"]["weights"]
