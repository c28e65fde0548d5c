"""Even a handler that forgets to ask whose rows they are reads nobody else's: proven with the API's own role.

Every table that the role may read is asked of the catalogue; one that is not in `ROWS` fails, so that a new table
says here whose its rows are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI
from psycopg import sql

from api.app import build_app
from api.auth import Caller
from api.services import Services
from runtime.clock import ManualClock
from runtime.settings import Settings
from store.database import Role

pytestmark = pytest.mark.stack

SARAH, EMMA = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
THEIRS, AGENTS = "theirs", "agents"

ROWS: dict[str, tuple[str, str]] = {
    "suppliers": (THEIRS, "INSERT INTO suppliers (id) VALUES ({who})"),
    "supplier_acts": (THEIRS, "INSERT INTO supplier_acts (supplier_id, kind, at) VALUES ({who}, 'x', now())"),
    "customer_health": (THEIRS, "INSERT INTO customer_health (supplier_id) VALUES ({who})"),
    "health_history": (
        THEIRS,
        "INSERT INTO health_history VALUES (gen_random_uuid(), {who}, 1, now(), 50, 'at_risk')",
    ),
    "success_milestones": (
        THEIRS,
        "INSERT INTO success_milestones (supplier_id, milestone_type) VALUES ({who}, 'first_form')",
    ),
    "success_interventions": (
        THEIRS,
        (
            "INSERT INTO success_interventions (id, supplier_id, trigger_condition, intervention_type) "
            "VALUES ({who}, {who}, 't', 'email')"
        ),
    ),
    "support_interactions": (
        THEIRS,
        "INSERT INTO support_interactions (id, supplier_id, interaction_type) VALUES ({who}, {who}, 'check_in')",
    ),
    "transactional_mails": (
        THEIRS,
        (
            "INSERT INTO transactional_mails (id, supplier_id, call_id, method, sequence, starts_at, ends_at, "
            "not_before, expires_at, created_at) "
            "VALUES ({who}, {who}, {who}, 'REQUEST', 1, now(), now(), now(), now(), now())"
        ),
    ),
    "audit_log": (
        THEIRS,
        "INSERT INTO audit_log (actor, actor_role, action, supplier_id) VALUES ('a', 'agent', 'x', {who})",
    ),
    "message_hits": (
        THEIRS,
        (
            "INSERT INTO message_hits (intervention_id, supplier_id, kind, at, classification, why) "
            "VALUES ({who}, {who}, 'open', now(), 'human', 'it was')"
        ),
    ),
    "feedback_due": (
        THEIRS,
        "INSERT INTO feedback_due (intervention_id, kind, at) VALUES ({who}, 'opened', now())",
    ),
    "mail_reports": (
        THEIRS,
        "INSERT INTO mail_reports (id, at, kind, supplier_id) VALUES ({who}, now(), 'delivered', {who})",
    ),
    "coach_memory": (
        THEIRS,
        "INSERT INTO coach_memory (supplier_id, item, what, at) VALUES ({who}, 'tip:x', 'shown', now())",
    ),
    "message_words": (AGENTS, "INSERT INTO message_words VALUES ({who}, now(), 'Hello', 'Sarah')"),
    "supplier_holds": (AGENTS, "INSERT INTO supplier_holds VALUES ({who}, now(), 'Kim')"),
    "supplier_notes": (
        AGENTS,
        "INSERT INTO supplier_notes (id, supplier_id, at, noted_by, note) VALUES ({who}, {who}, now(), 'Kim', 'n')",
    ),
    "supplier_tags": (AGENTS, "INSERT INTO supplier_tags VALUES ({who}, 'spring', now(), 'Kim')"),
    "list_views": (AGENTS, "INSERT INTO list_views VALUES ({who}, {who}::text, 'View', '', true, now())"),
    "supplier_owners": (AGENTS, "INSERT INTO supplier_owners VALUES ({who}, 'Kim', now(), 'Kim')"),
    "supplier_standings": (AGENTS, "UPDATE customer_health SET seq = 1 WHERE supplier_id = {who}"),
    "level_changes": (AGENTS, "UPDATE customer_health SET seq = 2 WHERE supplier_id = {who}"),
    "config_drafts": (
        AGENTS,
        "INSERT INTO config_drafts (author, files, settings, changed_at) VALUES ({who}::text, '{{}}', '[]', now())",
    ),
    "config_versions": (
        AGENTS,
        (
            "INSERT INTO config_versions "
            "(number, digest, source_digest, author, note, rules, policy, brand, templates, created_at) "
            "SELECT count(*) + 1, {who}::text, 'd', 'Kim', 'x', '{{}}', '{{}}', '{{}}', '{{}}', now() "
            "FROM config_versions"
        ),
    ),
    "pipeline_progress": (
        AGENTS,
        "INSERT INTO pipeline_progress SELECT count(*), now() FROM pipeline_progress WHERE {who}::text <> ''",
    ),
    "population_moves": (AGENTS, ""),
    "population_now": (AGENTS, ""),
    "message_tallies": (AGENTS, ""),
    "dashboard_sessions": (
        AGENTS,
        "INSERT INTO dashboard_sessions VALUES (decode(md5({who}::text), 'hex'), 'Kim', now(), now())",
    ),
    "dead_letters_published": (
        AGENTS,
        (
            "INSERT INTO dead_letters_published (partition, position, stamp, at, published_by) "
            "SELECT 0, count(*), now(), now(), {who}::text FROM dead_letters_published"
        ),
    ),
    "shadow_policies": (
        AGENTS,
        (
            "INSERT INTO shadow_policies (policy, name, started_at, last_seen_at, content) "
            "VALUES ({who}, 'p', now(), now(), '{{}}')"
        ),
    ),
    "shadow_interventions": (
        AGENTS,
        (
            "INSERT INTO shadow_interventions (policy, id, supplier_id, trigger_condition, intervention_type, kind, "
            "priority, status, due_at, not_before, signal_id, signal_at, seq, created_at) VALUES ({who}, {who}, {who}, "
            "'t', 'email', 'rescue', 1, 'scheduled', now(), now(), {who}, now(), 1, now())"
        ),
    ),
    "suppressed_addresses": (
        AGENTS,
        "INSERT INTO suppressed_addresses VALUES (decode(md5({who}::text), 'hex'), 'bounced', now())",
    ),
}
"""Whose the rows of a table are, and how Sarah and Emma get one each; empty where triggers count suppliers."""

WHOSE = {"suppliers": "id", "feedback_due": "intervention_id", "message_words": "intervention_id"}
DEFINERS = {
    "success_taken_times": "tells when calls are, never whose",
    "success_find_suppliers": "finds nothing unless an agent's claims are set",
    "success_suppressed": "tells why an address is not written to, to whoever has its keyed hash",
    "success_address_no": "writes a word of a keyed hash, and tells nothing",
    "success_first_address_no": "the same",
    "success_addresses_yes": "the same",
    "success_address_yes": "the same",
}
"""Functions that see more than who calls them, and why that is no way round."""


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """A database in which both have a row in every table."""
    with psycopg.connect(settings.database_url) as conn:
        for _, statement in ROWS.values():
            for who in (SARAH, EMMA) if statement else ():
                conn.execute(sql.SQL(statement).format(who=sql.Literal(who)))
    return settings


@pytest.fixture
async def services(filled: Settings, clock: ManualClock) -> AsyncIterator[Services]:
    """What handlers work with."""
    app: FastAPI = build_app(filled, clock)
    async with app.router.lifespan_context(app):
        yield app.state.services


async def seen(conn: psycopg.AsyncConnection, table: str) -> list[Any]:
    """Whose rows a careless query finds; `"?"` for those that name nobody."""
    found = await conn.execute(sql.SQL("SELECT to_jsonb(t) FROM {} t").format(sql.Identifier(table)))
    column = WHOSE.get(table, "supplier_id")
    return [row[0].get(column, "?") for row in await found.fetchall()]


def test_every_table_that_the_api_may_read_is_listed_and_secured(settings: Settings) -> None:
    with psycopg.connect(settings.database_url) as conn:
        readable = conn.execute(
            "SELECT relname, relrowsecurity FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "AND relname <> 'schema_migrations' "  # which names nobody
            "AND relkind IN ('r', 'p', 'v', 'm', 'f') AND has_any_column_privilege(%s, oid, 'SELECT')",
            (Role.API,),
        ).fetchall()
    assert {name for name, _ in readable} == set(ROWS)
    assert all(secured for _, secured in readable)


@pytest.mark.parametrize("opened", ["reading", "transaction"])
async def test_a_careless_handler_reads_their_own_rows_only(services: Services, opened: str) -> None:
    sarah, agent = Caller("supplier", SARAH), Caller("agent", "Kim")
    for table, (whose, _) in ROWS.items():
        async with getattr(services, opened)(agent) as conn:
            everything = await seen(conn, table)
        assert len(everything) >= 1, f"nothing was put into {table}"
        if everything != ["?"] * len(everything):
            assert {SARAH, EMMA} <= set(everything)
        async with getattr(services, opened)(sarah) as conn:
            assert set(await seen(conn, table)) == ({SARAH} if whose == THEIRS else set()), table


async def test_without_claims_there_is_nothing_also_after_an_agent(services: Services) -> None:
    """A connection that goes back to the pool takes nobody's claims along."""
    for opened in (services.reading, services.transaction):
        async with opened(Caller("agent", "Kim")) as conn:
            assert len(await seen(conn, "suppliers")) == 2
    for table in ROWS:
        async with services.pool.connection() as conn:
            assert await seen(conn, table) == []


async def test_claims_that_fail_leave_nothing_to_see(services: Services) -> None:
    broken = Caller("supplier", "not a uuid")
    for opened in (services.reading, services.transaction):
        with pytest.raises(psycopg.errors.DataError):
            async with opened(broken) as conn:
                await seen(conn, "suppliers")
        async with opened(Caller("supplier", SARAH)) as conn:
            assert await seen(conn, "suppliers") == [SARAH]


async def test_functions_with_more_rights_tell_a_supplier_nothing(services: Services) -> None:
    async with services.transaction(Caller("supplier", SARAH)) as conn:
        found = await conn.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef "
            "AND prorettype <> 'trigger'::regtype AND has_function_privilege(oid, 'EXECUTE')"
        )
        assert {row[0] for row in await found.fetchall()} == set(DEFINERS)
        for term in (EMMA, "emma", "photographer@example.com"):
            hits = await conn.execute("SELECT * FROM success_find_suppliers(%s, 10)", (term,))
            assert await hits.fetchall() == []
