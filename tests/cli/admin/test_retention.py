"""`success retention` drops what is past its period, with the owner's login only."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql

from cli.admin.retention import retention
from cli.errors import CommandError
from runtime.settings import Settings
from store.people.retention import drop_old

pytestmark = pytest.mark.stack

SARAH = "11111111-1111-4111-8111-111111111111"


def days_ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def count(conn: psycopg.Connection[Any], table: str) -> int:
    found = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
    assert found is not None
    return int(found[0])


@pytest.fixture
def conn(settings: Settings) -> Any:
    with psycopg.connect(settings.database_url, autocommit=True) as opened:
        opened.execute("INSERT INTO suppliers (id) VALUES (%s)", [SARAH])
        opened.execute(
            "INSERT INTO success_interventions (id, supplier_id, trigger_condition, intervention_type) "
            "VALUES (%(id)s, %(id)s, 't', 'email')",
            {"id": SARAH},
        )
        for number, days in enumerate((900, 850, 500, 10), 1):
            at = days_ago(days)
            opened.execute(
                "INSERT INTO audit_log (at, actor, actor_role, action) VALUES (%s, 'a', 'cli', 'x')", [at]
            )
            opened.execute(
                "INSERT INTO message_hits (intervention_id, supplier_id, kind, at, classification, why) "
                "VALUES (%s, %s, 'open', %s, 'human', 'x')",
                [SARAH, SARAH, at],
            )
            opened.execute(
                "INSERT INTO mail_reports (id, at, kind, supplier_id) VALUES (%s, %s, 'delivered', %s)",
                [str(number), at, SARAH],
            )
            opened.execute(
                "INSERT INTO health_history VALUES (gen_random_uuid(), %s, %s, %s, 50, 'at_risk')",
                [SARAH, number, at],
            )
            opened.execute(
                "INSERT INTO success_interventions (id, supplier_id, trigger_condition, intervention_type) "
                "VALUES (%s, %s, 't', 'email')",
                [UUID(int=number), SARAH],
            )
            opened.execute("INSERT INTO message_words VALUES (%s, %s, 's', 'b')", [UUID(int=number), at])
            opened.execute(
                "INSERT INTO dashboard_sessions VALUES (%s, 'kim', %s, %s)", [bytes([number]), at, at]
            )
        yield opened


def test_each_kind_has_its_period(
    settings: Settings, conn: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (settings.as_env() | {"SUCCESS_KEEP_HITS_DAYS": "600"}).items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(retention, ["--json"], catch_exceptions=False)
    assert json.loads(done.output) == {
        "dropped": {"hits": 2, "bounces": 3, "words": 3, "audit": 2, "history": 1, "sessions": 3}
    }
    assert [count(conn, table) for table in ("message_hits", "mail_reports", "audit_log")] == [2, 1, 2]
    kept = conn.execute("SELECT seq FROM health_history ORDER BY seq").fetchall()
    assert kept == [(2,), (3,), (4,)]  # the second says how they stood when the period began


def test_small_batches_drop_the_same(conn: psycopg.Connection[Any]) -> None:
    dropped = drop_old(conn, {"hits": 30, "audit": 30, "history": 30}, datetime.now(UTC), batch=1)
    assert dropped == {"hits": 3, "audit": 3, "history": 2}


def test_another_login_is_told_whose_is_needed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, conn: psycopg.Connection[Any]
) -> None:
    conn.execute("DROP ROLE IF EXISTS t_stranger")
    conn.execute("CREATE ROLE t_stranger LOGIN PASSWORD 'x'")
    head, _, tail = settings.database_url.rpartition("@")
    stranger = f"{head.partition('://')[0]}://t_stranger:x@{tail}"
    for name, value in (settings.as_env() | {"SUCCESS_MIGRATE_DATABASE_URL": stranger}).items():
        monkeypatch.setenv(name, value)
    try:
        with pytest.raises(CommandError, match="SUCCESS_MIGRATE_DATABASE_URL"):
            CliRunner().invoke(retention, [], catch_exceptions=False, standalone_mode=False)
    finally:
        conn.execute("DROP ROLE t_stranger")
