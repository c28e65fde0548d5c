"""The tables are those of the specification, to the letter, and hold what the contract adds."""

from __future__ import annotations

import psycopg
import pytest

pytestmark = pytest.mark.stack

SPECIFIED = {
    "customer_health": """id uuid, supplier_id uuid, health_score integer, risk_level text,
        last_login timestamp with time zone, feature_adoption_score integer, client_engagement_score integer,
        login_frequency numeric(5,2), form_completion_rate numeric(5,4), journey_performance numeric(5,4),
        calculated_at timestamp with time zone, created_at timestamp with time zone,
        updated_at timestamp with time zone,
        breakdown jsonb, seq bigint, churn_probability double precision,
        next_change_at timestamp with time zone""",
    "success_milestones": """id uuid, supplier_id uuid, milestone_type text, achieved_at timestamp with time zone,
        celebrated boolean, celebration_sent_at timestamp with time zone, milestone_data jsonb,
        created_at timestamp with time zone""",
    "support_interactions": """id uuid, supplier_id uuid, interaction_type text, status text,
        scheduled_at timestamp with time zone, completed_at timestamp with time zone, duration_minutes integer,
        agent_id uuid, notes text, outcome text, satisfaction_score integer, created_at timestamp with time zone,
        preferred_times timestamp with time zone[], urgency text""",
    "success_interventions": """id uuid, supplier_id uuid, trigger_condition text, intervention_type text,
        template_used text, sent_at timestamp with time zone, opened_at timestamp with time zone,
        clicked_at timestamp with time zone, converted boolean, converted_at timestamp with time zone,
        metadata jsonb, created_at timestamp with time zone,
        status text, reason text, due_at timestamp with time zone, not_before timestamp with time zone,
        signal_id uuid, signal_at timestamp with time zone, claimed_at timestamp with time zone,
        priority integer, attempts integer, last_error text""",
    "suppliers": """id uuid, email text, first_name text, business_name text, vendor_type text, timezone text,
        locale text, plan text, signed_up_at timestamp with time zone, email_opt_out boolean,
        all_opt_out boolean""",
    "health_history": """id uuid, supplier_id uuid, seq bigint, at timestamp with time zone, score integer,
        risk_level text, causes jsonb""",
}
INDEXES = {
    "idx_customer_health_supplier",
    "idx_customer_health_risk",
    "idx_success_milestones_supplier",
    "idx_success_milestones_uncelebrated",
    "idx_support_interactions_supplier",
    "idx_interventions_supplier",
}
REASONS = (
    "weekly_cap",
    "trigger_cap",
    "opted_out",
    "paused",
    "held",
    "healthy",
    "resolved",
    "cancelled_supplier",
    "onboarding",
    "no_address",
    "bounced",
    "complained",
    "erased",
    "superseded",
    "holdout",
    "nothing_to_say",
    "rules_changed",
    "stale",
    "expired",
)


@pytest.mark.parametrize("table", SPECIFIED)
async def test_a_table_has_the_columns_of_specification_and_contract(conn, table):
    found = await conn.execute(
        "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        (table,),
    )
    columns = {row[0] for row in await found.fetchall()}
    assert set(" ".join(SPECIFIED[table].split()).split(", ")) <= columns


async def test_the_indexes_of_the_specification_are_there(conn):
    found = await conn.execute("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'")
    assert {row[0] for row in await found.fetchall()} >= INDEXES


async def refused(conn: psycopg.AsyncConnection, query: str, **values: object) -> str | None:
    """The name of the constraint that refuses the statement, if one does."""
    try:
        async with conn.transaction():
            await conn.execute(query, values)
    except psycopg.errors.CheckViolation as error:
        return error.diag.constraint_name
    return None


INTERVENTION = (
    "INSERT INTO success_interventions (trigger_condition, intervention_type, status, reason, sent_at) "
    "VALUES ('t', 'email', %(status)s, %(reason)s::text, %(sent_at)s::timestamptz)"
)


async def test_a_suppressed_row_says_why_in_the_contracts_words(conn):
    for reason in REASONS:
        assert await refused(conn, INTERVENTION, status="suppressed", reason=reason, sent_at=None) is None
    for reason in (None, "because"):
        refusal = await refused(conn, INTERVENTION, status="suppressed", reason=reason, sent_at=None)
        assert refusal == "interventions_suppressed_says_why"


async def test_only_the_contracts_statuses_exist(conn):
    for status in ("scheduled", "sending", "failed", "unknown"):
        assert await refused(conn, INTERVENTION, status=status, reason=None, sent_at=None) is None
    assert await refused(conn, INTERVENTION, status="queued", reason=None, sent_at=None)


async def test_sent_at_is_null_until_sent(conn):
    constraint = "interventions_sent_has_its_time"
    now = "2026-01-05T09:00:00Z"
    assert await refused(conn, INTERVENTION, status="sent", reason=None, sent_at=now) is None
    assert await refused(conn, INTERVENTION, status="sent", reason=None, sent_at=None) == constraint
    assert await refused(conn, INTERVENTION, status="scheduled", reason=None, sent_at=now) == constraint
    row = await conn.execute(
        "INSERT INTO success_interventions (trigger_condition, intervention_type) VALUES ('t', 'email') "
        "RETURNING sent_at, status"
    )
    assert await row.fetchone() == (None, "scheduled")


async def test_the_checks_of_the_specification_hold(conn):
    assert await refused(conn, "INSERT INTO customer_health (health_score) VALUES (101)")
    assert await refused(conn, "INSERT INTO customer_health (risk_level) VALUES ('fine')")
    assert await refused(
        conn,
        "INSERT INTO support_interactions (interaction_type, satisfaction_score) VALUES ('check_in', 6)",
    )
