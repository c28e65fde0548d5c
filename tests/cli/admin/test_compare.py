"""A version on some partitions beside what a replay expected of it, from the replay's report to the sentence."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import orjson
import psycopg
import pytest

from embedded.registry import Addresses
from replay.simulator.simulate import population
from runtime.settings import Settings
from tests.cli.admin.operator import Operator
from tests.conftest import own_settings
from tests.replay.logs import MONDAY
from topics.partitioner import partition_of

pytestmark = pytest.mark.stack

CANARY = 1
DAYS = 10
EACH = 40
"""Suppliers there, and as many elsewhere."""


@pytest.fixture(scope="module")
def settings(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Topics and a database for both tests, of which the first leaves nothing."""
    with own_settings(stack, tmp_path_factory.mktemp("compare") / "state") as own:
        yield own


@pytest.fixture
def operator(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Operator:
    return Operator(settings, monkeypatch)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder that would have fewer messages sent."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "policy.toml").write_text("[caps]\ntotal = 1\npositive = 1\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty days of some suppliers, as `success run` records them."""
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in population(30, 60, 9, MONDAY)))
    return path


def report(operator: Operator, tmp_path: Path, *words: str) -> Path:
    """What `success replay … --json` prints, as a file."""
    path = tmp_path / "report.json"
    path.write_text(operator.run("replay", *words, "--json").stdout, "utf-8")
    return path


def ids(partitions: int) -> tuple[list[str], list[str]]:
    """So many who live on the canary's partition, and as many who do not."""
    rng, there, elsewhere = Random(3), [], []  # noqa: S311 - a sample
    while min(len(there), len(elsewhere)) < EACH:
        one = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        (there if partition_of(one.encode(), partitions) == CANARY else elsewhere).append(one)
    return there[:EACH], elsewhere[:EACH]


def lives(conn: psycopg.Connection[Any], people: list[str], levels: dict[str, int]) -> None:
    """Suppliers of long standing, at levels in these proportions."""
    whole = sum(levels.values())
    ladder = [
        level for level, number in levels.items() for _ in range(round(number / whole * len(people)) + 1)
    ]
    for supplier, level in zip(people, ladder, strict=False):
        conn.execute(
            "INSERT INTO suppliers (id, signed_up_at) VALUES (%s, now() - interval '90 days')", (supplier,)
        )
        conn.execute(
            "INSERT INTO customer_health (supplier_id, health_score, risk_level) VALUES (%s, 50, %s)",
            (supplier, level),
        )


def messages(
    conn: psycopg.Connection[Any],
    people: list[str],
    version: int,
    number: float,
    trigger: str,
    reason: str | None = None,
    days: int = 4,
) -> None:
    """So many messages that a version decided so many days ago, of these suppliers in turn."""
    at = datetime.now(UTC) - timedelta(days=days)
    status, claimed = ("suppressed", None) if reason else ("sent", at)
    metadata = json.dumps({"decided_version": version})
    conn.cursor().executemany(
        "INSERT INTO success_interventions (id, supplier_id, trigger_condition, intervention_type, status, reason, "
        "sent_at, claimed_at, due_at, not_before, metadata) "
        "VALUES (gen_random_uuid(), %s, %s, 'email', %s, %s, %s, %s, %s, %s, %s)",
        [
            (people[place % len(people)], trigger, status, reason, claimed, claimed, at, at, metadata)
            for place in range(round(number))
        ],
    )


def test_only_the_forecast_of_this_very_draft_is_kept(
    operator: Operator, mine: Path, log: Path, tmp_path: Path
) -> None:
    line = ["config", "activate", str(mine), "--note", "x", "--forecast"]
    other = report(operator, tmp_path, str(log), "--set", "caps.total=2")
    refused = operator.run(*line, str(other))
    assert refused.exit_code != 0
    assert "the forecast is of another draft" in refused.output
    plain = report(operator, tmp_path, str(log))
    refused = operator.run(*line, str(plain))
    assert refused.exit_code == 2
    assert "success replay --config DIR --json" in refused.output
    assert operator.run("config", "compare").exit_code != 0
    assert operator.json("config", "history")["versions"] == []


def test_a_version_on_some_partitions_is_compared_with_what_replay_expected_of_it(
    operator: Operator, settings: Settings, mine: Path, log: Path, tmp_path: Path
) -> None:
    written = report(operator, tmp_path, str(log), "--config", str(mine))
    forecast = json.loads(written.read_text("utf-8"))["forecast"]
    assert sum(forecast["draft"]["sent"].values()) < sum(forecast["base"]["sent"].values())
    said = operator.json(
        *(
            "config",
            "activate",
            str(mine),
            "--note",
            "fewer",
            "--partitions",
            str(CANARY),
            "--forecast",
            str(written),
        )
    )
    assert (said["version"], said["forecast"]) == (1, True)
    first = operator.json("config", "compare")
    assert (first["version"], first["verdict"], first["partitions"]) == (1, "too early", [CANARY])

    there, elsewhere = ids(settings.partitions)
    scale = EACH * DAYS / forecast["draft"]["supplier_days"]
    with psycopg.connect(settings.database_url) as conn:
        conn.execute("UPDATE config_versions SET in_force_at = now() - make_interval(days => %s)", (DAYS,))
        for people, version, side in ((there, 1, "draft"), (elsewhere, 0, "base")):
            lives(conn, people, forecast[side]["levels"])
            for trigger, number in forecast[side]["sent"].items():
                messages(conn, people, version, number * scale, trigger)
            for reason, number in forecast[side]["held"].items():
                messages(conn, people, version, number * scale, "quick_win", reason)
        messages(conn, elsewhere, 0, 50, "odd", days=20)  # before it was in force
        messages(conn, there, 1, 50, "quick_win", "held")  # what a replay can't know of
    found = operator.json("config", "compare", "1")
    assert found["verdict"] != "not as forecast", found["says"]
    assert (found["suppliers"], found["others"]) == (EACH, EACH)
    assert found["supplier_days"] == pytest.approx(EACH * DAYS, abs=0.1)
    everything = found["lines"][0]
    assert everything["seen"] == pytest.approx(everything["expected"], rel=0.15)
    base = sum(forecast["base"]["sent"].values()) / forecast["base"]["supplier_days"] * EACH * DAYS
    assert everything["others"] == pytest.approx(base, rel=0.15)
    assert not {"odd", "held"} & {line["name"] for line in found["lines"]}

    with psycopg.connect(settings.database_url) as conn:
        messages(conn, there, 1, 80, "quick_win")
    found = operator.json("config", "compare")
    assert found["verdict"] == "not as forecast"
    assert "messages of quick_win where" in found["says"]
    printed = operator.run("config", "compare").stdout
    assert "version 1 on partitions 1: 40 suppliers, 400 supplier-days; 40 suppliers elsewhere" in printed
    assert "version 1: it does not behave as forecast: " in printed
