"""Messages that failed or of which nobody knows are tried again only when somebody decides it, by name."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

import pytest

from agents.acts.consent import change_consent
from agents.acts.retrying import retry
from cli.main import run
from scoring.decisions.consent import Wish
from scoring.time import DAY
from store.audit import Actor
from store.messages.feedback import suppressions
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import NOW, World
from tests.cli.here import success_beside
from tests.cli.services.test_deliver import finished
from tests.cli.services.test_deliver import success as started

pytestmark = pytest.mark.stack

EMMA = Actor("cli", "emma")
TRIGGER = "low_client_adoption"
LOCKED = "550 5.7.1 relaying denied"


async def success(world: World, *arguments: str) -> tuple[int, str, str]:
    code, out, err = await success_beside(world.settings, *arguments)
    return code, out.strip(), err.strip()


async def said(world: World, *arguments: str) -> Any:
    code, out, err = await success(world, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


async def left(world: World, status: str, error: str = LOCKED, **given: Any) -> str:
    """A row that delivery left so, due now by this machine's clock."""
    given = {"signal_at": time.time_ns() // 1_000_000} | given
    row = await world.row(await world.supplier(), TRIGGER, **given)
    await world.query(
        "UPDATE success_interventions SET status = %s, last_error = %s, attempts = 1, claimed_at = due_at, "
        "metadata = metadata || '{\"claim\": 7}' WHERE id = %s",
        status,
        error,
        row,
    )
    return row


async def again(world: World, row: str) -> Any:
    async with world.pool.connection() as conn:
        return await retry(conn, EMMA, row, world.clock.now_ms())


async def test_a_failed_email_is_sent_once_when_it_is_tried_again(
    world: World, mail_server: MailServer
) -> None:
    mail_server.rcpt = lambda _address: LOCKED
    row = await world.row(await world.supplier(), TRIGGER)
    await world.delivery().deliver_due()
    assert (await world.status(row))[0] == "failed"
    mail_server.rcpt = lambda _address: "250 OK"
    await world.delivery().deliver_due()
    assert (await world.status(row))[0] == "failed"

    assert (await again(world, row)).was == "failed"
    assert await again(world, row) is None
    await world.delivery().deliver_due()
    found = await world.find(row)
    assert (found["status"], found["attempts"]) == ("sent", 2)
    assert len(mail_server.accepted) == 1
    kinds = [event["type"].rpartition(".")[2] for event in await world.events()]
    assert [kind for kind in kinds if kind != "bounced"] == [
        "sending",
        "failed",
        "scheduled",
        "sending",
        "sent",
    ]
    assert len({event["id"] for event in await world.events()}) == len(kinds)
    [line] = await world.query("SELECT * FROM audit_log")
    assert (line["actor"], line["action"]) == ("emma", "intervention.retried")
    assert line["details"] == {"intervention": row, "was": "failed"}


async def test_an_unknown_one_is_never_tried_again_by_itself(world: World, mail_server: MailServer) -> None:
    row = await left(world, "unknown", signal_at=NOW)
    world.clock.advance_to(NOW + DAY)
    await world.delivery().deliver_due()
    assert (await world.status(row))[0] == "unknown"
    assert mail_server.accepted == []
    assert (await again(world, row)).was == "unknown"
    await world.delivery().deliver_due()
    assert (await world.status(row))[0] == "sent"


async def test_consent_and_caps_are_decided_anew(world: World, mail_server: MailServer) -> None:
    row = await left(world, "unknown", signal_at=NOW)
    supplier = str((await world.find(row))["supplier_id"])
    await world.hold(supplier, is_held=True)
    await again(world, row)
    await world.delivery().deliver_due()
    assert await world.status(row) == ("suppressed", "held")
    assert mail_server.accepted == []


@pytest.mark.parametrize("status", ["scheduled", "sending", "sent", "suppressed"])
async def test_nothing_else_is_tried_again(world: World, status: str) -> None:
    row = await world.row(await world.supplier(), TRIGGER)
    await world.query(
        "UPDATE success_interventions SET status = %s, sent_at = CASE WHEN %s = 'sent' THEN due_at END, "
        "reason = CASE WHEN %s = 'suppressed' THEN 'held' END WHERE id = %s",
        status, status, status, row,
    )  # fmt: skip
    assert await again(world, row) is None
    code, _, err = await success(world, "interventions", "retry", row)
    assert code == 1
    assert f"is {status}" in err
    assert await world.query("SELECT * FROM audit_log") == []


async def test_the_command_tries_one_again_by_name(world: World) -> None:
    row = await left(world, "unknown")
    shown = await said(world, "interventions", "show", row)
    assert (shown["status"], shown["last_error"], shown["id"]) == ("unknown", LOCKED, row)
    assert (await said(world, "interventions", "retry", row, "--dry-run"))["would_retry"] == 1
    assert (await world.status(row))[0] == "unknown"
    code, out, err = await finished(
        await started(world.settings, "interventions", "retry", row, "--by", "kim", "--json")
    )
    assert (code, json.loads(out)["retried"]) == (0, 1), err
    found = await world.find(row)
    assert (found["status"], found["claimed_at"], "claim" in found["metadata"]) == ("scheduled", None, False)
    [line] = await world.query("SELECT * FROM audit_log")
    assert (line["actor"], line["actor_role"], line["details"]["was"]) == ("kim", "cli", "unknown")


async def test_many_are_chosen_by_status_and_error_and_what_would_expire_is_left(world: World) -> None:
    mine = {await left(world, "failed"), await left(world, "failed")}
    other = await left(world, "failed", "550 5.1.1 no such user")
    unknown = await left(world, "unknown")
    old = await left(world, "failed", signal_at=time.time_ns() // 1_000_000 - 4 * DAY)
    chosen = ("--status", "failed", "--reason", "5.7.1")
    listed = await said(world, "interventions", "list", *chosen)
    assert {each["id"] for each in listed["interventions"]} == mine | {old}
    tried = await said(world, "interventions", "retry", *chosen, "--dry-run")
    assert (tried["would_retry"], tried["too_old"], set(tried["ids"])) == (2, 1, mine)
    assert (await said(world, "interventions", "retry", *chosen))["retried"] == 2
    statuses = {row: (await world.status(row))[0] for row in [*mine, other, unknown, old]}
    assert statuses == dict.fromkeys(mine, "scheduled") | {other: "failed", unknown: "unknown", old: "failed"}


async def test_the_messages_of_one_supplier_are_listed(world: World) -> None:
    supplier, other = await world.supplier(), await world.supplier()
    mine = {await world.row(supplier, TRIGGER), await world.row(supplier, "became_at_risk")}
    await world.row(other, TRIGGER)
    listed = await said(world, "interventions", "list", "--supplier", supplier)
    assert {each["id"] for each in listed["interventions"]} == mine
    assert listed["total"] == 2
    narrower = await said(world, "interventions", "list", "--supplier", supplier, "--trigger", TRIGGER)
    assert narrower["total"] == 1
    assert (await said(world, "interventions", "list", "--supplier", str(uuid4())))["total"] == 0
    assert (await success(world, "interventions", "list", "--supplier", "sarah"))[0] == 2


@pytest.mark.parametrize(
    "wrong",
    [[], [str(uuid4()), "--status", "failed"], ["--reason", "x"], ["--status", "sent"], ["nonsense"]],
)
def test_wrong_usage_says_what_to_give(wrong: list[str]) -> None:
    assert run(["interventions", "retry", *wrong]) == 2


async def test_an_address_is_suppressed_and_let_go_again_by_name(
    world: World, mail_server: MailServer
) -> None:
    row = await world.row(await world.supplier(email="sarah@example.com"), TRIGGER)
    assert await said(world, "suppressions", "add", "Sarah@Example.com", "--by", "kim") == {
        "added": True,
        "reason": "complained",
    }
    assert (await said(world, "suppressions", "add", "sarah@example.com"))["added"] is False
    listed = await said(world, "suppressions", "list")
    assert (listed["total"], listed["reasons"]) == (1, {"complained": 1})
    assert "sarah" not in json.dumps(listed)
    code, out, _ = await finished(await started(world.settings, "suppressions", "list"))
    assert code == 0
    assert "complained" in out
    assert "sarah" not in out
    await world.delivery().deliver_due()
    assert await world.status(row) == ("suppressed", "complained")
    assert mail_server.accepted == []

    assert await said(world, "suppressions", "remove", "sarah@example.com", "--by", "lee") == {
        "removed": ["complained"],
        "still": [],
    }
    async with world.pool.connection() as conn:
        assert await suppressions(conn, "sarah@example.com", world.settings.keys("secret_key")) == {}
    lines = await world.query("SELECT actor, action, details FROM audit_log ORDER BY id")
    assert [(line["actor"], line["action"]) for line in lines] == [
        ("kim", "address.suppressed"),
        ("lee", "address.unsuppressed"),
    ]
    assert "sarah" not in json.dumps([line["details"] for line in lines])
    assert (await success(world, "suppressions", "remove", "sarah@example.com"))[0] == 1
    assert (await success(world, "suppressions", "add", "not an address"))[0] == 2


async def test_what_they_said_themselves_is_not_ended_by_anybody_else(world: World) -> None:
    supplier = await world.supplier(email="sarah@example.com")
    keys = world.settings.keys("secret_key")
    async with world.pool.connection() as conn:
        await change_consent(conn, supplier, Wish(email_opt_out=True), NOW, keys)
    assert (await said(world, "suppressions", "list"))["reasons"] == {"opted_out": 1}
    await said(world, "suppressions", "add", "sarah@example.com", "--reason", "bounced")
    assert await said(world, "suppressions", "remove", "sarah@example.com") == {
        "removed": ["bounced"],
        "still": ["opted_out"],
    }
    async with world.pool.connection() as conn:
        assert set(await suppressions(conn, "sarah@example.com", keys)) == {"opted_out"}
