"""Erased means erased: gone from Postgres at once, told to everyone, and no way back (mautic #5699)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer
from httpx import AsyncClient
from psycopg import sql

from agents.interventions.writer import InterventionWriter
from embedded.registry import Addresses
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.time import DAY, HOUR
from store.people.personal_data import NOT_THEIRS
from tests.agents.acts.conftest import Send, mailing
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import NOW, World
from tests.agents.interventions import factory
from tests.api.conftest import Authorization
from tests.cli.here import success_beside
from tests.cli.services.test_deliver import finished, success
from tests.conftest import own_settings
from topics.catalog import CONDITIONS, HEALTH, MILESTONES, PROFILES, RISK_CHANGES

pytestmark = pytest.mark.stack

Token = Callable[..., Authorization]
TEN = "2026-01-20T10:00:00.000Z"
PRIVATE = ("zuleika@private.example.com", "Zuleika", "Dobson & Daughters")


@pytest.fixture
def settings(stack: Addresses, tmp_path: Path, mail_server: MailServer) -> Iterator[Settings]:
    """With topics that no other test has: what is said there is looked at."""
    with own_settings(stack, tmp_path / "state") as own:
        yield mailing(own, mail_server)


async def zuleika(world: World, writer: InterventionWriter | None = None) -> str:
    """A supplier with a name that is nowhere else, and a row in every table that the pipeline fills."""
    supplier = await world.supplier(email=PRIVATE[0], first_name=PRIVATE[1], business_name=PRIVATE[2])
    await world.row(supplier, "low_client_adoption")
    await world.row(supplier, "first_form_created", due_at="2026-02-19T09:00:00Z")
    if writer is not None:
        await writer.write(HEALTH, [factory.snapshot(supplier, seq=20)])
    return supplier


async def everything(world: World) -> dict[str, str]:
    """Every row of every table, as text, by table."""
    found = {}
    with psycopg.connect(world.settings.database_url) as conn:  # the owner, who sees every row
        tables = conn.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        )
        for (table,) in tables.fetchall():
            rows = conn.execute(sql.SQL("SELECT to_jsonb(t) FROM {} t").format(sql.Identifier(table)))
            found[table] = json.dumps([row[0] for row in rows.fetchall()])
    found["outbox"] = json.dumps(await world.events())
    return found


async def traces(world: World, *words: str) -> dict[str, list[str]]:
    """Which of the words stand in which table."""
    found = await everything(world)
    return {
        table: here for table, text in found.items() if (here := [word for word in words if word in text])
    }


async def erase(api: AsyncClient, supplier: str, headers: Authorization) -> None:
    answer = await api.delete(f"/api/suppliers/{supplier}/data", headers=headers)
    assert answer.status_code == 204, answer.text


async def profiles_on(settings: Settings) -> list[tuple[str, bytes | None]]:
    """All records on `supplier.profiles`, oldest first."""
    consumer = AIOKafkaConsumer(
        f"{settings.topic_prefix}{PROFILES}",
        bootstrap_servers=settings.kafka,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        left = sum(ends.values())
        read: list[tuple[str, bytes | None]] = []
        while len(read) < left:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                read += [(record.key.decode(), record.value) for record in records]
        return read
    finally:
        await consumer.stop()


async def test_nothing_is_left_in_postgres_but_ids_in_the_audit_log(
    world: World, writer: InterventionWriter, api: AsyncClient, token: Token, schedule: Send
) -> None:
    supplier, other = await zuleika(world, writer), await world.supplier()
    await schedule(supplier, TEN, notes=f"call {PRIVATE[1]}")
    assert {"suppliers", "support_interactions"} <= set(await traces(world, *PRIVATE))

    await erase(api, supplier, token("supplier", supplier))

    assert await traces(world, *PRIVATE) == {}
    assert set(await traces(world, supplier)) == {"audit_log"}
    assert set(await traces(world, other)) >= {"suppliers", "customer_health"}


async def test_the_erasure_is_published_as_an_empty_profile_record(
    world: World, api: AsyncClient, token: Token, settings: Settings
) -> None:
    supplier = await zuleika(world)
    await erase(api, supplier, token("agent"))
    assert await profiles_on(settings) == [(supplier, None)]


@pytest.mark.parametrize("by", ["api", "profile record"])
async def test_mautic_5699_an_erased_supplier_does_not_come_back(
    world: World, writer: InterventionWriter, api: AsyncClient, token: Token, by: str
) -> None:
    supplier = await zuleika(world)
    profile = factory.profile(supplier, email=PRIVATE[0], first_name=PRIVATE[1], offset=0)
    signals: list[tuple[str, Any]] = [
        (PROFILES, profile),
        (HEALTH, factory.snapshot(supplier, seq=99)),
        (CONDITIONS, factory.condition(supplier=supplier)),
        (MILESTONES, factory.milestone(supplier=supplier)),
        (RISK_CHANGES, factory.risk_changed(supplier=supplier)),
    ]
    for topic, record in signals:
        await writer.write(topic, [record])
    if by == "api":
        await erase(api, supplier, token("service"))
    else:
        await writer.write(PROFILES, [factory.erasure(supplier)])

    # everything once more: a redelivery, a rebuild from the old topics, a newer profile, events that follow
    for topic, record in signals:
        await writer.write(topic, [record])
    await writer.write(PROFILES, [factory.profile(supplier, first_name=PRIVATE[1], offset=900)])
    await writer.write(HEALTH, [factory.snapshot(supplier, seq=100)])

    assert set(await traces(world, supplier, *PRIVATE)) <= {"audit_log"}
    assert await world.query("SELECT 1 FROM suppliers") == []
    assert writer.dead_letters == []


async def test_what_was_queued_is_not_sent(
    world: World, api: AsyncClient, token: Token, schedule: Send, mail_server: MailServer, clock: ManualClock
) -> None:
    supplier = await zuleika(world)
    await schedule(supplier, TEN)
    await erase(api, supplier, token("supplier", supplier))
    for hours in (0, 4, 24):
        clock.advance_to(NOW + hours * HOUR)
        assert (await world.delivery().deliver_due()).total() == 0
    assert mail_server.tried == 0


async def test_a_message_under_way_is_noted_nowhere(
    world: World, api: AsyncClient, token: Token, mail_server: MailServer, schedule: Send
) -> None:
    supplier = await world.supplier(email=PRIVATE[0], first_name=PRIVATE[1])
    await schedule(supplier, TEN)
    loop = asyncio.get_running_loop()

    def erase_her(_message: object) -> str:
        erasing = erase(api, supplier, token("agent"))
        asyncio.run_coroutine_threadsafe(erasing, loop).result(30)
        return "250 OK"

    mail_server.data = erase_her
    await world.delivery().deliver_due()
    assert set(await traces(world, supplier, *PRIVATE)) == {"audit_log"}


async def test_nobody_erases_another_and_an_erasure_can_be_repeated(
    world: World, api: AsyncClient, token: Token
) -> None:
    supplier, emma = await zuleika(world), await world.supplier()
    path = f"/api/suppliers/{supplier}/data"
    for method in ("GET", "DELETE"):
        assert (await api.request(method, path)).status_code == 401
        assert (await api.request(method, path, headers=token("supplier", emma))).status_code == 404
    assert await world.query("SELECT 1 FROM suppliers WHERE id = %s", supplier)
    await erase(api, supplier, token("supplier", supplier))
    await erase(api, supplier, token("supplier", supplier))
    assert (await api.get(path, headers=token("supplier", supplier))).status_code == 404
    booked = await api.post(
        "/api/support/schedule-call",
        json={"supplierId": supplier, "preferredTimes": [TEN], "reason": "onboarding", "urgency": "low"},
        headers=token("supplier", supplier),
    )
    assert booked.status_code == 404
    assert await world.query("SELECT 1 FROM suppliers WHERE id = %s", supplier) == []


async def test_one_whom_nobody_knows_yet_can_be_erased_before_they_come(
    world: World, writer: InterventionWriter, api: AsyncClient, token: Token
) -> None:
    supplier = str(uuid4())
    await erase(api, supplier, token("agent"))
    await writer.write(PROFILES, [factory.profile(supplier, first_name=PRIVATE[1])])
    assert await traces(world, PRIVATE[1]) == {}


async def test_an_export_holds_every_row_of_every_table(
    world: World, writer: InterventionWriter, api: AsyncClient, token: Token, schedule: Send
) -> None:
    supplier, other = await zuleika(world, writer), await world.supplier(email="other@example.com")
    await writer.write(CONDITIONS, [factory.condition(supplier=supplier)])
    call = (await schedule(supplier, TEN, notes="by phone, please")).json()
    path = f"/api/suppliers/{supplier}/data"
    answer = await api.get(path, headers=token("supplier", supplier))
    assert answer.status_code == 200
    export = answer.json()
    assert set(export["readme"]["data"]) == set(export["data"])
    data = export["data"]
    tables = {
        each["relname"]
        for each in await world.query(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        )
    }
    assert tables - NOT_THEIRS == set(data) - {"suppressed_addresses"}
    assert all(text != "Further rows about you." for text in export["readme"]["data"].values())
    [profile] = data["suppliers"]
    assert (profile["email"], profile["first_name"], profile["business_name"]) == PRIVATE
    assert [each["notes"] for each in data["support_interactions"]] == ["by phone, please"]
    assert data["transactional_mails"][0]["call_id"] == call["id"]
    assert len(data["success_interventions"]) == 3
    assert data["customer_health"][0]["seq"] == 20
    assert [each["event"]["facts"]["callId"] for each in data["outbox"] if "facts" in each["event"]] == [
        call["id"]
    ]
    events = [each["event"] for each in data["outbox"] if "data" in each["event"]]
    assert events[-1]["data"]["call_id"] == call["id"]
    assert other not in answer.text
    assert "other@example.com" not in answer.text
    again = (await api.get(path, headers=token("agent", "Jo"))).json()
    assert [each["action"] for each in again["data"]["audit_log"]] == ["call_scheduled", "data.export"]


async def test_logs_of_api_and_delivery_name_nobody(
    world: World,
    api: AsyncClient,
    token: Token,
    schedule: Send,
    mail_server: MailServer,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    supplier = await zuleika(world)
    unwritable = await world.supplier(email="zuleika.@private.example.com", first_name=PRIVATE[1])
    await world.row(unwritable, "low_client_adoption")
    await schedule(supplier, TEN, notes=f"{PRIVATE[1]} here")
    await schedule(unwritable, "2026-01-20T12:00:00Z")
    await schedule(supplier, "not a time", notes=PRIVATE[0])
    mail_server.rcpt = lambda address: f"451 4.7.1 <{address}>: try later, {address}"
    await world.delivery().deliver_due()
    clock.advance_to(NOW + 2 * HOUR)
    mail_server.rcpt = lambda address: f"550 5.7.1 <{address}>: access denied"
    await world.delivery().deliver_due()
    await api.get(f"/api/suppliers/{supplier}/data", headers=token("agent"))
    await erase(api, supplier, token("agent"))
    clock.advance_to(NOW + 4 * DAY)
    await world.delivery().deliver_due()
    assert mail_server.tried == 0
    # mail.log and httpx are the test's own mail server and client, in the same process
    ours = [record for record in caplog.records if record.name not in {"mail.log", "httpx"}]
    logged = "\n".join(logging.Formatter().format(record) for record in ours).lower()
    assert "access denied" in logged  # it was logged, without the address
    for word in (*PRIVATE, "private.example.com"):
        assert word.lower() not in logged


async def test_on_the_command_line(settings: Settings, world: World, tmp_path: Path) -> None:
    supplier = await zuleika(world)
    code, out, err = await success_beside(settings, "export-data", supplier)
    assert (code, err) == (0, "")
    assert json.loads(out)["data"]["suppliers"][0]["email"] == PRIVATE[0]
    file = tmp_path / "theirs.json"
    code, out, err = await finished(await success(settings, "export-data", supplier, "--out", str(file)))
    assert (code, PRIVATE[1] in out + err) == (0, False)
    assert json.loads(file.read_text("utf-8"))["supplierId"] == supplier
    assert file.stat().st_mode & 0o077 == 0

    code, out, err = await finished(await success(settings, "erase", supplier, "--by", "jo"))
    assert (code, out, err) == (0, f"erased {supplier}\n", "")
    assert set(await traces(world, supplier, *PRIVATE)) == {"audit_log"}
    assert await profiles_on(settings) == [(supplier, None)]
    logged = await world.query("SELECT actor, actor_role, action FROM audit_log ORDER BY id")
    assert [each["action"] for each in logged] == ["data.export", "data.export", "data.erase"]
    assert logged[-1] == {"actor": "jo", "actor_role": "cli", "action": "data.erase"}

    code, out, err = await success_beside(settings, "export-data", supplier)
    assert (code, out) == (1, "")
    assert "nothing is stored" in err
    assert (await success_beside(settings, "erase", "sarah"))[0] == 2
