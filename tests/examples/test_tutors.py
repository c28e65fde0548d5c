"""The example folders: checked, and played through from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.admin.config import config
from cli.analysis.replay import replay
from replay.again.engine import Job, run
from replay.again.variant import base
from replay.log.source import FileSource
from runtime.configuration import load
from scoring.time import HOUR

TUTORS = Path(__file__).parents[2] / "examples" / "tutors"


def messages(folder: Path, table: str) -> list[tuple[object, ...]]:
    import duckdb  # noqa: PLC0415

    return duckdb.sql(f"SELECT * FROM '{folder}/base/{table}/*.parquet'").fetchall()  # noqa: S608


def test_the_folder_is_right() -> None:
    done = CliRunner().invoke(config, ["check", str(TUTORS)])
    assert done.exit_code == 0, done.output


def test_a_tutor_is_scored_and_written_to_by_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SUCCESS_CONFIG_DIR", str(TUTORS))
    asked = [str(TUTORS / "log.jsonl"), "--to", "2026-02-10", "--json", "--out", str(tmp_path)]
    done = CliRunner().invoke(replay, asked)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["refused"] == {"missing_field": 1}, "the lesson without its pupil"
    assert said["unknown"] == 0
    assert said["signals"]["success.milestone.achieved"] == 2, "first_lesson, five_pupils"
    assert said["signals"]["success.condition.met"] == 3, "no_lesson_planned, outgrew_solo, pupils_went_quiet"


def test_its_messages_are_those_of_its_policy(tmp_path: Path) -> None:
    source = FileSource(TUTORS / "log.jsonl")
    run(Job(source, (base(load(TUTORS)),), tmp_path, played=True, step_ms=HOUR), 1)
    names = {str(value) for row in messages(tmp_path, "messages") for value in row}
    assert {"no_lesson_planned", "pupils_went_quiet", "first_lesson", "outgrew_solo"} <= names
