from __future__ import annotations

import asyncio

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from runtime.away import passing
from store import database
from store.database import DatabaseError, Role, connect, new_pool, open_pool
from store.migrate import migrate
from tests.chaos.servers import Servers

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


async def test_a_server_that_falls_silent_is_hung_up_on(database_url):
    """A statement that outlasts its deadline stands for a server that does not answer any more."""
    conn = await connect(database_url, deadline_s=0.2)
    with pytest.raises(psycopg.OperationalError) as caught:
        await conn.execute("SELECT pg_sleep(60)")
    assert passing(caught.value).what == "Postgres"
    assert conn.closed


async def test_a_statement_has_a_deadline_at_the_server(database_url, monkeypatch):
    monkeypatch.setitem(database.DEADLINES_S, Role.WRITER, 0.2)
    monkeypatch.setattr(database, "SILENCE_S", 60)
    async with await open_pool(database_url, Role.WRITER) as pool, pool.connection() as conn:
        with pytest.raises(psycopg.errors.QueryCanceled) as caught:
            await conn.execute("SELECT pg_sleep(60)")
    assert passing(caught.value).what == "Postgres"


async def test_a_wait_for_our_own_pool_is_not_a_server_that_is_away(database_url):
    async with await open_pool(database_url, Role.WRITER, max_size=1) as pool, pool.connection():
        with pytest.raises(PoolTimeout) as caught:
            await pool.getconn(0.01)
    assert passing(caught.value).what == "a connection of our own pool"
    pool = database.new_pool("postgresql://me:hidden@127.0.0.1:1/success", Role.WRITER)
    await pool.open()
    with pytest.raises(DatabaseError) as caught:
        await pool.getconn(0.01)
    assert passing(caught.value).what == "Postgres"
    await pool.close()


async def test_after_an_outage_of_any_length_whoever_wants_a_connection_makes_the_pool_try(tmp_path):
    servers = Servers(tmp_path / "servers")
    try:
        await asyncio.to_thread(servers.postgres.start)
        await asyncio.to_thread(migrate, servers.database_url)
        pool = new_pool(servers.database_url, Role.WRITER, max_size=2)
        async with asyncio.timeout(60):
            await asyncio.to_thread(servers.postgres.kill)
            await pool.open(wait=False)
            while pool.get_stats()["pool_size"]:  # noqa: ASYNC110 - until it has given up
                await asyncio.sleep(0.1)
            await asyncio.to_thread(servers.postgres.start)
            async with pool.connection(timeout=5) as conn:
                await conn.execute("SELECT 1")
        await pool.close()
    finally:
        servers.stop()


async def test_an_older_schema_stops_the_start(database_url):
    with psycopg.connect(database_url) as conn:
        conn.execute("DELETE FROM schema_migrations WHERE name LIKE '0012%'")
    with pytest.raises(DatabaseError, match="lacks 0012_call_mail_reports: run `success migrate`"):
        await open_pool(database_url, Role.WRITER)
