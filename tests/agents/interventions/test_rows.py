from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import orjson
import psycopg
import pytest

from tests.agents.interventions.factory import (
    DAY,
    EMMA,
    HOUR,
    MONDAY,
    SARAH,
    Record,
    condition,
    milestone,
    named,
    risk_changed,
    snapshot,
)
from topics.catalog import CONDITIONS, HEALTH, MILESTONES, RISK_CHANGES
from topics.signals import InterventionChanged
from topics.time import format_time

pytestmark = pytest.mark.stack

NINE = datetime(2026, 1, 5, 9, tzinfo=UTC)


async def test_a_condition_becomes_a_scheduled_row(writer, select):
    await writer.write(CONDITIONS, [condition("zero_clients_imported", seq=5, occurrence=2)])
    [row] = select("SELECT * FROM success_interventions")
    signal = named(SARAH, "success.condition.met", "zero_clients_imported2")
    assert row["id"] == uuid5(UUID(signal), "zero_clients_imported")
    assert (row["trigger_condition"], row["intervention_type"]) == ("zero_clients_imported", "email")
    assert (row["template_used"], row["kind"], row["priority"]) == ("import_clients_guide", "rescue", 70)
    assert (row["status"], row["reason"], row["sent_at"]) == ("scheduled", None, None)
    assert row["due_at"] == row["not_before"] == row["signal_at"] == row["created_at"] == NINE
    assert (str(row["signal_id"]), row["seq"], row["attempts"]) == (signal, 5, 0)
    assert row["metadata"]["signal"]["occurrence"] == 2


async def test_the_policys_delay_moves_the_due_time(writer, select):
    policy = writer._policy
    delayed = [trigger.model_copy(update={"delay_ms": 3 * HOUR}) for trigger in policy.triggers]
    writer._own_policy = policy.model_copy(update={"triggers": tuple(delayed)})
    await writer.write(CONDITIONS, [condition()])
    [row] = select("SELECT due_at, not_before, signal_at FROM success_interventions")
    assert row["due_at"] == row["not_before"] == row["signal_at"] + timedelta(hours=3)


async def test_a_milestone_is_kept_and_celebrated(writer, select):
    await writer.write(MILESTONES, [milestone("first_payment", seq=3, cause="payment.received")])
    [kept] = select("SELECT * FROM success_milestones")
    assert (kept["milestone_type"], kept["achieved_at"], kept["celebrated"]) == ("first_payment", NINE, False)
    assert kept["milestone_data"] == {
        "signal_id": named(SARAH, "success.milestone.achieved", "first_payment"),
        "seq": 3,
        "cause_type": "payment.received",
    }
    [row] = select("SELECT trigger_condition, kind FROM success_interventions")
    assert row == {"trigger_condition": "first_payment_received", "kind": "positive"}


@pytest.mark.parametrize(
    ("record", "triggers"),
    [
        (risk_changed("healthy", "at_risk"), ["became_at_risk"]),
        (risk_changed("healthy", "critical"), ["became_critical"]),
        (risk_changed("at_risk", "critical"), ["became_critical"]),
        (risk_changed("critical", "at_risk"), []),
        (risk_changed("at_risk", "healthy"), []),
        (risk_changed(None, "critical"), []),
    ],
)
async def test_a_risk_change_calls_for_help_only_when_it_gets_worse(writer, select, record, triggers):
    await writer.write(RISK_CHANGES, [record])
    assert [
        row["t"] for row in select("SELECT trigger_condition AS t FROM success_interventions")
    ] == triggers


@pytest.mark.parametrize(
    ("level", "triggers"),
    [("healthy", []), ("at_risk", ["became_at_risk"]), ("critical", ["became_critical"])],
)
async def test_the_end_of_onboarding_calls_for_help_at_the_level_then(writer, select, level, triggers):
    await writer.write(CONDITIONS, [condition("onboarding_ended", level=level)])
    assert [
        row["t"] for row in select("SELECT trigger_condition AS t FROM success_interventions")
    ] == triggers


@pytest.mark.parametrize(
    ("age", "status", "reason"),
    [
        (13 * DAY, "suppressed", "onboarding"),
        (14 * DAY - 1, "suppressed", "onboarding"),
        (14 * DAY, "scheduled", None),
        (None, "scheduled", None),
    ],
)
async def test_a_level_that_gets_worse_within_14_days_of_sign_up_is_onboarding(
    writer, select, age, status, reason
):
    signed_up_at = None if age is None else format_time(MONDAY - age)
    await writer.write(RISK_CHANGES, [risk_changed(signed_up_at=signed_up_at)])
    [row] = select("SELECT status, reason, metadata FROM success_interventions")
    assert (row["status"], row["reason"]) == (status, reason)
    if reason:
        assert (row["metadata"]["health_score"], row["metadata"]["risk_level"]) == (55, "at_risk")


@pytest.mark.parametrize(
    ("age", "status", "reason"),
    [(72 * HOUR, "scheduled", None), (72 * HOUR + 1, "suppressed", "stale")],
)
async def test_a_signal_over_72_hours_old_when_first_written_is_stale(
    writer, select, clock, age, status, reason
):
    clock.advance_to(MONDAY + age)
    await writer.write(CONDITIONS, [condition(at=MONDAY)])
    assert select("SELECT status, reason FROM success_interventions") == [
        {"status": status, "reason": reason}
    ]


async def test_a_row_keeps_what_became_of_it_when_its_signal_comes_again(writer, select, database_url, clock):
    await writer.write(CONDITIONS, [condition()])
    with psycopg.connect(database_url) as conn:
        conn.execute("UPDATE success_interventions SET status = 'sent', sent_at = now()")
    clock.advance_to(MONDAY + 30 * DAY)
    await writer.write(CONDITIONS, [condition()])
    assert select("SELECT status FROM success_interventions") == [{"status": "sent"}]
    assert len(select("SELECT id FROM outbox")) == 1


async def test_each_new_row_is_told_once_with_ids_only(writer, select):
    records = [condition(), risk_changed(signed_up_at=format_time(MONDAY - DAY))]
    for _ in range(2):
        await writer.write(CONDITIONS, [records[0], records[0]])
        await writer.write(RISK_CHANGES, [records[1]])
    told = select("SELECT topic, key, value FROM outbox ORDER BY id")
    assert {(row["topic"], row["key"]) for row in told} == {("success.interventions", SARAH)}
    events = [InterventionChanged.model_validate_json(bytes(row["value"])) for row in told]
    assert [(event.type, event.data.reason) for event in events] == [
        ("success.intervention.scheduled", None),
        ("success.intervention.suppressed", "onboarding"),
    ]
    rows = {str(row["id"]) for row in select("SELECT id FROM success_interventions")}
    assert {event.data.intervention_id for event in events} == rows


async def test_delivery_is_woken_when_something_is_new(writer, database_url):
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("LISTEN success_delivery")
        await writer.write(CONDITIONS, [condition()])
        assert len(list(listener.notifies(timeout=5, stop_after=1))) == 1
        await writer.write(CONDITIONS, [condition()])
        assert list(listener.notifies(timeout=0)) == []
        await writer.write(HEALTH, [snapshot()])
        assert len(list(listener.notifies(timeout=5, stop_after=1))) == 1


JUNK = [
    Record(SARAH.encode(), b"\xff\xfe not json"),
    Record(SARAH.encode(), b""),
    Record(SARAH.encode(), None),
    Record(None, condition().value),
    Record(EMMA.encode(), condition().value),
    Record(SARAH.encode(), b"[]"),
    Record(SARAH.encode(), b'{"specversion":"1.0"}'),
    Record(SARAH.encode(), snapshot().value),
    Record(SARAH.encode(), orjson.dumps({**orjson.loads(condition().value or b""), "id": "no uuid"})),
    Record(SARAH.encode(), (condition().value or b"").replace(b"no_login_7_days", b"Nobody knows me!")),
    Record(SARAH.encode(), (condition().value or b"").replace(b'"seq":1', b'"seq":' + b"9" * 5000)),
]


@pytest.mark.parametrize("junk", JUNK)
async def test_junk_on_our_topics_is_a_dead_letter_and_what_comes_after_it_is_processed(writer, select, junk):
    await writer.write(CONDITIONS, [junk, condition("stuck_onboarding")])
    [(key, value, headers)] = writer.dead_letters
    assert (key, value) == (junk.key, junk.value)
    assert dict(headers)["error"]
    assert [row["t"] for row in select("SELECT trigger_condition AS t FROM success_interventions")] == [
        "stuck_onboarding"
    ]


def told(select):
    rows = select(
        "SELECT note_id::text AS id, convert_from(value, 'UTF8')::jsonb AS said FROM outbox "
        "WHERE note_id IS NOT NULL ORDER BY id"
    )
    return [row["said"] | {"id": row["id"]} for row in rows]


async def test_agents_are_told_of_a_level_that_changed_once(writer, select):
    record = risk_changed("healthy", "at_risk")
    await writer.write(RISK_CHANGES, [record])
    await writer.write(RISK_CHANGES, [record])
    [note] = told(select)
    assert note["kind"] == "risk.changed"
    assert note["facts"] == {"previous": "healthy", "level": "at_risk", "score": 55}


@pytest.mark.parametrize(
    "quiet",
    [
        {"previous": None},
        {"signed_up_at": format_time(MONDAY - 2 * DAY)},
        {"at": MONDAY - 4 * DAY},
        {"cause": "rules:7"},
    ],
    ids=["a first one", "onboarding", "long ago", "other rules"],
)
async def test_agents_are_not_told_of_what_nobody_did_or_is_long_ago(writer, select, quiet):
    await writer.write(RISK_CHANGES, [risk_changed(**({"previous": "healthy"} | quiet))])
    assert told(select) == []
