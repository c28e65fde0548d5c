"""The impact report of a database: who is counted, in which group, from when, and what may be said."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from cli.main import run
from replay.impact.live import in_holdout
from runtime.settings import Settings
from scoring.decisions.policy import DEFAULT, Policy
from scoring.time import DAY
from store.times import to_time
from tests.agents.delivery.conftest import settings
from topics.time import format_time, parse_time

__all__ = ["settings"]

pytestmark = pytest.mark.stack

START = parse_time("2026-01-05T08:00:00Z")


@dataclass
class Database:
    """A database with suppliers, and the policy of its holdout."""

    settings: Settings
    policy: Policy
    ends_at: int = START + 60 * DAY
    number: int = 0
    people: dict[str, str] = field(default_factory=dict)

    def supplier(
        self,
        group: str,
        *,
        seen: float = 0,
        left: float | None = None,
        message: str = "no_login_7_days",
        decided: float = 1,
        noted: str | None = None,
    ) -> str:
        """A supplier of a group, first seen and perhaps gone on days after the start; `message` "" for none."""
        supplier = self._of_group(group)
        cancelled = None if left is None else format_time(START + int(left * DAY))
        with psycopg.connect(self.settings.database_url) as conn:
            conn.execute("INSERT INTO suppliers (id) VALUES (%s)", (supplier,))
            conn.execute(
                "INSERT INTO customer_health (supplier_id, health_score, risk_level, calculated_at, facts) "
                "VALUES (%s, 50, 'at_risk', %s, %s)",
                (supplier, to_time(self.ends_at), Jsonb({"cancelled_at": cancelled})),
            )
            conn.execute(
                "INSERT INTO health_history (id, supplier_id, seq, at, score, risk_level) "
                "VALUES (gen_random_uuid(), %s, 1, %s, 50, 'at_risk')",
                (supplier, to_time(START + int(seen * DAY))),
            )
            if message:
                self._message(conn, supplier, group if noted is None else noted, message, decided)
        return supplier

    def _message(self, conn: psycopg.Connection, supplier: str, group: str, trigger: str, day: float) -> None:
        held_out = group == "holdout"
        at = START + int(day * DAY)
        metadata = {"experiments": {"holdout": group}, "decided_at": at}
        conn.execute(
            "INSERT INTO success_interventions (supplier_id, trigger_condition, intervention_type, status, reason, "
            "sent_at, experiment, variant, metadata) VALUES (%s, %s, 'email', %s, %s, %s, 'holdout', %s, %s)",
            (
                supplier,
                trigger,
                "suppressed" if held_out else "sent",
                "holdout" if held_out else None,
                None if held_out else to_time(at),
                group,
                Jsonb(metadata),
            ),
        )

    def _of_group(self, group: str) -> str:
        while True:
            self.number += 1
            supplier = str(UUID(int=self.number * 7919, version=4))
            if in_holdout(supplier, self.policy) == (group == "holdout"):
                return supplier


@pytest.fixture
def database(settings: Settings, tmp_path, monkeypatch) -> Database:
    """An empty database whose policy holds half of the suppliers out."""
    path = tmp_path / "policy.toml"
    path.write_text(DEFAULT.read_text("utf-8").replace("share = 0.0 ", "share = 0.5 "))
    for name, value in (settings.as_env() | {"SUCCESS_POLICY": str(path)}).items():
        monkeypatch.setenv(name, value)
    return Database(settings, Policy.load(path))


def reported(capsys, *arguments: str) -> dict[str, Any]:
    code = run(["report", "impact", "--json", *arguments])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return json.loads(printed.out)


def test_everybody_counts_in_the_group_that_chance_put_them_into(database, capsys):
    for number in range(12):
        database.supplier("treated", left=10 if number < 2 else None)
        database.supplier("holdout", left=10 if number < 5 else None)
    database.supplier("treated", message="")  # no message was due to them: they count all the same
    database.supplier("holdout", message="", left=20)

    said = reported(capsys)
    everybody = said["everybody"]
    assert (everybody["treated"]["hits"], everybody["treated"]["n"]) == (2, 13)
    assert (everybody["holdout"]["hits"], everybody["holdout"]["n"]) == (6, 13)
    assert said["reached"]["treated"]["n"] == said["reached"]["holdout"]["n"] == 12
    assert said["simulation"] is False
    low, high = everybody["difference"]["interval"]
    assert low < everybody["difference"]["value"] < high
    assert everybody["reduction"]["interval"]


def test_only_who_could_be_watched_for_thirty_days_is_counted(database, capsys):
    database.supplier("treated", seen=29, message="")
    database.supplier("treated", seen=31, message="")  # 29 days until the data ends
    database.supplier("treated", seen=-90, left=-2, message="")  # had left before the comparison began
    database.supplier("holdout", left=31.5)  # within 30 days of the first decision, a day after the start
    database.supplier("holdout", left=30.5)
    said = reported(capsys)
    assert said["since"] == format_time(START + DAY)
    assert said["everybody"]["treated"]["n"] == 1
    assert (said["everybody"]["holdout"]["hits"], said["everybody"]["holdout"]["n"]) == (1, 2)


def test_messages_are_compared_by_the_first_that_was_due(database, capsys):
    both = database.supplier("treated", message="stuck_onboarding", decided=3)
    with psycopg.connect(database.settings.database_url) as conn:
        database._message(conn, both, "treated", "no_login_7_days", 2)
    database.supplier("holdout", message="stuck_onboarding", decided=1)
    by_first = reported(capsys)["by_first_message"]
    assert by_first["no_login_7_days"]["treated"]["n"] == 1
    assert by_first["stuck_onboarding"]["treated"]["n"] == 0
    assert by_first["stuck_onboarding"]["holdout"]["n"] == 1
    assert by_first["stuck_onboarding"]["says"].startswith("nothing to compare")


def test_decisions_under_another_holdout_end_before_the_comparison_begins(database, capsys):
    database.supplier("treated", noted="holdout", decided=2)
    database.supplier("treated", decided=5)
    said = reported(capsys)
    assert said["since"] == format_time(START + 2 * DAY + 1)
    assert "another holdout" in said["notes"][0]
    assert reported(capsys, "--since", "2026-01-20")["since"] == "2026-01-20T00:00:00.000Z"


def test_without_a_holdout_it_says_that_nothing_can_be_said_and_what_is_needed(database, capsys, monkeypatch):
    for number in range(10):
        database.supplier("treated", left=5 if number == 0 else None, message="", seen=number)
    monkeypatch.delenv("SUCCESS_POLICY")
    said = reported(capsys)
    assert "nothing can be said" in said["notes"][0]
    assert said["everybody"]["holdout"]["n"] == 0
    assert said["everybody"]["says"].startswith("nothing to compare")
    assert said["churn_without_messages"] == pytest.approx(0.1)
    assert all(need["people"] > 1000 for need in said["needed_to_see_target"])
    assert run(["report", "impact"]) == 0
    assert "the policy has no holdout ([holdout] share = 0)" in capsys.readouterr().out


def test_the_printed_report_says_what_is_real_and_gives_no_bare_lift(database, capsys):
    for number in range(6):
        database.supplier("treated", left=10 if number < 2 else None)
        database.supplier("holdout", left=10 if number < 3 else None)
    assert run(["report", "impact"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Real data")
    assert "can't be told" in text
    assert "33% (-" in text  # the reduction with its interval
    assert "holdout 10%:" in text


@pytest.mark.usefixtures("database")
def test_an_empty_database_is_no_error(capsys):
    assert reported(capsys) == {"simulation": False, "says": "no supplier is stored yet"}
    assert run(["report", "impact"]) == 0
    assert capsys.readouterr().out.strip() == "no supplier is stored yet"


def test_the_simulated_report_says_that_it_is_one(capsys):
    assert run(["report", "impact", "--simulated", "--suppliers", "120", "--seed", "2", "--lift", "0.2"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("SIMULATION")
    assert "assumed, not measured" in text
    assert "the specification's 25% fewer:" in text
    assert "25% would need" in text or "no lift reaches" in text
    assert run(["report", "impact", "--lift", "0.2"]) == 2
    assert "go with --simulated" in capsys.readouterr().err
