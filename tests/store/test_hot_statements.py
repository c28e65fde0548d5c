"""What runs for every event or email: no plan reads a table as a whole, not within a trigger either."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from agents.interventions.writer import InterventionWriter
from runtime.clock import ManualClock
from runtime.keys import Keys
from scoring.decisions.policy import Policy
from scoring.time import DAY
from store.database import Role, open_pool
from store.messages import delivery, feedback, shadow
from store.people import calls
from tests.agents.interventions.factory import MONDAY, Record, change, condition, milestone, profile, snapshot
from tests.store.plans import Plans, tell_all_plans
from topics.catalog import CONDITIONS, HEALTH, MILESTONES, PROFILES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from store.database import Pool

pytestmark = pytest.mark.stack

SUPPLIERS = 3_000
FILL = """
    INSERT INTO suppliers (id, email, signed_up_at)
    SELECT lpad(to_hex(n), 32, '0')::uuid, n || '@example.com', '2025-09-01' FROM generate_series(1, {suppliers}) n;
    INSERT INTO customer_health (supplier_id, seq, health_score, risk_level, churn_probability, calculated_at, facts)
    SELECT id, 5, 50, 'at_risk', 0.3, '2026-01-01',
        jsonb_build_object('signed_up_at', '2025-09-01T00:00:00.000Z', 'last_goals',
            jsonb_build_object('supplier.logged_in', '2026-01-04T00:00:00.000Z'), 'more', repeat('facts ', 200))
    FROM suppliers;
    INSERT INTO health_history (id, supplier_id, seq, at, score, risk_level)
    SELECT gen_random_uuid(), id, n, timestamptz '2025-12-01' + n * interval '1 day', 40 + n * 2, 'at_risk'
    FROM suppliers, generate_series(1, 5) n;
    INSERT INTO success_milestones (supplier_id, milestone_type)
    SELECT id, 'm' || n FROM suppliers, generate_series(1, 3) n;
    INSERT INTO success_interventions (supplier_id, trigger_condition, intervention_type, template_used, status, reason,
        due_at, not_before, signal_id, signal_at, sent_at, claimed_at, metadata)
    SELECT id, 'no_login_7_days', 'email', 'gentle_nudge', chosen.status,
        CASE chosen.status WHEN 'suppressed' THEN 'weekly_cap' END, at, at + waits, gen_random_uuid(), at,
        CASE chosen.status WHEN 'sent' THEN at END, CASE chosen.status WHEN 'sent' THEN at END,
        jsonb_build_object('waiting', 'health', 'more', repeat('words ', 30))
    FROM suppliers, generate_series(1, 8) n,
        LATERAL (SELECT timestamptz '2026-01-05' - n * interval '3 days' AS at,
            CASE WHEN n = 1 THEN interval '400 days' ELSE interval '0' END AS waits,
            CASE WHEN n = 1 THEN 'scheduled' WHEN n < 4 THEN 'sent' ELSE 'suppressed' END AS status) chosen;
    INSERT INTO outbox (topic, key, value, published_at)
    SELECT 'success.interventions', id::text, '', now() FROM suppliers;
    INSERT INTO shadow_policies (policy, name, started_at, last_seen_at, content)
    VALUES ('p', 'p', now(), now(), '{{}}');
    INSERT INTO shadow_interventions (policy, id, supplier_id, trigger_condition, intervention_type, kind, priority,
        status, due_at, not_before, signal_id, signal_at, seq, metadata, created_at)
    SELECT 'p', id, supplier_id, trigger_condition, intervention_type, 'rescue', 1, 'scheduled', due_at, not_before,
        signal_id, signal_at, seq, metadata, now()
    FROM success_interventions WHERE status = 'scheduled';
    INSERT INTO support_interactions (id, supplier_id, interaction_type) SELECT id, id, 'check_in' FROM suppliers;
    INSERT INTO transactional_mails (id, supplier_id, call_id, method, sequence, starts_at, ends_at, not_before,
        expires_at, created_at, waits_for_address)
    SELECT id, id, id, 'REQUEST', 0, '2030-01-01', '2030-01-02', '2026-01-01', '2030-01-01', now(), true FROM suppliers;
"""
LARGE = {
    "suppliers",
    "customer_health",
    "health_history",
    "level_changes",
    "supplier_standings",
    "success_milestones",
    "success_interventions",
    "outbox",
    "shadow_interventions",
    "transactional_mails",
}
KNOWN = [str(UUID(int=number)) for number in range(100, 120)]
NEW = [str(UUID(int=number)) for number in range(1_000_000, 1_000_020)]
POLICY = Policy.load()
KEYS = Keys("of the tests")


@pytest.fixture(params=["auto", "force_generic_plan"])
async def pool(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Pool]:
    """One connection, which tells its plans: made for the values and, the other time, for any."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(FILL.format(suppliers=SUPPLIERS).encode())
        conn.execute("VACUUM ANALYZE")
    # Small tables are read as a whole where nothing keeps Postgres from it; what it can do at all is what counts here.
    off = dict.fromkeys(("enable_seqscan", "enable_hashjoin", "enable_mergejoin"), "off")
    tell_all_plans(database_url, plan_cache_mode=request.param, **off)
    pool = await open_pool(database_url, Role.WRITER, max_size=1)
    yield pool
    await pool.close()


@pytest.fixture
async def plans(pool: Pool) -> Plans:
    """What the pool's connection tells."""
    told = Plans()
    async with pool.connection() as conn:
        told.listen(conn)
    return told


def snapshots(suppliers: list[str], seq: int, score: int, level: str) -> list[Record]:
    """One of each, with a change of score and level, and a goal."""
    return [
        snapshot(
            each,
            seq=seq,
            score=score,
            level=level,
            changes=[change(each, seq=seq, score=score) | {"level": level}],
        )
        for each in suppliers
    ]


async def test_the_writer_reads_no_large_table_as_a_whole(pool: Pool, plans: Plans) -> None:
    writer = InterventionWriter(pool, ManualClock(MONDAY), POLICY, KEYS)
    for seq, score, level in ((7, 90, "healthy"), (8, 20, "critical")):
        await writer.write(HEALTH, snapshots(KNOWN + NEW, seq, score, level))
    await writer.write(PROFILES, [profile(each) for each in KNOWN + NEW])
    await writer.write(MILESTONES, [milestone(supplier=each) for each in KNOWN + NEW])
    await writer.write(CONDITIONS, [condition(supplier=each) for each in KNOWN + NEW])
    assert not writer.dead_letters
    assert plans.whole_reads(LARGE) == []
    assert plans.indexes("MERGE INTO customer_health") >= {"idx_customer_health_supplier"}
    assert plans.indexes("SET converted = true") >= {"idx_interventions_left"}
    # The triggers' own, which would not be looked at if they were not told.
    assert plans.indexes("INSERT INTO supplier_standings") >= {"supplier_standings_pkey"}


async def test_delivery_reads_no_large_table_as_a_whole(pool: Pool, plans: Plans) -> None:
    now = MONDAY + 500 * DAY
    async with pool.connection() as conn:
        locked = await delivery.lock_supplier(conn, now)
        assert locked
        assert await delivery.lock_supplier(conn, now, newest=True)
        due = await delivery.read_due(conn, *locked, now, 30 * DAY, KEYS)
        [row] = due.rows
        claim = {"claim": 7}
        await delivery.apply_decisions(conn, [delivery.Change(row.row.id, "sending", claim, claimed_at=now)])
        await delivery.abandoned(conn, 7, [])
        outcome = delivery.Outcome("sent", sent_at=now)
        assert await delivery.note_outcome(conn, row.row.id, 7, outcome, {})
        await delivery.keep_words(conn, row.row.id, "s", "b", now)
        await feedback.convert(conn, [locked[0]], POLICY)
        await delivery.next_due_ms(conn)
        await shadow.due_supplier(conn, "p", MONDAY)
        await shadow.next_due_ms(conn, "p")
        await calls.claim_mail(conn, 7, now)
        await calls.give_up_mails(conn, 7, [])
        await calls.expire_mails(conn, now)
        await calls.set_aside_mails(conn, now)
        await calls.next_mail_ms(conn)
    assert plans.whole_reads(LARGE) == []
    assert plans.indexes("FROM claimable_interventions") >= {
        "idx_interventions_due",
        "idx_interventions_open",
    }
    assert plans.indexes("ready_rows") | plans.indexes("FOR NO KEY UPDATE) AS i") >= {
        "idx_interventions_open"
    }


async def test_an_opening_stays_on_its_page(database_url: str) -> None:
    """What becomes of a message after it left changes no index."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(FILL.format(suppliers=50).encode())
        marks = ("opened_at", "clicked_at")
        for mark in marks:
            conn.execute(
                sql.SQL(
                    "UPDATE success_interventions SET {} = now() WHERE id IN "
                    "(SELECT id FROM success_interventions WHERE status = 'sent' ORDER BY supplier_id LIMIT 5)"
                ).format(sql.Identifier(mark))
            )
    with psycopg.connect(database_url, autocommit=True) as conn:
        updated = conn.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'success_interventions'"
        ).fetchone()
    assert updated == (10, 10)


async def test_an_update_of_health_stays_on_its_page(database_url: str) -> None:
    """No index changes with a snapshot of the same level, and its page has room: then the update is HOT."""
    pool = await open_pool(database_url, Role.WRITER, max_size=1)
    writer = InterventionWriter(pool, ManualClock(MONDAY), POLICY, KEYS)
    for seq, some in ((1, NEW), (2, NEW[:3]), (3, NEW[5:8])):  # of a page, few have news at once
        await writer.write(HEALTH, snapshots(some, seq, 30 + seq, "critical"))
    await pool.close()
    with psycopg.connect(database_url, autocommit=True) as conn:
        updated = conn.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'customer_health'"
        ).fetchone()
    assert updated == (6, 6)
