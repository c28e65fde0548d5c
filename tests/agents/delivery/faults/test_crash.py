"""kill -9 at every step of a delivery: nothing twice, nothing lost without a word."""

from __future__ import annotations

import asyncio
import signal
import threading
from email.message import EmailMessage
from multiprocessing.context import ForkServerProcess

import psycopg
import pytest

from scoring.time import DAY
from tests.agents.delivery.faults.dying import started
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import NOW, World

pytestmark = pytest.mark.stack


async def run_until_killed(world: World, step: str, kind: str = "letters") -> None:
    """Start a delivery that dies at `step`, and wait until it has."""
    await killed(await asyncio.to_thread(started, step, kind, world.settings.as_env()))


async def killed(process: ForkServerProcess) -> None:
    """Wait until a process has died of kill -9."""
    await asyncio.to_thread(process.join, 60)
    assert process.exitcode == -signal.SIGKILL


async def until_noticed(world: World) -> None:
    """Deliver again until Postgres has noticed that the dead process is gone."""
    delivery = world.delivery()
    deadline = asyncio.get_running_loop().time() + 20
    while await world.query(
        "SELECT 1 FROM success_interventions WHERE status = 'sending'"
        " UNION ALL SELECT 1 FROM transactional_mails WHERE status = 'sending'"
    ):
        assert asyncio.get_running_loop().time() < deadline
        await delivery.deliver_due()


@pytest.mark.parametrize(
    ("step", "accepted", "status"),
    [
        ("decided", 0, "scheduled"),
        ("claimed", 0, "unknown"),
        ("accepted", 1, "unknown"),
        ("noted", 1, "unknown"),
        ("finished", 1, "sent"),
    ],
)
async def test_a_killed_delivery_never_makes_two_emails_of_one(
    world: World, mail_server: MailServer, step: str, accepted: int, status: str
) -> None:
    row = await world.row(await world.supplier(), "low_client_adoption")

    await run_until_killed(world, step)
    assert len(mail_server.accepted) == accepted
    if status != "scheduled":
        await until_noticed(world)
    assert await world.status(row) == (status, None)

    world.clock.advance_to(NOW + DAY)
    await world.delivery().deliver_due()
    assert len(mail_server.accepted) == (1 if status == "scheduled" else accepted)
    assert await world.status(row) == ("sent" if status == "scheduled" else status, None)


@pytest.mark.parametrize(
    ("step", "accepted", "status"),
    [
        ("decided", 0, "queued"),
        ("claimed", 0, "unknown"),
        ("accepted", 1, "unknown"),
        ("noted", 1, "unknown"),
        ("finished", 1, "sent"),
    ],
)
async def test_a_killed_delivery_never_makes_two_invitations_of_one(
    world: World, mail_server: MailServer, step: str, accepted: int, status: str
) -> None:
    call = await world.call(await world.supplier(), NOW + 3 * DAY)

    await run_until_killed(world, step, "calls")
    assert len(mail_server.accepted) == accepted
    if status != "queued":
        await until_noticed(world)
    assert (await world.invitation(call))["status"] == status

    world.clock.advance_to(NOW + DAY)
    await world.delivery().deliver_due()
    assert len(mail_server.accepted) == (1 if status == "queued" else accepted)
    found = await world.invitation(call)
    assert found["status"] == ("sent" if status == "queued" else status)
    assert (found["last_error"] is not None) == (status == "unknown")


async def test_killed_while_the_mail_server_thinks_is_unknown(world: World, mail_server: MailServer) -> None:
    row = await world.row(await world.supplier(), "low_client_adoption")
    process = await asyncio.to_thread(started, "never", "letters", world.settings.as_env())
    mail_server.kill_before_yes = process.pid

    await killed(process)
    mail_server.kill_before_yes = None
    await until_noticed(world)

    found = await world.find(row)
    assert (found["status"], found["sent_at"]) == ("unknown", None)
    assert "died" in found["last_error"]
    last = (await world.events())[-1]
    assert last["type"] == "success.intervention.unknown"


async def test_a_running_sibling_is_not_taken_for_dead(world: World, mail_server: MailServer) -> None:
    row = await world.row(await world.supplier(), "low_client_adoption")
    arrived, go_on = threading.Event(), threading.Event()

    def slow(_message: EmailMessage) -> str:
        arrived.set()
        assert go_on.wait(30)
        return "250 OK"

    mail_server.data = slow
    sending = asyncio.create_task(world.delivery().deliver_due())
    assert await asyncio.to_thread(arrived.wait, 30)

    assert (await world.delivery().deliver_due()).total() == 0
    assert await world.status(row) == ("sending", None)

    go_on.set()
    assert (await sending).sent == 1
    assert await world.status(row) == ("sent", None)


async def test_a_dead_sibling_is_noticed_although_others_live(world: World, mail_server: MailServer) -> None:
    row = await world.row(await world.supplier(), "low_client_adoption")
    alive = world.delivery()
    await run_until_killed(world, "claimed")

    deadline = asyncio.get_running_loop().time() + 20
    while (await world.status(row))[0] == "sending":
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.gather(alive.deliver_due(), world.delivery().deliver_due())

    assert await world.status(row) == ("unknown", None)
    assert mail_server.accepted == []
    told = [event["type"] for event in await world.events()]
    assert told.count("success.intervention.unknown") == 1


async def test_who_was_taken_for_dead_still_notes_what_it_knows(
    world: World, mail_server: MailServer
) -> None:
    row = await world.row(await world.supplier(), "low_client_adoption")
    delivery = world.delivery()

    def lose_the_lock(_message: EmailMessage) -> str:
        # its connection breaks and a sibling gives the row up, while the mail server thinks
        connection = delivery._owner._connection
        assert connection is not None
        asyncio.run_coroutine_threadsafe(connection.close(), loop).result(30)
        asyncio.run_coroutine_threadsafe(world.delivery().deliver_due(), loop).result(30)
        return "250 OK"

    loop = asyncio.get_running_loop()
    mail_server.data = lose_the_lock
    await delivery.deliver_due()

    told = [event["type"].rpartition(".")[2] for event in await world.events()]
    assert told == ["sending", "unknown", "sent"]
    assert await world.status(row) == ("sent", None)


async def test_one_round_after_postgres_dropped_every_connection_all_is_delivered(world: World) -> None:
    delivery = world.delivery()
    async with (
        world.pool.connection() as one,
        world.pool.connection() as two,
        world.pool.connection() as three,
    ):
        for conn in (one, two, three):
            await conn.execute("SELECT 1")
    row = await world.row(await world.supplier(), "low_client_adoption")
    with psycopg.connect(world.settings.database_url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(psycopg.OperationalError):
        await delivery.deliver_due()

    await delivery.drop_broken_connections()

    assert (await delivery.deliver_due()).sent == 1
    assert await world.status(row) == ("sent", None)
