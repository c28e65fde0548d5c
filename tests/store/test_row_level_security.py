"""A supplier's token reads their own rows, an agent's all; without a token there is nothing to see."""

from __future__ import annotations

import json

import psycopg
import pytest
from psycopg import sql

pytestmark = pytest.mark.stack

SARAH, EMMA = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
TABLES = (
    "suppliers",
    "customer_health",
    "health_history",
    "success_milestones",
    "success_interventions",
    "support_interactions",
    "audit_log",
)


@pytest.fixture
def two_suppliers(database_url):
    """A database where Sarah and Emma have a row in every table."""
    with psycopg.connect(database_url) as conn:
        for who in (SARAH, EMMA):
            for statement in (
                "INSERT INTO suppliers (id) VALUES (%s)",
                "INSERT INTO customer_health (supplier_id) VALUES (%s)",
                "INSERT INTO health_history VALUES (gen_random_uuid(), %s, 1, now(), 50, 'at_risk')",
                "INSERT INTO success_milestones (supplier_id, milestone_type) VALUES (%s, 'first_form')",
                (
                    "INSERT INTO success_interventions (supplier_id, trigger_condition, intervention_type) "
                    "VALUES (%s, 't', 'email')"
                ),
                "INSERT INTO support_interactions (supplier_id, interaction_type) VALUES (%s, 'check_in')",
                "INSERT INTO audit_log (actor, actor_role, action, supplier_id) VALUES ('a', 'agent', 'x', %s)",
            ):
                conn.execute(statement, (who,))
    return database_url


def seen(database_url: str, role: str, claims: dict[str, str] | None, table: str) -> set[str]:
    """Whose rows of `table` a connection with this role and these claims sees."""
    column = "id" if table == "suppliers" else "supplier_id"
    with psycopg.connect(database_url) as conn:
        conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        if claims is not None:
            conn.execute("SELECT set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
        query = sql.SQL("SELECT {}::text FROM {}").format(sql.Identifier(column), sql.Identifier(table))
        return {row[0] for row in conn.execute(query).fetchall()}


@pytest.mark.parametrize("table", TABLES)
def test_the_api_sees_what_the_token_may_see(two_suppliers, table):
    supplier = {"role": "supplier", "sub": SARAH}
    assert seen(two_suppliers, "success_api", supplier, table) == {SARAH}
    assert seen(two_suppliers, "success_api", {"role": "agent", "sub": "an agent"}, table) == {SARAH, EMMA}
    assert seen(two_suppliers, "success_api", {"role": "service"}, table) == {SARAH, EMMA}
    assert seen(two_suppliers, "success_api", {"role": "stranger", "sub": SARAH}, table) == set()
    assert seen(two_suppliers, "success_api", None, table) == set()


@pytest.mark.parametrize("table", TABLES)
def test_writer_and_reader_see_every_row(two_suppliers, table):
    for role in ("success_writer", "success_reader"):
        assert seen(two_suppliers, role, None, table) == {SARAH, EMMA}


def test_the_login_user_sees_every_row(two_suppliers):
    with psycopg.connect(two_suppliers) as conn:
        assert conn.execute("SELECT count(*) FROM customer_health").fetchone() == (2,)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE customer_health SET health_score = 100",
        "DELETE FROM suppliers",
        "SELECT * FROM outbox",
        "SELECT * FROM erased_suppliers",
        "INSERT INTO success_milestones (supplier_id, milestone_type) VALUES (gen_random_uuid(), 'x')",
    ],
)
def test_reader_and_api_may_not_write_what_is_not_theirs(two_suppliers, statement):
    for role in ("success_reader", "success_api"):
        with psycopg.connect(two_suppliers) as conn:
            conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)


def test_a_supplier_books_calls_for_themselves_only(two_suppliers):
    book = "INSERT INTO support_interactions (supplier_id, interaction_type) VALUES (%s, 'onboarding_call')"
    with psycopg.connect(two_suppliers) as conn:
        conn.execute("SET ROLE success_api")
        claims = json.dumps({"role": "supplier", "sub": SARAH})
        conn.execute("SELECT set_config('request.jwt.claims', %s, true)", (claims,))
        conn.execute(book, (SARAH,))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(book, (EMMA,))
