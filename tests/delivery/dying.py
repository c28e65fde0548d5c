"""A delivery in its own process that dies by kill -9 at a step: `python -m tests.delivery.dying STEP`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from agents.delivery import Claim, Delivery, Letter
from agents.mail import Mailer, Verdict
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.policy import Policy
from store.database import Role, open_pool
from tests.delivery.world import NOW

STEPS = ("decided", "claimed", "accepted", "noted", "finished")


def die() -> None:
    """Be killed, with nothing flushed, closed or rolled back by us."""
    os.kill(os.getpid(), signal.SIGKILL)


class DyingDelivery(Delivery):
    """Dies after a step: `decided` and `noted` before their commit, `claimed` and `accepted` behind one."""

    step = ""

    async def _decide(self, *given: Any) -> Claim:
        claim = await super()._decide(*given)
        if self.step == "decided":
            die()
        return claim

    async def _hand_over(self, mailer: Mailer, letter: Letter) -> Verdict:
        if self.step == "claimed":
            die()
        verdict = await super()._hand_over(mailer, letter)
        if self.step == "accepted":
            die()
        return verdict

    async def _write_outcome(self, *given: Any) -> None:
        await super()._write_outcome(*given)
        if self.step == "noted":
            die()


async def deliver(step: str) -> None:
    """Deliver once, or die trying."""
    settings = Settings()
    pool = await open_pool(settings.database_url, Role.WRITER)
    delivery = DyingDelivery(settings, pool, ManualClock(NOW), Policy.load(), workers=1)
    delivery.step = step
    await delivery.deliver_due()
    if step == "finished":
        die()
    await delivery.aclose()
    await pool.close()


if __name__ == "__main__":
    asyncio.run(deliver(sys.argv[1]))
