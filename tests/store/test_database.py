from __future__ import annotations

import psycopg
import pytest

from store.database import DatabaseError, Role, open_pool

pytestmark = pytest.mark.stack


async def test_connections_hold_the_role_in_utc_without_autocommit(database_url):
    pool = await open_pool(database_url, Role.READER)
    async with pool.connection() as conn:
        row = await (await conn.execute("SELECT current_user, current_setting('TimeZone')")).fetchone()
        assert row == ("success_reader", "UTC")
        assert not conn.autocommit
    await pool.close()


async def test_a_missing_role_says_to_migrate(database_url):
    with pytest.raises(DatabaseError, match="success migrate"):
        await open_pool(database_url, "success_nobody")


async def test_a_server_that_is_away_is_named_without_the_password():
    with pytest.raises(DatabaseError, match=r"127\.0\.0\.1.*SUCCESS_DATABASE_URL") as caught:
        await open_pool("postgresql://me:hidden@127.0.0.1:1/success", Role.WRITER)
    assert "hidden" not in str(caught.value)


async def test_a_process_that_freezes_in_a_transaction_loses_its_locks(database_url, monkeypatch):
    monkeypatch.setattr("store.database.IDLE_IN_TRANSACTION_S", 1)
    async with (
        await open_pool(database_url, Role.WRITER) as frozen,
        await open_pool(database_url, Role.WRITER) as other,
        frozen.connection() as holding,
    ):
        await holding.execute("SELECT pg_advisory_xact_lock(1)")
        async with (
            other.connection() as waiting
        ):  # the one that holds the lock says nothing more from here on
            await waiting.execute("SET LOCAL lock_timeout = '20s'")
            await waiting.execute("SELECT pg_advisory_xact_lock(1)")
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            await holding.execute("SELECT 1")
