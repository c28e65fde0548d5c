"""One email at a time to a supplier: the fate of one is known before the next is decided; the newest goes first."""

from __future__ import annotations

import asyncio
import threading
from email.message import EmailMessage
from unittest.mock import AsyncMock

import pytest
from psycopg import OperationalError

from agents.delivery import handing
from agents.delivery.round import DeliveryCount
from scoring.time import HOUR, MINUTE
from store.messages import delivery as store
from tests.agents.delivery.mail_server import ACCEPTED, MailServer
from tests.agents.delivery.world import NOW, World

pytestmark = pytest.mark.stack


async def test_what_was_due_together_with_an_email_that_bounced_is_not_sent(
    world: World, mail_server: MailServer
) -> None:
    supplier = await world.supplier()
    first = await world.row(supplier, "low_client_adoption")
    second = await world.row(supplier, "first_form_created", signal_at=NOW - MINUTE)
    mail_server.rcpt = lambda _address: "550 5.1.1 user unknown"

    count = await world.delivery().deliver_due()

    assert (count.failed, count.suppressed) == (1, 1)
    assert await world.status(first) == ("failed", None)
    assert await world.status(second) == ("suppressed", "bounced")


async def test_what_is_due_together_leaves_together_where_nothing_bounces(
    world: World, mail_server: MailServer
) -> None:
    supplier = await world.supplier()
    rows = [
        await world.row(supplier, "low_client_adoption"),
        await world.row(supplier, "first_form_created", signal_at=NOW - MINUTE),
    ]

    count = await world.delivery().deliver_due()

    assert count.sent == 2
    assert [str(message["X-Success-Intervention"]) for message in mail_server.accepted] == rows


async def test_no_other_process_writes_to_them_while_an_email_is_on_its_way(
    world: World, mail_server: MailServer
) -> None:
    supplier = await world.supplier()
    await world.row(supplier, "low_client_adoption")
    other = await world.row(supplier, "first_form_created", signal_at=NOW - MINUTE)
    arrived, go_on = threading.Event(), threading.Event()

    def refuse(_message: EmailMessage) -> str:
        arrived.set()
        assert go_on.wait(30)
        return "550 5.1.1 user unknown"

    mail_server.data = refuse
    sending = asyncio.create_task(world.delivery().deliver_due())
    assert await asyncio.to_thread(arrived.wait, 30)

    assert (await world.delivery().deliver_due()).total() == 0
    assert await world.status(other) == ("scheduled", None)

    go_on.set()
    await sending
    assert mail_server.tried == 1
    assert await world.status(other) == ("suppressed", "bounced")


async def test_a_celebration_does_not_stand_in_line_behind_a_backlog(
    world: World, mail_server: MailServer
) -> None:
    for _ in range(12):
        await world.row(await world.supplier(), "low_client_adoption", signal_at=NOW - HOUR)
    celebration = await world.row(await world.supplier(), "first_form_created", signal_at=NOW)

    await world.delivery(workers=2).deliver_due()

    sent = [str(message["X-Success-Intervention"]) for message in mail_server.accepted]
    assert len(sent) == 13
    assert celebration in sent[:2]


async def test_an_outcome_that_could_not_be_noted_is_unknown(
    world: World, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await world.row(await world.supplier(), "low_client_adoption")
    delivery = world.delivery()
    with monkeypatch.context() as broken:

        async def away(*_given: object) -> None:
            delivery.stop()  # else it is tried until Postgres is back
            raise OperationalError("the server closed the connection")

        broken.setattr(delivery, "_write_outcome", away)
        broken.setattr(handing, "LAST_TRIES", 0)
        with pytest.raises(OperationalError):
            await delivery.deliver_due()
    assert await world.status(row) == ("sending", None)

    await delivery.aclose()
    await world.delivery().deliver_due()

    assert await world.status(row) == ("unknown", None)
    assert len(mail_server.accepted) == 1


async def test_what_was_claimed_while_the_abandoned_were_looked_for_is_none_of_them(
    world: World, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question leaves before a claim and is answered after it: the answer has the claim, and it is ours."""
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")
    delivery, given_up, loop = world.delivery(), DeliveryCount(), asyncio.get_running_loop()

    def look_late(_message: EmailMessage) -> str:
        with monkeypatch.context() as late:
            late.setattr(store, "abandoned", AsyncMock(return_value=[(row, supplier)]))
            asyncio.run_coroutine_threadsafe(delivery._give_up_abandoned(given_up), loop).result(30)
        return ACCEPTED

    mail_server.data = look_late
    await delivery.deliver_due()
    assert given_up.total() == 0
    assert await world.status(row) == ("sent", None)
