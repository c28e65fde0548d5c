"""Agents' own tools are told of changed levels, tasks and calls: signed, once each, and again until they take it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner
from standardwebhooks import Webhook

from agents.delivery.notes import MOST_ATTEMPTS, Notes
from cli.main import success
from runtime.settings import Settings, SettingsError
from scoring.time import HOUR, MINUTE
from store import outbox
from store.outbox import Note
from tests.agents.delivery.receiver import Receiver, Taken
from tests.agents.delivery.world import NOW, World

pytestmark = pytest.mark.stack

SECRET, BEFORE = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"s", b"b"))
FACTS = {"previous": "healthy", "level": "at_risk", "score": 55}
CALL = {"callId": "c", "interactionType": "onboarding_call", "urgency": "high", "scheduledAt": None}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    listening = Receiver()
    yield listening
    listening.stop()


def notes(world: World, receiver: Receiver | None, **given: Any) -> Notes:
    """What tells `receiver`, as a delivery of these settings does."""
    update = {"agents_webhook_url": receiver and receiver.url, "agents_webhook_secret": SECRET} | given
    settings = world.settings.model_copy(update=update)
    return Notes(settings, world.pool, world.clock, world.policy.retries)


async def put(world: World, kind: str = "risk.changed", facts: dict[str, Any] = FACTS, **given: Any) -> Note:
    note = Note(
        given.get("id", str(uuid4())), given.get("supplier", str(uuid4())), kind, world.clock.now_ms(), facts
    )
    async with world.pool.connection() as conn:
        await outbox.add_notes(conn, [note])
    return note


def verified(taken: Taken, secret: str = SECRET) -> Any:
    """What the body says, if it is signed (the times of these tests are not those of the library's clock)."""
    headers, body = taken.headers, taken.body.decode()
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    signed = Webhook(secret).sign(headers["webhook-id"], at, body)
    assert signed in headers["webhook-signature"].split(" ")
    return json.loads(body)


async def test_a_note_is_told_once_signed_as_standard_webhooks_are(world: World, receiver: Receiver) -> None:
    note = await put(world)
    telling = notes(world, receiver)

    await telling.tell_due()
    await telling.tell_due()

    [taken] = receiver.got
    assert taken.headers["webhook-id"] == f"msg_{note.id}"
    assert taken.headers["webhook-timestamp"] == str(NOW // 1000)
    assert verified(taken) == {
        "type": "risk.changed",
        "timestamp": "2026-01-19T09:00:00.000Z",
        "data": {
            "supplierId": note.supplier_id,
            **FACTS,
            "url": f"https://app.wedsync.example/dashboard/suppliers/{note.supplier_id}",
        },
    }


async def test_the_same_note_is_put_in_once(world: World, receiver: Receiver) -> None:
    note = await put(world)
    await put(world, id=note.id)
    await notes(world, receiver).tell_due()
    await put(world, id=note.id)
    await notes(world, receiver).tell_due()
    assert len(receiver.got) == 1


async def test_while_a_secret_is_changed_both_sign(world: World, receiver: Receiver) -> None:
    await put(world)
    await notes(world, receiver, agents_webhook_secret_previous=BEFORE).tell_due()
    assert verified(receiver.got[0]) == verified(receiver.got[0], BEFORE)


@pytest.mark.parametrize("status", [500, 404, 302])
async def test_what_is_not_taken_comes_again_later_and_with_the_same_id(
    world: World, receiver: Receiver, status: int
) -> None:
    await put(world)
    receiver.answers = [(status, {"location": "/elsewhere"})]
    await notes(world, receiver).tell_due()
    await notes(world, receiver).tell_due()
    assert len(receiver.got) == 1

    world.clock.advance_to(world.clock.now_ms() + MINUTE)
    await notes(world, receiver).tell_due()
    assert len(receiver.got) == 2
    assert len({taken.headers["webhook-id"] for taken in receiver.got}) == 1


async def test_a_receiver_says_how_long_to_leave_it_alone(world: World, receiver: Receiver) -> None:
    await put(world)
    receiver.answers = [(429, {"retry-after": "600"})]
    await notes(world, receiver).tell_due()
    world.clock.advance_to(world.clock.now_ms() + 9 * MINUTE)
    await notes(world, receiver).tell_due()
    assert len(receiver.got) == 1
    world.clock.advance_to(world.clock.now_ms() + MINUTE)
    await notes(world, receiver).tell_due()
    assert len(receiver.got) == 2


async def test_a_receiver_that_is_away_is_asked_once_a_round(world: World, receiver: Receiver) -> None:
    for _ in range(3):
        await put(world)
    receiver.answers = [(503, {})] * 3
    telling = notes(world, receiver)
    await telling.tell_due()
    await telling.tell_due()
    assert len(receiver.got) == 1


async def test_nobody_listening_is_no_error_and_loses_nothing(world: World, receiver: Receiver) -> None:
    await put(world)
    receiver.stop()
    await notes(world, receiver).tell_due()
    [row] = await world.query("SELECT last_error, attempts, note_due_at FROM outbox")
    assert (row["last_error"], row["attempts"]) == ("no answer: ConnectError", 1)
    assert row["note_due_at"] is not None


async def test_a_note_is_given_up_after_a_day_and_can_be_tried_again(
    world: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = await put(world)
    receiver.answers = [(400, {})] * MOST_ATTEMPTS
    for _ in range(MOST_ATTEMPTS + 5):
        await notes(world, receiver).tell_due()
        world.clock.advance_to(world.clock.now_ms() + HOUR)
    assert len(receiver.got) == MOST_ATTEMPTS
    [failed] = await command(world, monkeypatch, "list")
    assert (failed["id"], failed["kind"], failed["error"], failed["attempts"]) == (
        *(note.id, note.kind, "HTTP 400"),
        MOST_ATTEMPTS,
    )

    assert await command(world, monkeypatch, "retry", note.id) == {"retried": 1}
    world.clock.advance_to(2**42)  # the command's clock is the wall's
    await notes(world, receiver).tell_due()
    assert len(receiver.got) == MOST_ATTEMPTS + 1
    assert await command(world, monkeypatch, "list") == []


async def test_a_receiver_that_is_gone_is_believed_at_once(world: World, receiver: Receiver) -> None:
    await put(world)
    receiver.answers = [(410, {})]
    await notes(world, receiver).tell_due()
    [row] = await world.query("SELECT failed_at FROM outbox")
    assert row["failed_at"] is not None


async def test_where_no_webhook_is_set_nothing_is_kept(world: World) -> None:
    await put(world)
    await notes(world, None).tell_due()
    assert await world.query("SELECT FROM outbox") == []


async def test_only_what_was_asked_for_is_told(world: World, receiver: Receiver) -> None:
    await put(world, "task.opened", {"interventionId": "i", "trigger": "became_critical"})
    await put(world)
    await notes(world, receiver, agents_webhook_types="task").tell_due()
    assert [verified(taken)["type"] for taken in receiver.got] == ["task.opened"]


async def test_notes_never_go_to_kafka(world: World) -> None:
    await put(world)
    assert await world.published(world.delivery()) == []


@pytest.mark.parametrize(
    ("kind", "facts", "words"),
    [
        ("risk.changed", FACTS, "A supplier is at risk now (score 55), before: healthy."),
        ("task.opened", {"trigger": "became_critical"}, "A supplier needs a call: became critical."),
        ("call.requested", CALL, "A supplier asks for a call, and no time fits yet (onboarding call)."),
        (
            "call.scheduled",
            CALL | {"scheduledAt": "2026-01-20T10:00:00.000Z"},
            "A call was booked for 2026-01-20 10:00 UTC (onboarding call).",
        ),
        ("call.cancelled", CALL, "A call was cancelled (onboarding call)."),
    ],
)
async def test_slack_and_teams_get_words_and_a_link(
    world: World, receiver: Receiver, kind: str, facts: dict[str, Any], words: str
) -> None:
    note = await put(world, kind, facts)
    await notes(world, receiver, agents_webhook_shape="slack", agents_webhook_secret=None).tell_due()
    await put(world, kind, facts, supplier=note.supplier_id)
    await notes(world, receiver, agents_webhook_shape="teams", agents_webhook_secret=None).tell_due()

    url = f"https://app.wedsync.example/dashboard/suppliers/{note.supplier_id}"
    slack, teams = (json.loads(taken.body) for taken in receiver.got)
    assert slack["text"] == words
    assert slack["blocks"][0]["text"] == {"type": "mrkdwn", "text": f"{words} <{url}|Open>"}
    [card] = teams["attachments"]
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert card["content"]["body"] == [{"type": "TextBlock", "text": words, "wrap": True}]
    assert card["content"]["actions"] == [{"type": "Action.OpenUrl", "title": "Open", "url": url}]
    assert "webhook-signature" not in receiver.got[0].headers


async def test_a_task_that_a_message_opens_is_a_note(world: World, receiver: Receiver) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "became_critical")
    await world.health(supplier, level="critical", score=20)
    await world.delivery().deliver_due()
    await notes(world, receiver).tell_due()
    told = [verified(taken) for taken in receiver.got]
    assert [(each["type"], each["data"]["interventionId"]) for each in told] == [("task.opened", row)]


async def command(world: World, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    """What an operator's command prints as JSON."""
    for name, value in world.settings.as_env().items():
        monkeypatch.setenv(name, value)
    found = await asyncio.to_thread(CliRunner().invoke, success, ["webhook", *arguments, "--json"])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_a_test_note_says_whether_it_was_taken(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUCCESS_AGENTS_WEBHOOK_URL", receiver.url)
    monkeypatch.setenv("SUCCESS_AGENTS_WEBHOOK_SHAPE", "slack")
    receiver.answers = [(200, {}), (403, {})]
    taken = CliRunner().invoke(success, ["webhook", "test"])
    assert (taken.exit_code, taken.stdout) == (0, "the receiver took it\n")
    refused = CliRunner().invoke(success, ["webhook", "test"])
    assert refused.exit_code != 0
    assert "private" not in str(refused.exception) + refused.output
    assert "This is a test" in json.loads(receiver.got[0].body)["text"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"agents_webhook_url": "http://example.com/x"}, "must begin with https://"),
        ({"agents_webhook_url": "https://example.com/x"}, "needs SUCCESS_AGENTS_WEBHOOK_SECRET"),
        ({"agents_webhook_types": "risk,mail"}, "give some of risk, task, call"),
        (
            {"agents_webhook_url": "https://example.com/x", "agents_webhook_secret": "whsec_a"},
            "give whsec_ and base64",
        ),
    ],
)
def test_wrong_settings_are_named(given: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings(**given)
