"""No history of signals, clocks, opt-outs, crashes and parallel deliveries breaks what we promise a supplier."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as testing

from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from store.database import Role, open_pool
from tests.agents.delivery.histories import Player, Step, check, steps
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import NOW, World
from tests.forms import LONG

pytestmark = pytest.mark.stack

EXAMPLES = 1500 if LONG else 25


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    """One event loop for all examples."""
    with asyncio.Runner() as runner:
        yield runner


async def played(settings: Settings, mail_server: MailServer, history: list[Step]) -> Counter[str]:
    """Play a history to its end, check it, and count what became of its messages."""
    pool = await open_pool(settings.database_url, Role.WRITER)
    world = World(settings, pool, ManualClock(NOW), Policy.load())
    try:
        player = Player(world, mail_server)
        await player.play(history)
        return await check(player)
    finally:
        await world.close()
        await pool.close()


@pytest.mark.timeout(7200 if LONG else 300)
def test_no_history_breaks_what_we_promise(
    settings: Settings, mail_server: MailServer, loop: asyncio.Runner
) -> None:
    statuses: Counter[str] = Counter()

    @seed(20_260_119)
    @testing(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=not LONG,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink) if LONG else (Phase.generate,),
    )
    @given(steps())
    def search(history: list[Step]) -> None:
        statuses.update(loop.run(played(settings, mail_server, history)))

    search()
    # the search came by everything that can become of a message, and by the limits
    assert statuses["sent"] > EXAMPLES
    seen = set(statuses)
    assert {"unknown", "failed", "weekly_cap", "trigger_cap", "opted_out", "held", "healthy"} <= seen
