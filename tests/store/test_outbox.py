from __future__ import annotations

from datetime import timedelta

import pytest

from agents.outbox_publisher import publish_all
from store import outbox
from store.database import Role, open_pool
from store.outbox import Event

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


async def test_two_publishers_never_hold_the_same_event(database_url):
    pool = await open_pool(database_url, Role.WRITER)
    async with pool.connection() as one:
        await outbox.add(one, EVENTS)
    async with pool.connection() as one, pool.connection() as two:
        first = await outbox.fetch_unpublished(one, 2)
        second = await outbox.fetch_unpublished(two, 10)
        assert {event.id for event in first}.isdisjoint(event.id for event in second)
        assert len(first) + len(second) == len(EVENTS)
        await one.rollback()
        assert await outbox.fetch_unpublished(one, 2) == first
    await pool.close()
