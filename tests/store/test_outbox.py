from __future__ import annotations

import pytest

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
