"""A mail server that takes its time: nobody else waits for it, and nothing is decided before its time is up."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from agents.delivery import round as rounds
from scoring.time import DAY, MINUTE
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import NOW, World

pytestmark = pytest.mark.stack

SLOW, FAST = "slow@example.com", "fast@example.com"


class Holding(MailServer):
    """Holds back its answer to whoever writes to `SLOW`, at `where`, until `go_on` is set."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self.reached, self.go_on = threading.Event(), threading.Event()

    async def _hold(self, where: str, addresses: list[str]) -> None:
        if where == self.where and SLOW in addresses:
            self.reached.set()
            await asyncio.to_thread(self.go_on.wait, 60)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        await self._hold("rcpt", [address])
        return await super().handle_RCPT(server, session, envelope, address, options)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        await self._hold("data", envelope.rcpt_tos)
        return await super().handle_DATA(server, session, envelope)

    def recipients(self) -> list[str]:
        return [recipient for _, recipients in self.envelopes for recipient in recipients]


@pytest.fixture
def holding(request: pytest.FixtureRequest, world: World) -> Any:
    server = Holding(getattr(request, "param", "data"))
    server.start()
    world.settings = world.settings.model_copy(update={"smtp_url": server.url})
    yield server
    server.go_on.set()
    server.stop()


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - Postgres tells nobody
            await asyncio.sleep(0.05)


async def test_what_falls_due_while_a_server_is_slow_is_sent_all_the_same(
    world: World, holding: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "LOOK_AGAIN_S", 0.05)
    slow = await world.row(await world.supplier(email=SLOW), "low_client_adoption")
    delivery = world.delivery()
    working = asyncio.create_task(delivery.deliver_due())
    assert await asyncio.to_thread(holding.reached.wait, 30)

    async def is_sent() -> bool:
        return await world.status(fast) == ("sent", None)

    for _ in range(3):  # more than once: each worker goes on looking
        fast = await world.row(await world.supplier(email=FAST), "low_client_adoption")
        await until(is_sent)
    assert await world.status(slow) == ("sending", None)
    [idle] = await world.query(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database()"
        " AND state LIKE 'idle in transaction%%' AND xact_start < now() - interval '1 second'"
    )
    assert idle["n"] == 0
    holding.go_on.set()
    assert (await working).sent == 4
    assert await world.status(slow) == ("sent", None)


async def test_where_every_sender_is_held_up_others_stand_in_for_them_and_leave_again(
    world: World, holding: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "LOOK_AGAIN_S", 0.05)
    monkeypatch.setattr(rounds, "STAND_IN_S", 0.2)
    delivery = world.delivery(workers=1)
    slow = await world.row(await world.supplier(email=SLOW), "low_client_adoption")
    working = asyncio.create_task(delivery.deliver_due())
    assert await asyncio.to_thread(holding.reached.wait, 30)
    fast = await world.row(await world.supplier(email=FAST), "low_client_adoption")

    async def is_sent() -> bool:
        return await world.status(fast) == ("sent", None)

    await until(is_sent)
    assert await world.status(slow) == ("sending", None)
    holding.go_on.set()
    assert (await working).sent == 2
    assert (await delivery.deliver_due()).total() == 0
    assert len(delivery._mailers) == 1


async def test_a_slow_email_about_a_call_holds_up_no_letter(
    world: World, holding: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "LOOK_AGAIN_S", 0.05)
    await invite(world, await world.supplier(email=SLOW))
    working = asyncio.create_task(world.delivery().deliver_due())
    assert await asyncio.to_thread(holding.reached.wait, 30)
    fast = await world.row(await world.supplier(email=FAST), "low_client_adoption")

    async def is_sent() -> bool:
        return await world.status(fast) == ("sent", None)

    await until(is_sent)
    holding.go_on.set()
    assert (await working).sent == 2


async def invite(world: World, supplier: str) -> None:
    """A booked call whose invitation waits."""
    [call] = await world.query(
        "INSERT INTO support_interactions (supplier_id, interaction_type, scheduled_at, ends_at, status)"
        " VALUES (%s, 'onboarding_call', to_timestamp(%s), to_timestamp(%s), 'scheduled') RETURNING id::text",
        supplier,
        (NOW + DAY) / 1000,
        (NOW + DAY + 15 * MINUTE) / 1000,
    )
    await world.query(
        "INSERT INTO transactional_mails (id, supplier_id, call_id, method, sequence, starts_at, ends_at, expires_at,"
        " not_before, status, created_at) SELECT gen_random_uuid(), supplier_id, id, 'REQUEST', 0, scheduled_at,"
        " ends_at, ends_at, to_timestamp(%s), 'queued', to_timestamp(%s) FROM support_interactions WHERE id = %s",
        NOW / 1000,
        NOW / 1000,
        call["id"],
    )


@pytest.mark.parametrize(
    ("holding", "status"), [("rcpt", "scheduled"), ("data", "unknown")], indirect=["holding"]
)
async def test_being_told_to_stop_ends_the_waiting_and_notes_what_is_known(
    world: World, holding: Holding, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr(rounds, "STOP_GRACE_S", 0.1)
    row = await world.row(await world.supplier(email=SLOW), "low_client_adoption")
    delivery = world.delivery()
    working = asyncio.create_task(delivery.deliver_due())
    assert await asyncio.to_thread(holding.reached.wait, 30)
    delivery.stop()
    await working
    assert await world.status(row) == (status, None)
    assert "before we had to stop" in (await world.find(row))["last_error"]


async def test_an_address_that_the_server_cannot_be_given_is_no_address_and_says_why(
    world: World, mail_server: MailServer
) -> None:
    mail_server.stop()
    mail_server.smtputf8 = False
    mail_server.start()
    row = await world.row(await world.supplier(email="jörg@hochzeit.example"), "low_client_adoption")
    assert (await world.delivery().deliver_due()).suppressed == 1
    assert await world.status(row) == ("suppressed", "no_address")
    found = await world.find(row)
    assert "SMTPUTF8" in found["last_error"]
    assert "hochzeit" not in found["last_error"]
    assert mail_server.tried == 0
    [told] = await world.query(
        "SELECT id FROM outbox WHERE convert_from(value, 'UTF8') LIKE '%%\"reason\":\"no_address\"%%'"
    )
    assert told
