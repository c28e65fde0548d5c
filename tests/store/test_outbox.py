from __future__ import annotations

import asyncio
from datetime import timedelta

import psycopg
import pytest
from aiokafka.errors import RequestTimedOutError

from agents.delivery.outbox import keep_doing, publish_all
from runtime.away import BackOff, Wait
from store import outbox
from store.database import Role, open_pool
from store.outbox import Event
from tests.store.waiting import until_somebody_waits

pytestmark = pytest.mark.stack

EVENTS = [Event("success.interventions", f"supplier-{number}", b"\x00\xff%d" % number) for number in range(5)]


async def test_events_come_out_in_the_order_they_went_in_byte_for_byte(conn):
    await outbox.add(conn, EVENTS)
    fetched = await outbox.fetch_unpublished(conn, 3)
    assert [(event.topic, event.key, event.value) for event in fetched] == [tuple(one) for one in EVENTS[:3]]


async def test_published_events_do_not_come_out_again(conn):
    await outbox.add(conn, EVENTS)
    first = await outbox.fetch_unpublished(conn, 2)
    await outbox.mark_published(conn, [event.id for event in first])
    rest = await outbox.fetch_unpublished(conn, 10)
    assert [event.value for event in rest] == [event.value for event in EVENTS[2:]]


async def test_what_was_published_long_ago_goes_a_batch_at_a_time_and_what_waits_never(conn):
    await outbox.add(conn, EVENTS)
    ids = [event.id for event in await outbox.fetch_unpublished(conn, 10)]
    await outbox.mark_published(conn, ids[:4])
    await conn.execute(
        "UPDATE outbox SET published_at = now() - make_interval(days => 8) WHERE id = ANY(%s)",
        [ids[:3]],
    )
    await conn.execute(
        "UPDATE outbox SET created_at = now() - make_interval(days => 99) WHERE id = %s", [ids[4]]
    )
    assert [await outbox.prune(conn, timedelta(days=7), 2) for _ in range(3)] == [2, 1, 0]
    left = await (await conn.execute("SELECT id FROM outbox ORDER BY id")).fetchall()
    assert [row[0] for row in left] == ids[3:]


async def test_publishing_prunes_what_is_older_than_a_week(database_url):
    pool = await open_pool(database_url, Role.WRITER)
    async with pool.connection() as conn:
        await outbox.add(conn, EVENTS)
        await conn.execute(
            "UPDATE outbox SET published_at = now() - make_interval(days => 7, secs => 1) WHERE id <= 2"
        )
    sent = []

    async def send(events):
        sent.extend(events)

    assert await publish_all(pool, send) == 3
    async with pool.connection() as conn:
        left = await (
            await conn.execute("SELECT value, published_at IS NULL FROM outbox ORDER BY id")
        ).fetchall()
    assert [(event.value, False) for event in EVENTS[2:]] == left
    assert sent == EVENTS[2:]
    await pool.close()


async def test_no_transaction_waits_for_kafka_and_a_second_publisher_waits_for_the_first(database_url):
    pool = await open_pool(database_url, Role.WRITER)
    async with pool.connection() as conn:
        await outbox.add(conn, EVENTS)
    arrived, go_on = asyncio.Event(), asyncio.Event()
    sent = []

    async def kafka(events):
        sent.extend(events)
        arrived.set()
        await go_on.wait()

    first = asyncio.create_task(publish_all(pool, kafka))
    await arrived.wait()
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
        rows = await conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND (xact_start IS NOT NULL OR state LIKE 'idle in transaction%')"
        )
        assert await rows.fetchone() == (0,)
    second = asyncio.create_task(publish_all(pool, kafka))
    await until_somebody_waits(database_url)
    go_on.set()
    assert [await first, await second] == [5, 0]
    assert sent == EVENTS
    await pool.close()


async def test_a_publisher_that_died_is_followed_by_another_which_says_the_same_again(database_url):
    pool = await open_pool(database_url, Role.WRITER)
    async with pool.connection() as conn:
        await outbox.add(conn, EVENTS)
    sent = []

    async def breaks(_events):
        raise RequestTimedOutError

    async def works(events):
        sent.extend(events)

    with pytest.raises(RequestTimedOutError):
        await publish_all(pool, breaks)
    assert await publish_all(pool, works) == 5
    assert sent == EVENTS
    await pool.close()


async def test_publishing_goes_on_when_what_was_away_is_back_and_raises_what_waiting_does_not_mend():
    answers = [
        RequestTimedOutError(),
        psycopg.errors.ReadOnlySqlTransaction("cannot execute UPDATE"),
        psycopg.errors.IdleInTransactionSessionTimeout("terminating connection"),
        None,
        TypeError("a bug"),
    ]
    wait = Wait("the outbox", back_off=BackOff(0.001, 0.001))
    wake = asyncio.Event()

    async def step():
        wake.set()
        if error := answers.pop(0):
            raise error

    with pytest.raises(TypeError, match="a bug"):
        await keep_doing(step, wake, 3600, wait)
    assert answers == []
