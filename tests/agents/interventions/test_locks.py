"""The writer beside others who take their locks in an order of their own."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.agents.interventions.factory import EMMA, SARAH, profile
from tests.store.waiting import until_somebody_waits
from topics.catalog import PROFILES

pytestmark = pytest.mark.stack

LOCK = "SELECT FROM suppliers WHERE id = %s FOR UPDATE"


async def test_a_batch_that_a_deadlock_throws_out_is_written_again(writer, database_url, select):
    await writer.write(PROFILES, [profile(SARAH), profile(EMMA)])
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("SET deadlock_timeout = '60s'")  # the writer is the one who gives way
        await other.execute(LOCK, (EMMA,))
        batch = [profile(SARAH, first_name="S", offset=1), profile(EMMA, first_name="E", offset=1)]
        writing = asyncio.create_task(writer.write(PROFILES, batch))
        await until_somebody_waits(database_url)  # the writer holds Sarah and wants Emma
        await other.execute(LOCK, (SARAH,))
        await other.commit()
    await writing
    assert select("SELECT first_name FROM suppliers ORDER BY id") == [
        {"first_name": "S"},
        {"first_name": "E"},
    ]
