"""A delivery process that delivers until it is killed: `python -m tests.agents.delivery.delivering`."""

from __future__ import annotations

import asyncio

from agents.delivery.round import Delivery
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from store.database import Role, open_pool
from tests.agents.delivery.world import NOW

PAUSE_S = 0.05


async def deliver() -> None:
    """Deliver what is due at `NOW`, again and again."""
    settings = Settings()
    pool = await open_pool(settings.database_url, Role.WRITER)
    delivery = Delivery(settings, pool, ManualClock(NOW), Policy.load())
    while True:
        await delivery.deliver_due()
        await asyncio.sleep(PAUSE_S)


if __name__ == "__main__":
    asyncio.run(deliver())
