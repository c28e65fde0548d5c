"""The coach as a supplier sees it on the demo host page, and events of this moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from playwright.async_api import Locator, Page

from scoring.time import DAY
from tests.agents.delivery.world import World
from tests.factories import cloudevent

OFFER = "Need help? Let's schedule a quick call"
CONGRATULATIONS = "Congratulations on creating your first form!"
ALL_FEATURES = ["clients_imported", "forms_created", "journeys_created", "templates_used"]
HEALTHY: dict[str, Any] = {
    "seq": 11,
    "score": 92,
    "level": "healthy",
    "features": ALL_FEATURES,
    "clients": {"known": 12, "active": 12},
    "forms": {"created": 2, "sent": 9, "completed": 8},
    "journeys": {"active": 1, "sent": 9, "opened": 9},
}
"""A snapshot of somebody who does well."""


class CoachPage:
    """One supplier's browser: `await coach.open("/forms")`, then look at `pill`, `card`, `modal`."""

    def __init__(self, page: Page, api_url: str, token: Callable[..., str], supplier: str) -> None:
        self.page = page
        self.supplier = supplier
        self._api_url = api_url
        self._token = token
        self.element: Locator = page.locator("success-coach")
        self.pill: Locator = page.locator("success-coach .pill")
        self.card: Locator = page.locator("success-coach .card")
        self.modal: Locator = page.locator("success-coach dialog")

    async def visit(self, path: str = "/dashboard") -> None:
        """Go to a page of the demo host, signed in."""
        fragment = f"token={self._token('supplier', self.supplier)}&service={self._token('service')}"
        await self.page.goto(f"{self._api_url}/demo/host{path}#{fragment}")

    async def open(self, path: str = "/dashboard") -> None:
        """Go there and open the card, once it has something to show."""
        await self.visit(path)
        await self.ready()
        await self.pill.click()

    async def ready(self, state: str = "ready") -> None:
        """Wait until the coach is in a state."""
        await self.page.locator(f"success-coach[data-state={state}]").wait_for(state="attached")


async def until(
    condition: Callable[[], Awaitable[Any]], seconds: float = 20, *, pause_s: float = 0.03
) -> Any:
    """Poll a condition until it gives something; what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(pause_s)
    return found


async def remembered(world: World, supplier: str) -> set[str]:
    """What the coach remembers: `tip:one_short_journey dismissed`."""
    rows = await world.query("SELECT item, what FROM coach_memory WHERE supplier_id = %s", supplier)
    return {f"{row['item']} {row['what']}" for row in rows}


async def told(world: World, supplier: str) -> list[str]:
    """The events about a supplier that the outbox got, without the prefix of their types."""
    rows = await world.query(
        "SELECT convert_from(value, 'utf8')::jsonb ->> 'type' AS type FROM outbox WHERE key = %s ORDER BY id",
        supplier,
    )
    return [row["type"].removeprefix("success.intervention.") for row in rows]


def event(kind: str, supplier: str, days_ago: float = 0, **data: Any) -> dict[str, Any]:
    """An activity event, of this moment or of some days ago."""
    at = round(time.time() * 1000 - days_ago * DAY)
    return cloudevent(kind, supplier, at, id=str(uuid4()), data=data)
