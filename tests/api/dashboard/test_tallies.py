"""Standings, level changes and tallies are kept by triggers: always what counting everything would give."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.store.databases import database, template_on

pytestmark = pytest.mark.stack

LEVELS = ("critical", "at_risk", "healthy")
TALLIES = {
    "level_changes": "SELECT * FROM level_changes",
    "supplier_standings": "SELECT supplier_id, level, band, cohort::text, since FROM supplier_standings",
    "population_now": (
        "SELECT cohort::text, level, band, sum(suppliers) FROM population_now "
        "GROUP BY 1, 2, 3 HAVING sum(suppliers) <> 0"
    ),
    "population_moves": (
        "SELECT day, previous, level, sum(suppliers) FROM population_moves "
        "WHERE level <> '' GROUP BY 1, 2, 3 HAVING sum(suppliers) <> 0"
    ),
    "message_tallies": (
        "SELECT day, template, channel, status, reason, experiment, variant, opened, clicked, converted, unsubscribed, "
        "bounced, complained, sum(messages) FROM message_tallies "
        "GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 HAVING sum(messages) <> 0"
    ),
}


@pytest.fixture
def conn(stack: Any) -> Iterator[psycopg.Connection]:
    """The owner's connection to a migrated database of this test's own."""
    with (
        database(stack.database_url, template_on(stack.database_url)) as url,
        psycopg.connect(url, autocommit=True) as made,
    ):
        yield made


def kept(conn: psycopg.Connection) -> dict[str, set[Any]]:
    """What the tables hold now."""
    return {table: set(conn.execute(query.encode()).fetchall()) for table, query in TALLIES.items()}


def level(score: int) -> str:
    return LEVELS[(score >= 40) + (score >= 70)]


class Life:
    """Random things that agents, delivery and the API do to the tables."""

    def __init__(self, conn: psycopg.Connection, seed: int) -> None:
        self.conn = conn
        self.random = random.Random(seed)  # noqa: S311 - a test's dice
        self.suppliers: list[str] = []
        self.seq = 0

    def sign_up(self) -> None:
        signed_up = self.random.choice([None, "2026-01-05T10:00:00Z", "2026-01-13T00:00:00Z"])
        row = self.conn.execute(
            "INSERT INTO suppliers (id, signed_up_at) VALUES (gen_random_uuid(), %s) RETURNING id::text",
            (signed_up,),
        ).fetchone()
        assert row is not None
        self.suppliers.append(row[0])
        self.conn.execute(
            "INSERT INTO customer_health (supplier_id, facts) "
            "VALUES (%s, jsonb_build_object('signed_up_at', %s::text))",
            (row[0], signed_up),
        )

    def time_passes(self) -> None:
        self.conn.execute(
            "SELECT success_end_newness('2026-01-14Z'::timestamptz + %s * interval '3 hours')", (self.seq,)
        )

    def change_scores(self) -> None:
        """One statement with several changes, some of one supplier, some told before."""
        rows = []
        for _ in range(self.random.randint(1, 6)):
            self.seq += 1
            rows.append((self.random.choice(self.suppliers), self.seq, self.random.randint(0, 100)))
        values = ", ".join(
            f"(md5('{supplier}{seq}')::uuid, '{supplier}', {seq}, "
            f"'2026-01-14Z'::timestamptz + {seq} * interval '3 hours', {score}, '{level(score)}')"
            for supplier, seq, score in rows
        )
        statement = (
            f"INSERT INTO health_history (id, supplier_id, seq, at, score, risk_level) VALUES {values} "  # noqa: S608
            "ON CONFLICT (supplier_id, seq) DO UPDATE SET at = excluded.at"
        )
        for _ in range(self.random.choice([1, 1, 2])):
            self.conn.execute(statement.encode())

    def write(self) -> None:
        status = self.random.choice(["scheduled", "suppressed"])
        self.conn.execute(
            "INSERT INTO success_interventions (supplier_id, trigger_condition, intervention_type, template_used, "
            "status, reason, due_at) SELECT %s, 'became_at_risk', 'email', %s, %s, %s, "
            "'2026-01-14Z'::timestamptz + n * interval '9 hours' FROM generate_series(1, 4) n",
            (
                self.random.choice(self.suppliers),
                self.random.choice([None, "quick_win"]),
                status,
                "stale" if status == "suppressed" else None,
            ),
        )

    def deliver(self) -> None:
        self.conn.execute(
            "UPDATE success_interventions SET status = 'sent', sent_at = due_at + interval '20 hours', "
            "variant = 'base', experiment = 'became_at_risk' WHERE id IN ("
            "SELECT id FROM success_interventions WHERE status = 'scheduled' ORDER BY md5(id::text || %s) LIMIT 3)",
            (str(self.random.random()),),
        )

    def hear(self) -> None:
        column = self.random.choice(
            ["opened_at", "clicked_at", "unsubscribed_at", "bounced_at", "complained_at"]
        )
        value = self.random.choice(["now()", "NULL"])
        self.conn.execute(
            f"UPDATE success_interventions SET {column} = {value}, converted = NOT converted "  # noqa: S608
            "WHERE id IN (SELECT id FROM success_interventions WHERE status = 'sent' ORDER BY id LIMIT 2)".encode()
        )

    def erase(self) -> None:
        if len(self.suppliers) > 3:
            gone = self.suppliers.pop(self.random.randrange(len(self.suppliers)))
            self.conn.execute("DELETE FROM suppliers WHERE id = %s", (gone,))

    def fold(self) -> None:
        self.conn.execute("SELECT success_fold_tallies()")

    def live(self, steps: int) -> None:
        for _ in range(5):
            self.sign_up()
        acts = [
            self.sign_up,
            self.erase,
            self.fold,
            self.time_passes,
            *[self.change_scores, self.write, self.deliver, self.hear] * 4,
        ]
        for _ in range(steps):
            self.random.choice(acts)()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_happens_the_tallies_are_what_counting_gives(conn: psycopg.Connection, seed: int) -> None:
    Life(conn, seed).live(120)
    conn.execute("SELECT success_end_newness('2026-03-01Z')")
    before = kept(conn)
    moves = before.pop("population_moves")
    conn.execute("SELECT success_recount()")
    conn.execute("SELECT success_end_newness('2026-03-01Z')")
    after = kept(conn)
    # Moves of the erased stay: the past was so. What remains must be among them.
    assert {row[:3] for row in after.pop("population_moves")} <= {row[:3] for row in moves}
    assert before == after


@pytest.mark.parametrize("seed", [4, 5])
def test_counting_anew_in_parts_beside_writers_changes_nothing_that_was_right(
    conn: psycopg.Connection, seed: int
) -> None:
    Life(conn, seed).live(120)
    conn.execute("SELECT success_end_newness(now())")
    before = kept(conn)
    conn.execute("UPDATE supplier_standings SET risk = NULL, new_until = NULL")
    conn.execute("CALL success_recount_in_parts(2)")
    assert kept(conn) == before


def test_counting_anew_in_parts_brings_newcomers_to_those_who_were_counted_before(
    conn: psycopg.Connection,
) -> None:
    Life(conn, 6).live(120)
    conn.execute("SELECT success_end_newness(now())")
    before = kept(conn)
    # As it was before there were newcomers: each level as it is.
    conn.execute("DELETE FROM level_changes WHERE level = 'new' OR previous = 'new'")
    conn.execute("UPDATE supplier_standings SET risk = NULL, new_until = NULL")
    conn.execute("CALL success_recount_in_parts(2)")
    after = kept(conn)
    assert after["level_changes"] == before["level_changes"]
    assert after["supplier_standings"] == before["supplier_standings"]


def test_levels_by_day_add_up_to_the_population(conn: psycopg.Connection) -> None:
    Life(conn, 7).live(150)
    flows = conn.execute(
        "SELECT level, sum(n) FROM (SELECT level, suppliers AS n FROM population_moves UNION ALL "
        "SELECT previous, -suppliers FROM population_moves) f WHERE level <> '' GROUP BY 1 HAVING sum(n) <> 0"
    ).fetchall()
    standing = conn.execute("SELECT level, count(*) FROM supplier_standings GROUP BY 1").fetchall()
    assert {(level_, int(n)) for level_, n in flows} == set(standing)


def test_folding_keeps_the_sums_and_leaves_one_row_a_key(conn: psycopg.Connection) -> None:
    Life(conn, 5).live(60)
    before = kept(conn)
    row = conn.execute("SELECT success_fold_tallies()").fetchone()
    assert row is not None
    assert row[0] > 0
    assert kept(conn) == before
    for table in ("population_moves", "population_now", "message_tallies"):
        left = conn.execute(f"SELECT count(*) FROM {table} WHERE backend <> 0".encode()).fetchone()  # noqa: S608
        assert left == (0,)
    assert conn.execute("SELECT success_fold_tallies()").fetchone() == (0,)


def test_two_writers_never_wait_for_each_other(conn: psycopg.Connection) -> None:
    """Each adds to rows of its own: an open transaction of one holds up no other."""
    life = Life(conn, 1)
    life.sign_up()
    life.sign_up()
    change = (
        "INSERT INTO health_history (id, supplier_id, seq, at, score, risk_level) "
        "VALUES (gen_random_uuid(), %s, 1, '2026-01-19Z', 50, 'at_risk')"
    )
    address = conn.info.dsn + f" dbname={conn.info.dbname}"
    with psycopg.connect(address) as first, psycopg.connect(address) as second:
        first.execute(change, (life.suppliers[0],))
        second.execute("SET lock_timeout = '2s'")
        second.execute(change, (life.suppliers[1],))
    total = conn.execute("SELECT sum(suppliers) FROM population_now").fetchone()
    assert total == (2,)


def test_a_standing_knows_week_weight_and_since_when(conn: psycopg.Connection) -> None:
    conn.execute("INSERT INTO suppliers (id, plan) VALUES ('11111111-1111-4111-8111-111111111111', 'free')")
    conn.execute(
        "INSERT INTO customer_health (supplier_id, seq, health_score, risk_level, churn_probability, facts) VALUES "
        "('11111111-1111-4111-8111-111111111111', 3, 58, 'at_risk', 0.5, "
        """'{"plan": "scale", "signed_up_at": "2025-12-04T23:30:00.000Z"}')"""
    )
    conn.execute(
        "INSERT INTO health_history (id, supplier_id, seq, at, score, risk_level) SELECT gen_random_uuid(), "
        "'11111111-1111-4111-8111-111111111111', n, '2026-01-10Z'::timestamptz + n * interval '1 day', 80 - n * 8, "
        "CASE WHEN n = 1 THEN 'healthy' ELSE 'at_risk' END FROM generate_series(1, 3) n"
    )
    found = conn.execute(
        "SELECT level, band, cohort::text, since::timestamptz AT TIME ZONE 'UTC', weight FROM supplier_standings"
    ).fetchone()
    assert found is not None
    assert (*found[:3], str(found[3]), found[4]) == ("at_risk", 11, "2025-12-01", "2026-01-12 00:00:00", 3.5)
    conn.execute("UPDATE customer_health SET facts = facts || '{\"cancelled\": true}'")
    conn.execute(
        "INSERT INTO health_history (id, supplier_id, seq, at, score, risk_level) VALUES (gen_random_uuid(), "
        "'11111111-1111-4111-8111-111111111111', 4, '2026-01-20Z', 10, 'critical')"
    )
    assert conn.execute("SELECT weight FROM supplier_standings").fetchone() == (0,)


def test_newcomers_count_as_new_until_their_first_14_days_are_over(conn: psycopg.Connection) -> None:
    conn.execute("INSERT INTO suppliers (id) VALUES ('11111111-1111-4111-8111-111111111111')")
    conn.execute(
        "INSERT INTO customer_health (supplier_id, seq, risk_level, facts) VALUES "
        """('11111111-1111-4111-8111-111111111111', 1, 'critical', '{"signed_up_at": "2026-01-01T00:00:00.000Z"}')"""
    )
    conn.execute(
        "INSERT INTO health_history (id, supplier_id, seq, at, score, risk_level) VALUES (gen_random_uuid(), "
        "'11111111-1111-4111-8111-111111111111', 1, '2026-01-01Z', 30, 'critical')"
    )

    def counted() -> list[Any]:
        return conn.execute(
            "SELECT level, sum(suppliers)::int FROM population_now GROUP BY 1 HAVING sum(suppliers) <> 0"
        ).fetchall()

    conn.execute("SELECT success_end_newness('2026-01-14T23:59:59.999Z')")
    assert counted() == [("new", 1)]
    assert conn.execute("SELECT success_end_newness('2026-01-15T00:00:00Z')").fetchone() == (1,)
    assert counted() == [("critical", 1)]
    changes = "SELECT previous, level, at::date::text, score FROM level_changes ORDER BY at"
    assert conn.execute(changes).fetchall() == [
        (None, "new", "2026-01-01", 30),
        ("new", "critical", "2026-01-15", 30),
    ]
    assert conn.execute("SELECT success_end_newness('2026-02-01Z')").fetchone() == (0,)


def test_a_supplier_sees_nothing_of_the_agents_tables(conn: psycopg.Connection) -> None:
    Life(conn, 2).live(40)
    sarah = conn.execute("SELECT supplier_id::text FROM supplier_standings LIMIT 1").fetchone()
    assert sarah is not None
    with conn.transaction():
        conn.execute("SET LOCAL ROLE success_api")
        claims = f'{{"role": "supplier", "sub": "{sarah[0]}"}}'
        conn.execute("SELECT set_config('request.jwt.claims', %s, true)", (claims,))
        for table in (*TALLIES, "supplier_notes", "dead_letters_published"):
            assert conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() == (0,)  # noqa: S608
        assert conn.execute("SELECT count(*) FROM success_find_suppliers(%s, 5)", (sarah[0],)).fetchone() == (
            0,
        )
