"""Providers' own webhooks: payloads shaped as each documents, signed as each signs, read into one model."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from httpx import AsyncClient, Response
from standardwebhooks import Webhook

from api.webhooks import ses
from runtime.settings import Settings
from tests.agents.delivery.world import NOW, World

pytestmark = pytest.mark.stack

ADDRESS = "photographer@example.com"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:success-mail"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem"
SVIX = "whsec_" + base64.b64encode(b"a secret of Resend's own, 32 bytes").decode()
SENDGRID = ec.generate_private_key(ec.SECP256R1())
SNS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SAID = "smtp; 550 5.1.1 The email account that you tried to reach does not exist."
Sent = Callable[..., Awaitable[Response]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Every provider set up."""
    public = SENDGRID.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return settings.model_copy(
        update={
            "webhook_ses_topics": TOPIC,
            "webhook_sendgrid_key": base64.b64encode(public).decode(),
            "webhook_postmark_auth": "postmark:a long password",
            "webhook_mailgun_key": "key-of-the-day",
            "webhook_mailgun_key_previous": "key-of-yesterday",
            "webhook_resend_secret": SVIX,
        }
    )


def certificate(valid: timedelta = timedelta(days=3650)) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(SNS.public_key())
    made = made.serial_number(1).not_valid_before(start).not_valid_after(start + valid)
    return made.sign(SNS, SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture
def fetched(api: AsyncClient) -> list[str]:
    """The addresses that were fetched; SNS's certificate is at each."""
    app: FastAPI = api._transport.app  # type: ignore[attr-defined]
    seen: list[str] = []

    async def fetch(url: str) -> bytes:
        seen.append(url)
        return certificate()

    app.state.sns_certificates = ses.Certificates(fetch)
    return seen


# how each signs ------------------------------------------------------------------------------------------


def sns(message: object, *, version: str = "2", **changed: Any) -> bytes:
    """A notification of SNS with this message, or another type of message."""
    said = {
        "Type": "Notification",
        "MessageId": str(uuid4()),
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Event Notification",
        "Message": json.dumps(message),
        "Timestamp": "2026-01-19T09:00:00.000Z",
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
        "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe",
    } | changed
    if said["Type"] == "Notification":
        signed = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
    else:
        signed = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    text = "".join(f"{name}\n{said[name]}\n" for name in signed).encode()
    digest = SHA1() if version == "1" else SHA256()  # noqa: S303 - as SNS does
    said.setdefault("Signature", base64.b64encode(SNS.sign(text, PKCS1v15(), digest)).decode())
    return json.dumps(said).encode()


async def by_ses(api: AsyncClient, message: object, **more: Any) -> Response:
    return await api.post("/webhooks/mail/ses", content=sns(message, **more))


async def by_sendgrid(api: AsyncClient, *events: object, key: Any = SENDGRID) -> Response:
    body, at = json.dumps(events).encode() + b"\r\n", "1768813200"
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(
            key.sign(at.encode() + body, ec.ECDSA(SHA256()))
        ).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": at,
    }
    return await api.post("/webhooks/mail/sendgrid", content=body, headers=headers)


async def by_postmark(api: AsyncClient, event: object, auth: str = "postmark:a long password") -> Response:
    user, _, password = auth.partition(":")
    return await api.post("/webhooks/mail/postmark", json=event, auth=(user, password))


async def by_mailgun(
    api: AsyncClient, data: object, key: str = "key-of-the-day", at_ms: int = NOW
) -> Response:
    at, token = str(at_ms // 1000), uuid4().hex
    signature = hmac.digest(key.encode(), f"{at}{token}".encode(), "sha256").hex()
    body = {"signature": {"timestamp": at, "token": token, "signature": signature}, "event-data": data}
    return await api.post("/webhooks/mail/mailgun", json=body)


async def by_resend(api: AsyncClient, event: object, secret: str = SVIX) -> Response:
    body, message_id, at = json.dumps(event), f"msg_{uuid4()}", datetime.now(UTC)
    headers = {
        "svix-id": message_id,
        "svix-timestamp": str(int(at.timestamp())),
        "svix-signature": Webhook(secret).sign(message_id, at, body),
    }
    return await api.post("/webhooks/mail/resend", content=body, headers=headers)


# what each says of a bounce ------------------------------------------------------------------------------


def ses_bounce(
    message_id: str, address: str, kind: str = "Permanent", sub: str = "General"
) -> dict[str, Any]:
    recipient = {"emailAddress": address, "action": "failed", "status": "5.1.1", "diagnosticCode": SAID}
    return {
        "notificationType": "Bounce",
        "bounce": {
            "feedbackId": "0100017",
            "bounceType": kind,
            "bounceSubType": sub,
            "bouncedRecipients": [recipient],
            "timestamp": "2026-01-19T08:59:38.237Z",
            "remoteMtaIp": "192.0.2.7",
            "reportingMTA": "dsn; a8-70.smtp-out.amazonses.com",
        },
        "mail": {
            "timestamp": "2026-01-19T08:59:30.000Z",
            "messageId": "0000014644fe5ef6-9a483358",
            "destination": [address],
            "headers": [{"name": "Message-ID", "value": message_id}],
            "commonHeaders": {"messageId": message_id, "to": [address]},
        },
    }


def sendgrid_bounce(message_id: str, address: str) -> dict[str, Any]:
    return {
        "email": address,
        "event": "bounce",
        "type": "bounce",
        "bounce_classification": "Invalid Address",
        "reason": "550 5.1.1 The email account that you tried to reach does not exist.",
        "status": "5.1.1",
        "sg_event_id": uuid4().hex,
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
        "smtp-id": message_id,
        "timestamp": 1768813170,
    }


def postmark_bounce(message_id: str, address: str) -> dict[str, Any]:
    return {
        "RecordType": "Bounce",
        "ID": uuid4().int % 10**9,
        "Type": "HardBounce",
        "TypeCode": 1,
        "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
        "Metadata": {"message-id": message_id},
        "Description": "The server was unable to deliver your message (ex: unknown user, mailbox not found).",
        "Details": "smtp;550 5.1.1 user unknown",
        "Email": address,
        "BouncedAt": "2026-01-19T08:59:28.2735393Z",
        "Inactive": True,
    }


def mailgun_failure(message_id: str, address: str) -> dict[str, Any]:
    return {
        "event": "failed",
        "id": uuid4().hex,
        "timestamp": 1768813170.12345,
        "severity": "permanent",
        "reason": "bounce",
        "recipient": address,
        "delivery-status": {"attempt-no": 1, "code": 550, "message": "5.1.1 user unknown", "description": ""},
        "message": {"headers": {"to": address, "message-id": message_id.strip("<>")}},
    }


def resend_bounce(message_id: str, address: str) -> dict[str, Any]:
    return {
        "type": "email.bounced",
        "created_at": "2026-01-19T08:59:30.000Z",
        "data": {
            "email_id": "56761188-7520-42d8-8898-ff6fc54ce618",
            "to": [address],
            "headers": [{"name": "Message-ID", "value": message_id}],
            "bounce": {
                "message": "The address is on the suppression list.",
                "subType": "Suppressed",
                "type": "Permanent",
            },
        },
    }


PROVIDERS: dict[str, tuple[Callable[..., Awaitable[Response]], Callable[[str, str], dict[str, Any]]]] = {
    "ses": (by_ses, ses_bounce),
    "sendgrid": (by_sendgrid, sendgrid_bounce),
    "postmark": (by_postmark, postmark_bounce),
    "mailgun": (by_mailgun, mailgun_failure),
    "resend": (by_resend, resend_bounce),
}


async def delivered(world: World, email: str = ADDRESS) -> str:
    """The row of an email that was sent to a supplier."""
    row = await world.row(await world.supplier(email=email), "low_client_adoption")
    await world.query(
        "UPDATE success_interventions SET status = 'sent', sent_at = now(), metadata = '{}' WHERE id = %s",
        row,
    )
    return row


async def suppressed(world: World) -> list[str]:
    return [found["reason"] for found in await world.query("SELECT reason FROM suppressed_addresses")]


@pytest.mark.usefixtures("fetched")
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_bounce_ends_the_emails_by_message_id_and_by_address(
    world: World, api: AsyncClient, provider: str
) -> None:
    send, bounce = PROVIDERS[provider]
    row = await delivered(world)
    answer = await send(api, bounce(f"<{row.upper()}@WedSync.example>", "Somebody.Else@example.net"))
    assert (answer.status_code, answer.json()) == (200, {"status": "recorded"})
    assert (await world.find(row))["bounced_at"] is not None
    other = await delivered(world, "studio@xn--bro-hoa.example")
    answer = await send(api, bounce("<somebody-else@example.net>", "Studio <STUDIO@Büro.example>"))
    assert answer.json() == {"status": "recorded"}
    assert (await world.find(other))["bounced_at"] is not None
    assert await suppressed(world) == ["bounced", "bounced"]


@pytest.mark.usefixtures("fetched")
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_what_matches_nothing_is_unmatched_counted_and_not_repeated(
    api: AsyncClient, world: World, provider: str
) -> None:
    send, bounce = PROVIDERS[provider]
    del world
    message = bounce(f"<{uuid4()}@wedsync.example>", "nobody@example.net")
    assert (await send(api, message)).json() == {"status": "unmatched"}
    if provider in {"sendgrid", "postmark", "mailgun"}:  # the others number the message, not the event
        assert (await send(api, message)).json() == {"status": "repeated"}
    counted = (await api.get("/metrics")).text
    assert f'success_mail_reports_total{{provider="{provider}",status="unmatched"}} 1.0' in counted


async def test_what_is_not_signed_rightly_is_401(api: AsyncClient, fetched: list[str], world: World) -> None:
    del world
    mine = ec.generate_private_key(ec.SECP256R1())
    answers = [
        await by_ses(api, {}, Signature=base64.b64encode(b"x" * 256).decode()),
        await by_ses(api, {}, version="3"),
        await by_sendgrid(api, {"event": "bounce"}, key=mine),
        await by_postmark(api, {}, auth="postmark:another"),
        await by_mailgun(api, {}, key="another"),
        await by_mailgun(api, {}, at_ms=NOW - 6 * 60_000),
        await by_resend(api, {"type": "x"}, secret="whsec_" + base64.b64encode(b"another").decode()),
        *[
            await api.post(f"/webhooks/mail/{name}", content=b"{}")
            for name in ("sendgrid", "postmark", "resend")
        ],
    ]
    assert [answer.status_code for answer in answers] == [401] * len(answers)
    assert all(answer.headers["content-type"] == "application/problem+json" for answer in answers)
    assert set(fetched) <= {CERTIFICATE_URL}
    assert (await api.post("/webhooks/mail/mailgun", content=b"{}")).status_code == 422
    assert (await by_mailgun(api, {"event": "opened"}, key="key-of-yesterday")).json() == {
        "status": "ignored"
    }


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/x.pem",
        "https://evil.example/sns.eu-west-1.amazonaws.com/x.pem",
        "https://a@sns.eu-west-1.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/x.pem",
        "https://s3.eu-west-1.amazonaws.com/x.pem",
        "https://sns.us-east-1.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com/x.html",
    ],
)
async def test_a_certificate_is_fetched_from_sns_in_the_topics_region_only(
    api: AsyncClient, fetched: list[str], world: World, url: str
) -> None:
    del world
    assert (await by_ses(api, {}, SigningCertURL=url)).status_code == 401
    assert fetched == []


@pytest.mark.parametrize("version", ["1", "2"])
async def test_a_subscription_is_confirmed_for_configured_topics_only(
    api: AsyncClient, fetched: list[str], world: World, version: str
) -> None:
    del world
    confirm = f"https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=abc"
    asked = {"Type": "SubscriptionConfirmation", "Token": "abc", "SubscribeURL": confirm, "Message": "…"}
    assert (await by_ses(api, {}, version=version, **asked)).json() == {"status": "confirmed"}
    assert fetched == [CERTIFICATE_URL, confirm]
    foreign = asked | {"TopicArn": "arn:aws:sns:eu-west-1:999999999999:theirs"}
    assert (await by_ses(api, {}, version=version, **foreign)).status_code == 403
    elsewhere = asked | {"SubscribeURL": "https://internal.example/"}
    assert (await by_ses(api, {}, version=version, **elsewhere)).status_code == 401
    assert fetched == [CERTIFICATE_URL, confirm]


@pytest.mark.usefixtures("fetched")
async def test_complaints_suppress_and_opt_out_and_deliveries_count(api: AsyncClient, world: World) -> None:
    await delivered(world)
    mail = {"messageId": "x", "commonHeaders": {}}
    sent = [
        await by_ses(
            api,
            {
                "eventType": "Complaint",
                "complaint": {
                    "complainedRecipients": [{"emailAddress": ADDRESS}],
                    "complaintFeedbackType": "abuse",
                },
                "mail": mail,
            },
        ),
        await by_ses(
            api, {"notificationType": "Delivery", "delivery": {"recipients": [ADDRESS]}, "mail": mail}
        ),
        await by_sendgrid(
            api,
            {"event": "spamreport", "email": ADDRESS, "sg_event_id": "a", "timestamp": 1768813170},
            {"event": "open", "email": ADDRESS, "sg_event_id": "b", "timestamp": 1768813170},
        ),
        await by_postmark(api, {"RecordType": "SpamComplaint", "ID": 7, "Email": ADDRESS}),
        await by_mailgun(api, {"event": "complained", "id": "c", "recipient": ADDRESS}),
        await by_resend(api, {"type": "email.complained", "data": {"to": [ADDRESS]}}),
    ]
    assert [answer.json() for answer in sent] == [{"status": "recorded"}] * len(sent)
    assert await suppressed(world) == ["complained"]
    [found] = await world.query("SELECT email_opt_out FROM suppliers")
    assert found["email_opt_out"]


@pytest.mark.usefixtures("fetched")
async def test_what_says_nothing_of_the_address_suppresses_nobody(api: AsyncClient, world: World) -> None:
    row = await delivered(world)
    ours = f"<{row}@wedsync.example>"
    transient = ses_bounce(ours, ADDRESS, "Transient", "MailboxFull")
    blocked = sendgrid_bounce(ours, ADDRESS) | {
        "type": "blocked",
        "bounce_classification": "Reputation",
        "status": "5.7.1",
        "reason": "550 5.7.1 blocked",
    }
    sent = [
        await by_ses(api, transient),
        await by_sendgrid(api, blocked),
        await by_postmark(api, postmark_bounce(ours, ADDRESS) | {"Type": "DMARCPolicy"}),
        await by_mailgun(api, mailgun_failure(ours, ADDRESS) | {"reason": "espblock"}),
    ]
    assert [answer.json() for answer in sent] == [{"status": "recorded"}] * len(sent)
    ignored = [
        await by_postmark(api, postmark_bounce(ours, ADDRESS) | {"Type": "AutoResponder"}),
        await by_mailgun(api, mailgun_failure(ours, ADDRESS) | {"severity": "temporary"}),
        await by_resend(api, {"type": "email.opened", "data": {}}),
        await by_ses(api, "Successfully validated SNS topic for Amazon SES event publishing."),
    ]
    assert [answer.json() for answer in ignored] == [{"status": "ignored"}] * len(ignored)
    assert await suppressed(world) == []
