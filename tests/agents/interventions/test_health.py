from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from tests.agents.interventions.factory import (
    DAY,
    EMMA,
    HOUR,
    MONDAY,
    SARAH,
    change,
    consent,
    profile,
    snapshot,
)
from topics.catalog import HEALTH, PROFILES

pytestmark = pytest.mark.stack


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


async def test_a_snapshot_fills_the_columns(writer, select):
    metrics = {
        "loginFrequency": 12,
        "featureAdoption": 0.75,
        "clientActivity": 0.333333333,
        "formCompletion": 0.6,
        "journeyPerformance": 0.12345,
    }
    await writer.write(HEALTH, [snapshot(seq=4, score=55, level="at_risk", metrics=metrics)])
    [row] = select("SELECT * FROM customer_health")
    assert str(row["supplier_id"]) == SARAH
    assert (row["seq"], row["health_score"], row["risk_level"]) == (4, 55, "at_risk")
    assert (row["feature_adoption_score"], row["client_engagement_score"]) == (75, 33)
    assert (row["login_frequency"], row["form_completion_rate"]) == (12, Decimal("0.6"))
    assert row["journey_performance"] == Decimal("0.1235")
    assert row["last_login"] == moment(MONDAY - HOUR)
    assert row["calculated_at"] == moment(MONDAY)
    assert row["next_change_at"] == moment(MONDAY + 2 * DAY)
    assert row["churn_probability"] == 0.5
    assert row["breakdown"]["loginFrequency"] == 30.0
    assert row["facts"]["clients"] == {"known": 0, "active": 0}
    assert row["facts"]["last_goals"]["supplier.logged_in"].startswith("2026-01-05T08:00")


async def test_a_login_that_never_was_is_999_and_null(writer, select):
    metrics = {
        "loginFrequency": 999,
        "featureAdoption": 0,
        "clientActivity": 0,
        "formCompletion": 0,
        "journeyPerformance": 0,
    }
    await writer.write(HEALTH, [snapshot(metrics=metrics, last_login=None)])
    assert select("SELECT login_frequency, last_login FROM customer_health") == [
        {"login_frequency": 999, "last_login": None}
    ]


@pytest.mark.parametrize(
    ("ratio", "percent"), [(0.285, 29), (0.284999999, 28), (0.125, 13), (1, 100), (0, 0)]
)
async def test_percent_columns_round_halves_up_exactly(writer, select, ratio, percent):
    """0.285 is a little less than 28.5 % as a binary fraction, but not as the ratio that was meant."""
    metrics = {
        "loginFrequency": 0,
        "featureAdoption": 0,
        "clientActivity": ratio,
        "formCompletion": 0,
        "journeyPerformance": 0,
    }
    await writer.write(HEALTH, [snapshot(metrics=metrics)])
    assert select("SELECT client_engagement_score AS score FROM customer_health") == [{"score": percent}]


async def test_an_older_snapshot_never_overwrites_a_newer_one(writer, select):
    await writer.write(HEALTH, [snapshot(seq=3, score=50), snapshot(seq=2, score=40)])
    await writer.write(HEALTH, [snapshot(seq=1, score=30)])
    assert select("SELECT seq, health_score FROM customer_health") == [{"seq": 3, "health_score": 50}]


async def test_a_newer_or_equal_snapshot_overwrites(writer, select):
    for seq, score in ((1, 30), (2, 40), (2, 41)):
        await writer.write(HEALTH, [snapshot(seq=seq, score=score)])
    assert select("SELECT seq, health_score FROM customer_health") == [{"seq": 2, "health_score": 41}]


async def test_every_change_is_kept_once_whatever_the_order_of_snapshots(writer, select):
    first = snapshot(seq=2, changes=[change(seq=1, score=30), change(seq=2, score=36)])
    second = snapshot(seq=3, changes=[change(seq=2, score=36), change(seq=3, score=40)])
    for batch in ([second], [first, second], [first]):
        await writer.write(HEALTH, batch)
    rows = select("SELECT seq, score, causes FROM health_history ORDER BY seq")
    assert [(row["seq"], row["score"]) for row in rows] == [(1, 30), (2, 36), (3, 40)]
    assert rows[0]["causes"][0]["component"] == "featureAdoption"


async def test_a_supplier_nobody_told_of_gets_a_row(writer, select):
    await writer.write(HEALTH, [snapshot(EMMA)])
    assert [row["id"] for row in select("SELECT id::text FROM suppliers")] == [EMMA]
    await writer.write(PROFILES, [profile(EMMA, first_name="Emma")])
    assert select("SELECT first_name FROM suppliers") == [{"first_name": "Emma"}]


def unsubscribe(database_url: str, at: int) -> None:
    """What an unsubscribe link does."""
    with psycopg.connect(database_url) as conn:
        conn.execute("UPDATE suppliers SET email_opt_out = true, email_opt_out_at = %s", (moment(at),))


async def test_opting_out_and_in_follows_the_events(writer, select):
    await writer.write(HEALTH, [snapshot(seq=1, consent=consent(email=True, email_at=MONDAY))])
    assert select("SELECT email_opt_out, all_opt_out FROM suppliers") == [
        {"email_opt_out": True, "all_opt_out": False}
    ]
    said = consent(email=False, email_at=MONDAY + 1, everything=True, all_at=MONDAY)
    await writer.write(HEALTH, [snapshot(seq=2, consent=said)])
    assert select("SELECT email_opt_out, all_opt_out FROM suppliers") == [
        {"email_opt_out": False, "all_opt_out": True}
    ]


async def test_an_older_opt_in_does_not_undo_an_unsubscribe_link(writer, select, database_url):
    await writer.write(PROFILES, [profile()])
    unsubscribe(database_url, MONDAY)
    for at in (MONDAY - 1, MONDAY):
        await writer.write(HEALTH, [snapshot(consent=consent(email=False, email_at=at))])
        assert select("SELECT email_opt_out FROM suppliers") == [{"email_opt_out": True}]
    await writer.write(HEALTH, [snapshot(consent=consent(email=False, email_at=MONDAY + 1))])
    assert select("SELECT email_opt_out FROM suppliers") == [{"email_opt_out": False}]


async def test_of_two_words_at_the_same_instant_the_opt_out_holds(writer, select):
    for seq, out in enumerate((False, True, False)):
        await writer.write(HEALTH, [snapshot(seq=seq, consent=consent(email=out, email_at=MONDAY))])
    assert select("SELECT email_opt_out FROM suppliers") == [{"email_opt_out": True}]


async def test_a_supplier_who_never_said_anything_is_not_opted_out(writer, select):
    await writer.write(HEALTH, [snapshot()])
    assert select("SELECT email_opt_out, email_opt_out_at FROM suppliers") == [
        {"email_opt_out": False, "email_opt_out_at": None}
    ]


async def test_what_postgres_refuses_is_a_dead_letter_and_the_rest_is_stored(writer, select):
    bad = snapshot(seq=2**63)  # one more than a bigint holds
    await writer.write(HEALTH, [snapshot(), bad, snapshot(EMMA)])
    assert {str(row["supplier_id"]) for row in select("SELECT supplier_id FROM customer_health")} == {
        SARAH,
        EMMA,
    }
    [(_, value, headers)] = writer.dead_letters
    assert value == bad.value
    assert dict(headers)["error"].startswith(b"wrong_field")


async def test_calculated_at_keeps_the_millisecond(writer, select):
    await writer.write(HEALTH, [snapshot(at=MONDAY + 1)])
    [row] = select("SELECT calculated_at FROM customer_health")
    assert row["calculated_at"] == moment(MONDAY) + timedelta(milliseconds=1)
