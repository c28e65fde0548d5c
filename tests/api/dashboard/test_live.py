"""What an open page hears: that something of it has changed, and that its session is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from api.dashboard import live
from api.news import ANYBODY, News
from runtime.settings import Settings
from store.people.coach import CHANNEL as COACH
from tests.agents.delivery.world import World
from tests.api.dashboard.conftest import Desk, add_changes, fresh_id

pytestmark = pytest.mark.stack

SOON_S = 20


@asynccontextmanager
async def open_page(settings: Settings, whose: str, good: list[bool] | None = None) -> AsyncIterator[Any]:
    """Waits for the next event of a page's stream, which is open already."""

    async def is_good() -> bool:
        return all(good or ())

    news = News(settings.database_url, COACH, live.CHANNEL)
    async with aclosing(live.changes(news, whose, 0, is_good)) as stream:

        async def heard() -> str | None:
            return (await asyncio.wait_for(anext(stream), SOON_S)).event

        assert await heard() == "here"
        yield heard


async def add_note(world: World, supplier_id: str) -> None:
    await world.query(
        "INSERT INTO supplier_notes (id, supplier_id, at, noted_by, note) VALUES (%s, %s, now(), 'emma', 'x')",
        fresh_id(),
        supplier_id,
    )


async def test_whatever_shows_on_a_page_is_told_to_it(settings: Settings, world: World) -> None:
    supplier_id = await world.supplier()
    row = await world.row(supplier_id, "no_login_7_days")
    happenings = (
        lambda: world.health(supplier_id, seq=11, score=20),
        lambda: world.row(supplier_id, "became_at_risk"),
        lambda: world.query(
            "UPDATE success_interventions SET status = 'suppressed', reason = 'held' WHERE id = %s", row
        ),
        lambda: add_note(world, supplier_id),
        lambda: world.query(
            "INSERT INTO supplier_holds (supplier_id, held_at, held_by) VALUES (%s, now(), 'emma')",
            supplier_id,
        ),
        lambda: world.query("DELETE FROM supplier_holds WHERE supplier_id = %s", supplier_id),
        lambda: world.query(
            "INSERT INTO support_interactions (supplier_id, interaction_type) VALUES (%s, 'check_in')",
            supplier_id,
        ),
        lambda: world.profile(supplier_id, business_name="Otherwise", offset=1),
    )
    async with open_page(settings, supplier_id) as heard:
        for happens in happenings:
            await happens()
            assert await heard() == "changed"


async def test_a_suppliers_page_hears_of_them_alone_and_today_of_everybody(
    settings: Settings, world: World
) -> None:
    somebody, other = await world.supplier(), await world.supplier()
    async with open_page(settings, somebody) as of_one, open_page(settings, ANYBODY) as of_all:
        first = asyncio.create_task(of_one())
        await add_note(world, other)
        assert await of_all() == "changed"
        assert not first.done()
        await add_note(world, somebody)
        assert await first == "changed"


async def test_what_happens_together_is_told_once(
    settings: Settings, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "CHECK_S", 0.5)
    good = [True]
    somebody = await world.supplier()
    async with open_page(settings, somebody, good) as heard:
        await add_changes(world, somebody, (1, 20, "critical"), (2, 50, "at_risk"))
        await add_note(world, somebody)
        await add_note(world, somebody)
        assert await heard() == "changed"
        good[0] = False
        assert await heard() == "over"


async def test_a_stream_ends_with_its_session_and_counts_as_no_use_of_it(desk: Desk, world: World) -> None:
    long_ago = "UPDATE dashboard_sessions SET seen_at = now() - interval '90 minutes'"
    seen = "SELECT now() - seen_at > interval '1 hour' AS idle FROM dashboard_sessions WHERE ended_at IS NULL"
    await world.query(long_ago)
    assert (await desk.get("/dashboard", **{"Success-Live": "1"})).status_code == 200
    assert all(row["idle"] for row in await world.query(seen))
    await world.query("UPDATE dashboard_sessions SET seen_at = now() - interval '3 hours'")
    assert (await desk.get("/dashboard", **{"Success-Live": "1"})).status_code == 303


async def test_an_agent_has_so_many_pages_open_and_no_more(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(live.Limits.check_streams.__globals__["MOST_STREAMS"], "page", 0)
    assert (await desk.get("/dashboard/live?page=today")).status_code == 429
    assert (await desk.get("/dashboard/live?page=elsewhere")).status_code == 422
