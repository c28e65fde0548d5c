"""The specification's wedding scenario: Sarah imported 5 clients, made 1 form, and went quiet."""

from __future__ import annotations

import email
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage
from email.policy import default
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

CASE = Path(__file__).parents[3] / "cases" / "photographer.jsonl"
UNTIL = "2026-01-20T09:00:00Z"
SUCCESS = str(Path(sys.executable).with_name("success"))


def success(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real command line, with a stack of its own."""
    return subprocess.run([SUCCESS, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What `success run --json --keep` printed; the stack is up until the module ends."""
    data = tmp_path_factory.mktemp("photographer")
    done = success("run", str(CASE), "--until", UNTIL, "--json", "--keep", "--data", str(data))
    assert done.returncode == 0, done.stderr
    yield json.loads(done.stdout)
    assert success("down", "--data", str(data)).returncode == 0


@pytest.fixture(scope="module")
def rows(played: dict[str, Any]) -> list[dict[str, Any]]:
    """Their interventions, in the order of their due times."""
    with psycopg.connect(played["addresses"]["database_url"], row_factory=dict_row) as conn:
        return conn.execute("SELECT * FROM success_interventions ORDER BY due_at, priority DESC").fetchall()


@pytest.fixture(scope="module")
def mails(played: dict[str, Any]) -> list[EmailMessage]:
    """All messages in the sink."""
    folder = Path(played["addresses"]["mail_dir"])
    return [email.message_from_bytes(path.read_bytes(), policy=default) for path in folder.glob("*.eml")]


def test_they_end_at_risk_and_every_line_was_used(played):
    assert played["suppliers"] == 1
    assert sum(played["levels"].get(level, 0) for level in ("at_risk", "critical")) == 1
    assert played["events"] == 11
    assert played["dead_letters"] == 0


def test_the_client_list_email_has_their_name_business_clients_and_the_call(mails):
    (mail,) = [mail for mail in mails if mail["X-Success-Template"] == "grow_client_list"]
    for part in ("plain", "html"):
        text = mail.get_body((part,)).get_content()
        for words in ("Sarah", "Golden Hour Weddings", "5 clients", "15"):
            assert words in text, (part, words)
    assert "photographer@example.com" in mail["To"]


def test_what_left_is_what_the_rows_say(rows, mails):
    sent = [str(row["id"]) for row in rows if row["status"] == "sent" and row["intervention_type"] == "email"]
    assert sorted(mail["X-Success-Intervention"] for mail in mails) == sorted(sent)


def test_at_most_three_in_any_seven_days(rows):
    sent = sorted(row["sent_at"] for row in rows if row["status"] == "sent")
    assert sent
    assert all(later - earlier > timedelta(days=7) for earlier, later in zip(sent, sent[3:], strict=False))


def test_two_ordinary_emails_are_twenty_hours_apart(rows):
    sent = sorted(
        row["sent_at"]
        for row in rows
        if row["status"] == "sent"
        and row["intervention_type"] == "email"
        and "celebration" not in row["template_used"]
    )
    assert all(later - earlier >= timedelta(hours=20) for earlier, later in pairwise(sent))


def test_every_unsent_row_says_why(rows):
    unsent = [row for row in rows if row["status"] != "sent"]
    assert unsent
    assert all(row["status"] == "suppressed" and row["reason"] for row in unsent)
    assert {(row["trigger_condition"], row["reason"]) for row in unsent} == {("became_at_risk", "superseded")}
