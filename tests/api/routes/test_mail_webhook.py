"""Bounces and complaints: what the mail provider reports ends emails where it must, and only there."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from httpx import AsyncClient, Response
from standardwebhooks import Webhook

from api.webhooks.reported import standard_keys as _keys
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.time import DAY, HOUR, MINUTE
from store import suppliers
from store.messages.feedback import address_hash
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import ERASURE_KEY, NOW, World
from tests.api.conftest import Authorization
from topics.time import format_time

pytestmark = pytest.mark.stack

ADDRESS = "photographer@example.com"
Report = Callable[..., Awaitable[Response]]
Token = Callable[..., Authorization]


@pytest.fixture
async def world(world: World, settings: Settings, mail_server: MailServer) -> World:
    world.settings = settings.model_copy(update={"smtp_url": mail_server.url})
    return world


@pytest.fixture
def report(api: AsyncClient, settings: Settings) -> Report:
    """How the provider sends a signed report of a type, with the fields of its data."""

    async def sent(kind: str, *, name: str | None = None, at: int | None = None, **data: Any) -> Response:
        message = {"type": kind, "data": data} | ({"timestamp": format_time(at)} if at else {})
        return await post(api, settings.secret("webhook_secret").encode(), message, name)

    return sent


async def post(
    api: AsyncClient, key: bytes, message: object, name: str | None = None, age: timedelta = timedelta()
) -> Response:
    body = json.dumps(message)
    message_id, when = name or f"msg_{uuid4()}", datetime.now(UTC) - age
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(when.timestamp())),
        "webhook-signature": Webhook(key).sign(message_id, when, body),
    }
    return await api.post("/webhooks/mail", content=body, headers=headers)


async def delivered(world: World, supplier: str | None = None) -> tuple[str, str]:
    """A supplier and the row of an email that has been delivered to them."""
    supplier = supplier or await world.supplier()
    row = await world.row(supplier, "low_client_adoption")
    assert (await world.delivery().deliver_due()).sent == 1
    return supplier, row


async def outcome_of_next(world: World, clock: ManualClock, supplier: str) -> tuple[str, str | None]:
    """What becomes of the next email to them, two days later."""
    clock.advance_to(clock.now_ms() + 2 * DAY)
    row = await world.row(supplier, "first_form_created")
    await world.delivery().deliver_due()
    return await world.status(row)


async def invited(
    world: World, api: AsyncClient, token: Token, supplier: str | None = None
) -> tuple[str, str]:
    """A supplier and the row of the invitation to a call that they booked, once delivery has tried to send it."""
    supplier = supplier or await world.supplier()
    wish = {"supplierId": supplier, "preferredTimes": ["2026-01-20T10:00:00Z"], "reason": "onboarding"}
    url, theirs = "/api/support/schedule-call", token("supplier", supplier)
    assert (await api.post(url, json=wish | {"urgency": "low"}, headers=theirs)).status_code == 201
    await world.delivery().deliver_due()
    [mail] = await world.query("SELECT id::text, status FROM transactional_mails")
    return supplier, mail["id"]


async def told(world: World, kind: str) -> list[dict[str, Any]]:
    return [event for event in await world.events() if event["type"].endswith(kind)]


async def test_a_hard_bounce_ends_the_emails_at_once(
    world: World, report: Report, clock: ManualClock
) -> None:
    supplier, row = await delivered(world)
    answer = await report("email.bounced", message_id=f"<{row}@wedsync.example>", code="5.1.1")
    assert (answer.status_code, answer.json()) == (200, {"status": "recorded"})
    [event] = await told(world, "intervention.bounced")
    assert (event["subject"], event["data"]["intervention_id"]) == (supplier, row)
    assert ADDRESS not in str(event)
    assert await outcome_of_next(world, clock, supplier) == ("suppressed", "bounced")


async def test_a_bounce_that_names_the_address_only_finds_its_message(world: World, report: Report) -> None:
    _, row = await delivered(world)
    await report("email.bounced", address=ADDRESS.upper(), bounce_class="hard")
    assert (await world.find(row))["bounced_at"] is not None


@pytest.mark.parametrize("code", ["5.7.1", "5.2.2"])
async def test_mautic_9190_an_ambiguous_code_does_not_end_the_emails(
    world: World, report: Report, clock: ManualClock, code: str
) -> None:
    supplier, row = await delivered(world)
    await report("email.bounced", message_id=row, code=code)
    assert await outcome_of_next(world, clock, supplier) == ("sent", None)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"diagnostic": "550 5.7.1 No such user!"}, ("suppressed", "bounced")),
        ({"code": "5.7.1", "bounce_class": "hard"}, ("suppressed", "bounced")),
        ({"diagnostic": "550 5.7.26 Unauthenticated email: domain's DMARC policy"}, ("sent", None)),
    ],
)
async def test_what_a_reply_means_decides_whether_they_are_written_to(
    world: World, report: Report, clock: ManualClock, said: dict[str, str], status: tuple[str, str | None]
) -> None:
    supplier, row = await delivered(world)
    await report("email.bounced", message_id=row, **said)
    assert await outcome_of_next(world, clock, supplier) == status


async def bounces_softly(
    world: World, report: Report, clock: ManualClock, supplier: str, **data: Any
) -> None:
    """A message to them that is sent now, and bounces a minute later."""
    row = await world.row(supplier, "first_form_created", due_at=format_time(clock.now_ms()))
    await world.query(
        "UPDATE success_interventions SET status = 'sent', sent_at = %s, metadata = %s WHERE id = %s",
        datetime.fromtimestamp(clock.now_ms() / 1000, UTC),
        json.dumps({"address_hash": address_hash(ADDRESS, world.settings.keys("secret_key")).hex()}),
        row,
    )
    clock.advance_to(clock.now_ms() + MINUTE)
    await report("email.bounced", **({"message_id": row, "code": "4.2.2"} | data))


async def soft_bounces(
    world: World, report: Report, clock: ManualClock, hours: int, arrived: int | None = None, **data: Any
) -> str:
    """Three messages to one supplier that bounce softly, `hours` apart; after number `arrived` one arrives."""
    supplier = await world.supplier()
    for number in range(3):
        clock.advance_to(NOW + number * hours * HOUR)
        await bounces_softly(world, report, clock, supplier, **data)
        if number == arrived:
            clock.advance_to(clock.now_ms() + MINUTE)
            await report("email.delivered", address=ADDRESS)
    return supplier


async def test_notifuse_323_the_third_soft_bounce_within_a_week_ends_the_emails(
    world: World, report: Report, clock: ManualClock
) -> None:
    """An address that bounces softly for ever was written to for ever."""
    supplier = await soft_bounces(world, report, clock, hours=48)
    assert await outcome_of_next(world, clock, supplier) == ("suppressed", "bounced")


async def test_soft_bounces_over_more_than_a_week_do_not(
    world: World, report: Report, clock: ManualClock
) -> None:
    supplier = await soft_bounces(world, report, clock, hours=100)
    clock.advance_to(clock.now_ms() + 6 * DAY)
    assert await outcome_of_next(world, clock, supplier) == ("sent", None)


async def test_mautic_9222_our_reputation_is_nobodys_dead_address(
    world: World, report: Report, clock: ManualClock
) -> None:
    supplier = await soft_bounces(world, report, clock, hours=48, code="5.7.1")
    clock.advance_to(clock.now_ms() + 6 * DAY)
    assert await outcome_of_next(world, clock, supplier) == ("sent", None)


async def test_a_message_that_arrived_between_them_starts_the_count_again(
    world: World, report: Report, clock: ManualClock
) -> None:
    supplier = await soft_bounces(world, report, clock, hours=48, arrived=1)
    clock.advance_to(clock.now_ms() + 6 * DAY)
    assert await outcome_of_next(world, clock, supplier) == ("sent", None)


async def test_one_message_that_is_reported_often_bounced_once(
    world: World, report: Report, clock: ManualClock
) -> None:
    supplier, row = await delivered(world)
    for _ in range(4):
        await report("email.bounced", message_id=row, code="4.4.7")
    assert await outcome_of_next(world, clock, supplier) == ("sent", None)


async def test_a_complaint_ends_the_emails_and_opts_them_out(
    world: World, report: Report, clock: ManualClock
) -> None:
    supplier, row = await delivered(world)
    await report("email.complained", message_id=row)
    [found] = await world.query("SELECT email_opt_out FROM suppliers")
    assert found["email_opt_out"]
    assert [event["data"]["scope"] for event in await told(world, "communication.opted_out")] == ["email"]
    assert len(await told(world, "intervention.complained")) == 1
    assert await outcome_of_next(world, clock, supplier) == ("suppressed", "complained")


async def test_a_repeated_report_counts_once(world: World, report: Report) -> None:
    _, row = await delivered(world)
    first = await report("email.bounced", name="msg_1", message_id=row, code="5.1.1")
    again = await report("email.bounced", name="msg_1", message_id=row, code="5.1.1")
    assert (first.json()["status"], again.json()["status"]) == ("recorded", "repeated")
    assert len(await told(world, "intervention.bounced")) == 1


async def test_a_new_address_is_written_to_unless_it_is_listed_itself(
    world: World, report: Report, clock: ManualClock
) -> None:
    """A contact stayed bounced although their address was mended: mautic #5723."""
    supplier, row = await delivered(world)
    await report("email.bounced", message_id=row, code="5.1.1")
    await world.query("UPDATE suppliers SET email = 'new@example.com' WHERE id = %s", supplier)
    assert await outcome_of_next(world, clock, supplier) == ("sent", None)
    await report("email.bounced", address="new@example.com", code="5.1.1")
    assert await outcome_of_next(world, clock, supplier) == ("suppressed", "bounced")


async def test_mautic_5699_a_suppressed_address_stays_so_after_erasure(
    world: World, report: Report, clock: ManualClock
) -> None:
    supplier, row = await delivered(world)
    await report("email.complained", message_id=row)
    async with world.pool.connection() as conn:
        await suppliers.lock(conn, [supplier], ERASURE_KEY)
        await suppliers.erase(conn, [supplier], ERASURE_KEY, datetime.now(UTC))
    assert ADDRESS not in str(await world.query("SELECT * FROM suppressed_addresses"))
    assert await world.query("SELECT * FROM mail_reports") == []
    somebody = await world.supplier(email=ADDRESS)
    assert await outcome_of_next(world, clock, somebody) == ("suppressed", "complained")


async def test_their_own_later_word_ends_what_their_complaint_began(
    world: World, report: Report, clock: ManualClock, api: AsyncClient, token
) -> None:
    supplier, row = await delivered(world)
    await report("email.complained", message_id=row)
    clock.advance_to(clock.now_ms() + HOUR)
    url = f"/api/suppliers/{supplier}/consent"
    await api.put(url, json={"emailOptOut": False}, headers=token("supplier", supplier))
    assert await outcome_of_next(world, clock, supplier) == ("sent", None)


async def test_a_refusal_while_sending_is_a_bounce_too(
    world: World, mail_server: MailServer, clock: ManualClock
) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")
    mail_server.rcpt = lambda _address: "550 5.1.1 user unknown"
    await world.delivery().deliver_due()
    assert await world.status(row) == ("failed", None)
    assert len(await told(world, "intervention.bounced")) == 1
    mail_server.rcpt = lambda _address: "250 OK"
    assert await outcome_of_next(world, clock, supplier) == ("suppressed", "bounced")


async def test_a_hard_bounce_of_an_invitation_to_a_call_ends_the_emails_but_not_those_they_ask_for(
    world: World, report: Report, clock: ManualClock, api: AsyncClient, token: Token, mail_server: MailServer
) -> None:
    supplier, mail = await invited(world, api, token)
    await report("email.bounced", message_id=f"<{mail}@wedsync.example>", code="5.1.1")
    assert await outcome_of_next(world, clock, supplier) == ("suppressed", "bounced")
    assert await told(world, "intervention.bounced") == []

    [call] = await world.query("SELECT id::text FROM support_interactions")
    await api.patch(
        f"/api/support/calls/{call['id']}", json={"status": "cancelled"}, headers=token("supplier", supplier)
    )
    await world.delivery().deliver_due()
    assert mail_server.templates() == ["call_invitation", "call_cancelled"]


async def test_a_report_on_an_invitation_is_about_the_address_that_it_went_to(
    world: World, report: Report, clock: ManualClock, api: AsyncClient, token: Token
) -> None:
    supplier, mail = await invited(world, api, token)
    await world.query("UPDATE suppliers SET email = 'new@example.com' WHERE id = %s", supplier)
    await report("email.bounced", message_id=mail, code="5.1.1")
    assert await outcome_of_next(world, clock, supplier) == ("sent", None)


@pytest.mark.parametrize("by", ["message_id", "address"])
async def test_a_complaint_about_an_invitation_to_a_call_ends_the_emails_and_opts_them_out(
    world: World, report: Report, clock: ManualClock, api: AsyncClient, token: Token, by: str
) -> None:
    supplier, mail = await invited(world, api, token)
    await report("email.complained", **({"message_id": mail} if by == "message_id" else {"address": ADDRESS}))
    [found] = await world.query("SELECT email_opt_out FROM suppliers")
    assert found["email_opt_out"]
    assert [event["data"]["scope"] for event in await told(world, "communication.opted_out")] == ["email"]
    assert await outcome_of_next(world, clock, supplier) == ("suppressed", "complained")


async def test_a_refusal_of_an_invitation_while_sending_is_a_bounce_too(
    world: World, mail_server: MailServer, clock: ManualClock, api: AsyncClient, token: Token
) -> None:
    mail_server.rcpt = lambda _address: "550 5.1.1 user unknown"
    supplier, _ = await invited(world, api, token)
    assert [each["status"] for each in await world.query("SELECT status FROM transactional_mails")] == [
        "failed"
    ]
    mail_server.rcpt = lambda _address: "250 OK"
    assert await outcome_of_next(world, clock, supplier) == ("suppressed", "bounced")


async def test_one_invitation_that_is_reported_often_bounced_once(
    world: World, report: Report, clock: ManualClock, api: AsyncClient, token: Token
) -> None:
    supplier, mail = await invited(world, api, token)
    for _ in range(4):
        await report("email.bounced", message_id=mail, code="4.4.7")
    assert await outcome_of_next(world, clock, supplier) == ("sent", None)


@pytest.mark.parametrize(("arrived", "status"), [(True, ("sent", None)), (False, ("suppressed", "bounced"))])
async def test_an_invitation_that_arrived_between_soft_bounces_starts_the_count_again(
    world: World,
    report: Report,
    clock: ManualClock,
    api: AsyncClient,
    token: Token,
    arrived: bool,
    status: tuple[str, str | None],
) -> None:
    supplier = await world.supplier()
    await bounces_softly(world, report, clock, supplier)
    clock.advance_to(NOW + 2 * HOUR)
    _, mail = await invited(world, api, token, supplier)
    for hours in (47, 49):
        clock.advance_to(NOW + hours * HOUR)
        await bounces_softly(world, report, clock, supplier)
    if not arrived:
        await report("email.bounced", message_id=mail, code="4.2.2")
    clock.advance_to(clock.now_ms() + 6 * DAY)
    assert await outcome_of_next(world, clock, supplier) == status


async def test_a_bounce_counts_whatever_bytes_the_mail_server_said(
    world: World, report: Report, clock: ManualClock
) -> None:
    supplier, _ = await delivered(world)
    answer = await report("email.bounced", address=f"{ADDRESS}\0", code="5.1.1\0", diagnostic="gone\0 away")
    assert answer.json() == {"status": "recorded"}
    assert await outcome_of_next(world, clock, supplier) == ("suppressed", "bounced")


async def test_what_is_not_signed_rightly_or_just_now_is_401(
    api: AsyncClient, settings: Settings, report: Report
) -> None:
    key = settings.secret("webhook_secret").encode()
    message = {"type": "email.bounced", "data": {"address": ADDRESS}}
    answers = [
        await post(api, b"another key", message),
        await post(api, key, message, age=timedelta(minutes=6)),
        await post(api, key, message, age=timedelta(minutes=-6)),
        await api.post("/webhooks/mail", json=message),
        await api.post(
            "/webhooks/mail",
            content=b"\xff",
            headers={"webhook-id": "1", "webhook-timestamp": "x", "webhook-signature": "v1"},
        ),
    ]
    assert [answer.status_code for answer in answers] == [401] * 5
    assert all(answer.headers["content-type"] == "application/problem+json" for answer in answers)
    assert (await report("email.bounced")).status_code == 422
    assert (await post(api, key, ["no object"])).status_code == 422
    assert (await report("email.sent", whatever=1)).json() == {"status": "ignored"}


def test_a_secret_is_base64_after_whsec_and_text_without() -> None:
    assert _keys("whsec_c2VjcmV0") == [b"secret"]
    assert b"plain-text" in _keys("plain-text")


async def test_a_servers_words_are_kept_without_the_address(world: World, report: Report) -> None:
    _, row = await delivered(world)
    await report("email.bounced", message_id=row, diagnostic=f"550 5.1.1 <{ADDRESS}>: no such user")
    [found] = await world.query("SELECT diagnostic, bounce_class FROM mail_reports")
    assert found["bounce_class"] == "hard"
    assert ADDRESS not in found["diagnostic"]
    assert "no such user" in found["diagnostic"]


@pytest.mark.parametrize("provider", ["ses", "sendgrid", "postmark", "mailgun", "resend"])
async def test_a_providers_webhook_that_is_not_set_up_says_so(api: AsyncClient, provider: str) -> None:
    answer = await api.post(f"/webhooks/mail/{provider}", json={})
    assert answer.status_code == 404
    assert f"SUCCESS_WEBHOOK_{provider.upper()}_" in answer.json()["detail"]


async def test_what_matches_nothing_is_unmatched(api: AsyncClient, report: Report) -> None:
    answer = await report("email.bounced", message_id=f"<{uuid4()}@wedsync.example>", code="5.1.1")
    assert (answer.status_code, answer.json()) == (200, {"status": "unmatched"})
    assert (
        'success_mail_reports_total{provider="standard",status="unmatched"} 1.0'
        in (await api.get("/metrics")).text
    )


@pytest.mark.parametrize(
    "spelling", ["{}", "<{}@wedsync.example>", ' "<{}@other.example>" ', "{}@wedsync.example"]
)
async def test_a_message_id_is_known_in_any_usual_form(world: World, report: Report, spelling: str) -> None:
    _, row = await delivered(world)
    await report("email.bounced", message_id=spelling.format(row.upper()), code="5.1.1")
    assert (await world.find(row))["bounced_at"] is not None


async def test_an_earlier_secret_of_the_webhook_still_verifies(api: AsyncClient, settings: Settings) -> None:
    settings.webhook_secret_previous = "the secret of yesterday"
    message = {"type": "email.sent"}
    assert (await post(api, b"the secret of yesterday", message)).status_code == 200
    assert (await post(api, settings.secret("webhook_secret").encode(), message)).status_code == 200
