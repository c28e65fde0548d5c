"""An agent holds a supplier: nothing reaches them until they are released, and the audit log says who did it."""

from __future__ import annotations

import json
from datetime import datetime
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors

from scoring.time import HOUR
from store.audit import Actor
from store.people import holds
from store.times import to_time
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import NOW, World
from tests.cli.here import success_beside
from tests.cli.services.test_deliver import finished
from tests.cli.services.test_deliver import success as started

pytestmark = pytest.mark.stack
EMMA = Actor("agent", "emma")


async def hold(
    world: World, supplier: str, note: str = "talks to Tom", until: datetime = holds.FOR_GOOD
) -> bool:
    async with world.pool.connection() as conn:
        return await holds.hold(conn, EMMA, supplier, world.clock.now_ms(), note, until)


async def release(world: World, supplier: str) -> bool:
    async with world.pool.connection() as conn:
        return await holds.release(conn, EMMA, supplier, world.clock.now_ms())


async def test_a_held_supplier_gets_nothing_on_any_channel(world: World, mail_server: MailServer) -> None:
    supplier = await world.supplier()
    await world.health(supplier, level="critical", score=31)
    rows = [
        await world.row(supplier, name) for name in ("low_client_adoption", "signed_up", "became_critical")
    ]
    await hold(world, supplier)

    await world.delivery().deliver_due()

    assert [await world.status(row) for row in rows] == [("suppressed", "held")] * 3
    assert (await world.find(rows[0]))["metadata"]["held"] is True
    assert mail_server.tried == 0


async def test_a_released_supplier_gets_what_comes_next(world: World, mail_server: MailServer) -> None:
    supplier = await world.supplier()
    await hold(world, supplier)
    await release(world, supplier)
    row = await world.row(supplier, "low_client_adoption")

    await world.delivery().deliver_due()

    assert await world.status(row) == ("sent", None)
    assert mail_server.tried == 1


async def test_a_hold_that_has_ended_lets_through_and_gives_way_to_another(
    world: World, mail_server: MailServer
) -> None:
    supplier = await world.supplier()
    before = await world.row(supplier, "low_client_adoption")
    assert await hold(world, supplier, until=to_time(NOW + HOUR))
    await world.delivery().deliver_due()
    assert await world.status(before) == ("suppressed", "held")

    world.clock.advance_to(NOW + HOUR)
    row = await world.row(supplier, "low_client_adoption")
    await world.delivery().deliver_due()
    assert await world.status(row) == ("sent", None)
    assert not await release(world, supplier)  # there is none any more
    assert await hold(world, supplier, "again")
    assert not await hold(world, supplier, "and again")
    assert await release(world, supplier)
    assert mail_server.tried == 1


@pytest.mark.parametrize(
    ("note", "until", "said"),
    [(" ", holds.FOR_GOOD, "say why"), ("x" * 201, holds.FOR_GOOD, "say why"), ("x", to_time(NOW), "future")],
)
async def test_a_hold_has_a_reason_and_an_end_ahead(
    world: World, note: str, until: datetime, said: str
) -> None:
    with pytest.raises(holds.RefusedHoldError, match=said):
        await hold(world, await world.supplier(), note, until)


async def test_the_audit_log_says_who_held_and_released_and_when(world: World) -> None:
    supplier = await world.supplier()

    assert await hold(world, supplier, "talks to Tom about their plan")
    assert not await hold(world, supplier)
    async with world.pool.connection() as conn:
        found = await holds.find(conn, supplier, NOW)
    assert found is not None
    assert (found.held_by, found.note) == ("emma", "talks to Tom about their plan")
    assert await release(world, supplier)
    assert not await release(world, supplier)

    log = await world.query("SELECT * FROM audit_log ORDER BY id")
    assert [(each["actor"], each["actor_role"], each["action"]) for each in log] == [
        ("emma", "agent", "messages.held"),
        ("emma", "agent", "messages.released"),
    ]
    assert {str(each["supplier_id"]) for each in log} == {supplier}
    assert {each["at"].timestamp() * 1000 for each in log} == {NOW}


async def test_nobody_unknown_is_held(world: World) -> None:
    with pytest.raises(holds.UnknownSupplierError):
        await hold(world, str(uuid4()))


@pytest.mark.parametrize(("role", "may"), [("agent", True), ("supplier", False)])
async def test_agents_hold_and_suppliers_do_not(world: World, role: str, may: bool) -> None:
    supplier = await world.supplier()
    claims = json.dumps({"role": role, "sub": EMMA.id if may else supplier})
    async with await psycopg.AsyncConnection.connect(world.settings.database_url) as conn:
        await conn.execute("SET ROLE success_api")
        await conn.execute("SELECT set_config('request.jwt.claims', %s, true)", (claims,))
        if may:
            assert await holds.hold(conn, EMMA, supplier, NOW, "talks to Tom")
            assert await holds.release(conn, EMMA, supplier, NOW)
        else:
            with pytest.raises(errors.InsufficientPrivilege):
                await holds.hold(conn, EMMA, supplier, NOW, "talks to Tom")


async def test_the_command_holds_and_releases(world: World) -> None:
    supplier = await world.supplier()

    why = ("--note", "talks to Tom", "--until", "2999-01-01")
    held = await finished(await started(world.settings, "hold", supplier, "--by", "emma", *why))
    assert held == (0, f"held {supplier}\n", "")
    again = await success_beside(world.settings, "hold", supplier, *why)
    assert again == (0, f"{supplier} is held already\n", "")
    released = await success_beside(world.settings, "hold", supplier, "--release")
    assert released == (0, f"released {supplier}\n", "")
    code, _, err = await success_beside(world.settings, "hold", str(uuid4()), *why)
    assert code == 1
    assert "no supplier has the id" in err
    assert (await success_beside(world.settings, "hold", supplier)).code == 2  # without a reason
