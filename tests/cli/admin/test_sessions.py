"""`success sessions`: who is signed in, and an end to all sessions of an agent at once."""

from __future__ import annotations

import json
import time
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from cli.admin.sessions import sessions
from cli.errors import UsageError
from runtime.settings import Settings
from store.database import Role, open_pool
from store.people import sessions as store
from tests.conftest import in_own_loop

pytestmark = pytest.mark.stack


def success_sessions(*arguments: str) -> Any:
    return json.loads(CliRunner().invoke(sessions, [*arguments, "--json"], catch_exceptions=False).output)


async def begin(settings: Settings, *agents: str) -> None:
    pool = await open_pool(settings.database_url, Role.WRITER, max_size=1)
    async with pool.connection() as conn:
        for number, agent in enumerate(agents):
            await store.begin(conn, f"{agent} {number}", agent, time.time())
    await pool.close()


def test_an_agents_sessions_are_listed_and_end_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.as_env().items():
        monkeypatch.setenv(name, value)
    in_own_loop(begin(settings, "kim", "kim", "lee"))
    assert sorted(each["agent"] for each in success_sessions("list")["sessions"]) == ["kim", "kim", "lee"]
    assert success_sessions("end", "kim", "--by", "root") == {"ended": 2}
    assert [each["agent"] for each in success_sessions("list")["sessions"]] == ["lee"]
    with psycopg.connect(settings.database_url) as conn:
        row = conn.execute("SELECT actor, actor_role, action, details FROM audit_log").fetchone()
    assert row == ("root", "cli", "dashboard.sessions_ended", {"agent": "kim"})


@pytest.mark.parametrize("wrong", [["end"], ["list", "kim"]])
def test_wrong_usage_says_what_to_give(wrong: list[str]) -> None:
    with pytest.raises(UsageError, match="give"):
        CliRunner().invoke(sessions, wrong, catch_exceptions=False, standalone_mode=False)
