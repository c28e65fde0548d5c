"""A simulated population: who gets at risk hears from us within a day, or a row says why not."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from email.policy import default
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import orjson
import psycopg
import pytest
from psycopg.rows import dict_row

from replay.simulator.simulate import population
from scoring.zones import zone_named
from topics.time import parse_time

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]

SUCCESS = str(Path(sys.executable).with_name("success"))
CELEBRATIONS = {
    "first_form_created",
    "ten_clients_reached",
    "first_automation_live",
    "first_payment_received",
}
A_DAY = timedelta(hours=24)
LONG = [(f"2026-{month:02}-01T00:00:00Z", 80, 45) for month in range(1, 13)]
SHORT = [("2026-03-01T00:00:00Z", 15, 32)]
"""Over the nights in which clocks change in America and in Europe."""


def success(*arguments: str) -> subprocess.CompletedProcess[str]:
    of_one_partition = os.environ | {"SUCCESS_PARTITIONS": "1"}  # each costs time at every step
    return subprocess.run(
        [SUCCESS, *arguments], capture_output=True, text=True, check=False, env=of_one_partition
    )


@pytest.fixture(
    scope="module",
    params=LONG if os.environ.get("SUCCESS_LONG_TESTS") else SHORT,
    ids=lambda param: param[0][:10],
)
def months(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """Rows, suppliers and mail after a run over a population from `start`."""
    start, suppliers, days = request.param
    data = tmp_path_factory.mktemp("months")
    file = data / "population.jsonl"
    with file.open("wb") as out:
        out.writelines(
            orjson.dumps(line) + b"\n" for line in population(suppliers, days, 11, parse_time(start))
        )
    done = success("run", str(file), "--json", "--keep", "--data", str(data / "stack"))
    assert done.returncode == 0, done.stderr
    addresses = json.loads(done.stdout)["addresses"]
    with psycopg.connect(addresses["database_url"], row_factory=dict_row) as conn:
        rows = conn.execute("SELECT * FROM success_interventions ORDER BY due_at").fetchall()
        risks = conn.execute(
            "SELECT supplier_id, at, risk_level, lag(risk_level) OVER (PARTITION BY supplier_id ORDER BY seq) AS before"
            " FROM health_history"
        ).fetchall()
        zones = {
            row["id"]: zone_named(row["timezone"] or "UTC")
            for row in conn.execute("SELECT id, timezone FROM suppliers").fetchall()
        }
    mails = [
        email.message_from_bytes(path.read_bytes(), policy=default)
        for path in Path(addresses["mail_dir"]).glob("*.eml")
    ]
    yield {"rows": rows, "risks": risks, "mails": mails, "zones": zones}
    assert success("down", "--data", str(data / "stack")).returncode == 0


def longest_wait(since: datetime, until: datetime, zone: tzinfo) -> timedelta:
    """24 hours; 25 over the one night of the year in which their clock is put back between `since` and `until`.

    Who was written to at 08:00 and gets at risk just then is due at 08:00 of the next day: 20 hours after the first
    email it is still night.
    """
    put_back = cast("timedelta", since.astimezone(zone).utcoffset()) - cast(
        "timedelta", until.astimezone(zone).utcoffset()
    )
    return A_DAY + max(timedelta(), put_back)


def test_who_gets_at_risk_hears_from_us_within_a_day_or_a_row_says_why_not(months: dict[str, Any]) -> None:
    rows = [
        row for row in months["rows"] if row["trigger_condition"] in {"became_at_risk", "became_critical"}
    ]
    outcomes = Counter(row["status"] for row in rows)
    assert outcomes["sent"] >= 5  # the population is one in which this happens
    for row in rows:
        if row["status"] == "sent":
            heard = row["sent_at"]
        elif row["status"] == "scheduled":  # the file ends before its day does
            heard = row["not_before"]
        else:
            assert (row["status"], bool(row["reason"])) == ("suppressed", True), row
            if row["reason"] in {"onboarding", "stale"}:  # those are so from the start
                continue
            heard = datetime.fromtimestamp(row["metadata"]["decided_at"] / 1000, UTC)
        zone = months["zones"][row["supplier_id"]]
        assert heard - row["signal_at"] <= longest_wait(row["signal_at"], heard, zone), row


@pytest.mark.parametrize(
    ("since", "until", "hours"),
    [
        ("2026-10-24T07:00:00+00:00", "2026-10-25T08:00:00+00:00", 25),
        ("2026-10-25T08:00:00+00:00", "2026-10-26T08:00:00+00:00", 24),
        ("2026-03-28T08:00:00+00:00", "2026-03-29T07:00:00+00:00", 24),
        ("2026-07-01T07:00:00+00:00", "2026-07-02T07:00:00+00:00", 24),
    ],
)
def test_only_the_night_in_which_the_clock_is_put_back_has_an_hour_more(
    since: str, until: str, hours: int
) -> None:
    wait = longest_wait(
        datetime.fromisoformat(since), datetime.fromisoformat(until), zone_named("Europe/London")
    )
    assert wait == timedelta(hours=hours)


def test_every_level_that_got_worse_has_its_row(months: dict[str, Any]) -> None:
    order = ("healthy", "at_risk", "critical")
    worse = [
        (risk["supplier_id"], risk["at"], risk["risk_level"])
        for risk in months["risks"]
        if risk["before"] and order.index(risk["risk_level"]) > order.index(risk["before"])
    ]
    assert worse
    written = {
        (row["supplier_id"], row["signal_at"], row["trigger_condition"].removeprefix("became_"))
        for row in months["rows"]
    }
    assert set(worse) <= written


def test_no_row_is_without_a_reason_and_no_email_without_a_row(months: dict[str, Any]) -> None:
    for row in months["rows"]:
        assert (row["status"] == "suppressed") == (row["reason"] is not None), row
        if row["status"] in {"sent", "suppressed"} and row["reason"] not in {"onboarding", "stale"}:
            assert row["metadata"]["why"], row
    sent = [
        str(row["id"])
        for row in months["rows"]
        if row["status"] == "sent" and row["intervention_type"] == "email"
    ]
    assert sorted(mail["X-Success-Intervention"] for mail in months["mails"]) == sorted(sent)


def test_nobody_gets_too_much(months: dict[str, Any]) -> None:
    sent: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in months["rows"]:
        if row["status"] == "sent":
            sent[row["supplier_id"]].append(row)
    for rows in sent.values():
        times = sorted(row["sent_at"] for row in rows)
        assert all(
            fourth - first >= timedelta(days=7) for first, fourth in zip(times, times[3:], strict=False)
        )
        positive = sorted(row["sent_at"] for row in rows if row["kind"] == "positive")
        assert all(
            third - one >= timedelta(days=7) for one, third in zip(positive, positive[2:], strict=False)
        )
        emails = sorted(
            row["sent_at"]
            for row in rows
            if row["intervention_type"] == "email" and row["trigger_condition"] not in CELEBRATIONS
        )
        assert all(later - sooner >= timedelta(hours=20) for sooner, later in pairwise(emails))
