from __future__ import annotations

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
