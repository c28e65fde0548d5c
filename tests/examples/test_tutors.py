"""The example folders: checked, and played through from end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agents.letters.render import Letters
from api.coach.answer import coach_of
from api.coach.models import Coach
from api.dashboard.words import Names, causes
from cli.admin.config import config
from cli.analysis.replay import replay
from replay.again.engine import Job, run
from replay.again.variant import base
from replay.log.source import FileSource
from runtime.configuration import load, vocabulary_of
from runtime.versions import whole
from scoring.advice.recommend import best, way_up, worth_saying
from scoring.health import machine
from scoring.health.snapshot import snapshot
from scoring.health.state import State
from scoring.time import HOUR
from store.people.coach import NOBODY_YET, Reached
from topics.decoding import ActivityEvent, decode
from topics.time import parse_time

TUTORS = Path(__file__).parents[2] / "examples" / "tutors"
OURS = ("form", "journey", "couple", "wedding", "WedSync", "template")
"""Words of the trade that ships."""


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


@pytest.fixture(scope="module")
def words() -> Letters:
    """As a version that was put into force has them."""
    return Letters.of(whole(load(TUTORS)))


def snapshot_at(until: str) -> dict[str, Any]:
    """The tutor of the log as of a moment."""
    rules, state = load(TUTORS).rules, State()
    for line in (TUTORS / "log.jsonl").read_text("utf-8").splitlines():
        said = json.loads(line)
        if "type" in said and said["time"] < until:
            key, at = said["subject"].encode(), parse_time(said["time"])
            event = decode(key, line.encode(), (), at, vocabulary_of(rules))
            assert isinstance(event, ActivityEvent)
            machine.apply(state, said["subject"], event, rules)
    machine.advance(state, "", parse_time(until), rules)
    return snapshot(state, rules)


def coach_at(until: str, words: Letters, *reached: str, page: str | None = None) -> Coach:
    found, now = snapshot_at(until), parse_time(until)
    milestones = tuple(Reached(each, now - HOUR, celebrated=False) for each in reached)
    look = replace(NOBODY_YET, snapshot=found, milestones=milestones, first_name="Tom")
    return coach_of(look, page, now, load(TUTORS).policy.calls, words)


def test_the_coach_speaks_of_lessons(words: Letters) -> None:
    new = coach_at("2026-01-06T09:00:00Z", words, page="/lessons")
    assert new.tip is not None
    assert new.tip.id == "first_lesson_soon"
    assert new.tip.action is not None
    assert new.tip.action.url == "/lessons/new"
    assert [(step.id, step.done) for step in new.setup.steps] == [
        ("account", True),
        ("pupils", True),
        ("lesson", False),
        ("homework", False),
    ]
    assert [(each.type, each.progress) for each in new.milestones] == [
        ("first_lesson", 0),
        ("five_pupils", 40),
    ]
    taught = coach_at("2026-01-12T15:30:00Z", words, "first_lesson")
    assert taught.celebrations[0].message == "Congratulations on your first lesson!"
    assert not [word for word in OURS for said in (new, taught) if word in _said(said)]


def _said(coach: Coach) -> str:
    """What it shows, without the names of fields."""
    texts: list[str] = []

    def gather(value: Any) -> None:
        if isinstance(value, str):
            texts.append(value)
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            gather(each)

    gather(coach.model_dump())
    return "\n".join(texts)


def test_advice_is_what_adds_points_by_the_folders_rules() -> None:
    rules = load(TUTORS).rules
    found = snapshot_at("2026-01-06T09:00:00Z")
    advice = best(found, rules)
    assert advice is not None
    assert advice.id == "plan_lesson"
    # one of three features is 25/3 points, the first lesson held of one planned 10, one active of two pupils 12.5
    assert advice.points == pytest.approx(25 / 3 + 10 + 12.5)
    assert worth_saying(found, rules) == pytest.approx(advice.points)
    way = way_up(found, rules)
    assert way is None or {step.id for step in way.steps} <= {"log_in", "plan_lesson", "set_homework"}


def test_agents_read_what_components_are_called_there(words: Letters) -> None:
    names = Names.of(words)
    moved = [{"component": "formCompletion", "before": 0.0, "after": 10.0, "event": "e3"}]
    assert causes(moved, names) == [("Lessons held", 10.0, "")]
    assert names.components["loginFrequency"] == "Logins", "what the folder leaves out is ours"
    assert words.brand_in(None)["work"] == "teaching"
    assert words.brand_in("de")["work"] == "Unterricht"
