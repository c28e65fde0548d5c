"""`POST /webhooks/mail…`: bounces and complaints as mail providers report them, each signed in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from psycopg import AsyncConnection
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from agents.acts.consent import change_consent
from agents.acts.events import tell
from api.auth import Caller
from api.bodies import read_body
from api.problems import Problem, documented
from api.services import InServices, Services
from api.webhooks import mailgun, postmark, resend, sendgrid, ses
from api.webhooks.reported import Kind, Reported, is_standard, parse, refused, time_of, without_nul
from runtime.keys import Keys
from runtime.settings import ProviderSecret, variable
from scoring.decisions.consent import Wish
from scoring.decisions.feedback import LONGEST_CODE, BounceClass, Rules, bounce_meaning
from store.messages.feedback import Recorded, Report, record_report
from store.people import consent

router = APIRouter(tags=["webhooks"])

LONGEST_BODY = 1024 * 1024
PROVIDER = Caller("service", "mail provider")
KINDS: dict[str, Kind] = {
    "email.bounced": "bounced",
    "email.complained": "complained",
    "email.delivered": "delivered",
}
"""What is listened to; every other type is answered with 200 and ignored."""
_ANSWERS = ("recorded", "unmatched", "repeated")
"""Of several reports in one request the first of these that one of them is, is the answer."""


class _Data(BaseModel):
    """`data` of an event: which message, and of a bounce why. Unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore")

    message_id: str | None = Field(
        default=None,
        max_length=1000,
        validation_alias=AliasChoices("message_id", "messageId"),
        description="Our Message-ID, with or without its angle brackets.",
    )
    address: str | None = Field(
        default=None,
        max_length=1000,
        validation_alias=AliasChoices("address", "recipient", "email"),
        description="The address that it went to.",
    )
    bounce_class: BounceClass | None = Field(
        default=None, validation_alias=AliasChoices("bounce_class", "bounceClass", "class")
    )
    code: str | None = Field(default=None, max_length=64, description="SMTP or RFC 3463: `550`, `5.1.1`.")
    diagnostic: str | None = Field(default=None, description="The mail server's own words.")

    @model_validator(mode="after")
    def _names_a_message(self) -> _Data:
        if not (self.message_id or self.address):
            raise ValueError("message_id or address must say which message")
        return self


class _Event(BaseModel):
    """A Standard Webhooks payload of a kind that we listen to."""

    model_config = ConfigDict(extra="ignore")

    type: str
    timestamp: str | None = None
    data: _Data


class _Type(BaseModel):
    """The part of any payload that says what it is."""

    type: str


_REQUEST = {
    "parameters": [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}, "description": about}
        for name, about in (
            ("webhook-id", "Names the report; each counts once."),
            ("webhook-timestamp", "Seconds since 1970, at most 5 minutes ago."),
            ("webhook-signature", "As Standard Webhooks say, with SUCCESS_WEBHOOK_SECRET."),
        )
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["type"],
                    "properties": {
                        "type": {"type": "string", "examples": list(KINDS)},
                        "timestamp": {"type": "string"},
                        "data": {"type": "object"},
                    },
                },
                "example": {
                    "type": "email.bounced",
                    "timestamp": "2026-01-05T09:00:00Z",
                    "data": {
                        "message_id": "<7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10@wedsync.example>",
                        "code": "5.1.1",
                    },
                },
            }
        },
    },
}


_RESPONSES = documented(
    HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY
)
_OF_PROVIDERS: dict[str, Any] = {
    "responses": _RESPONSES
    | documented(HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
    "openapi_extra": {
        "requestBody": {"required": True, "content": {"application/json": {"schema": {}}}},
    },
}


@router.post("/webhooks/mail", openapi_extra=_REQUEST, responses=_RESPONSES)
async def mail_reported(request: Request, services: InServices) -> dict[str, str]:
    """Take a report, signed by Standard Webhooks.

    `recorded`; `unmatched` if no message or supplier of ours is meant; `repeated` for one that was here before;
    `ignored` for another type of event.
    """
    body = await read_body(request, LONGEST_BODY)
    if not is_standard(request.headers, body, services.settings.keys("webhook_secret")):
        raise refused(
            "sign the request as Standard Webhooks say, with SUCCESS_WEBHOOK_SECRET, not over 5 minutes ago"
        )
    kind = KINDS.get(parse(_Type, body).type)
    if kind is None:
        return await _record_all(request, services, "standard", [])
    event = parse(_Event, body)
    data = event.data
    report = Reported(
        id=request.headers["webhook-id"],
        kind=kind,
        at=time_of(event.timestamp),
        message_ids=(without_nul(data.message_id),) if data.message_id else (),
        address=data.address,
        claimed=data.bounce_class,
        code=data.code,
        diagnostic=data.diagnostic,
    )
    return await _record_all(request, services, "standard", [report])


@router.post("/webhooks/mail/ses", **_OF_PROVIDERS)
async def ses_reported(request: Request, services: InServices) -> dict[str, str]:
    """Take a message of SNS: what SES reports (answers as above), or a subscription to confirm (`confirmed`)."""
    topics = services.settings.ses_topics()
    if not topics:
        raise _not_set("webhook_ses_topics")
    body = await read_body(request, LONGEST_BODY)
    certificates: ses.Certificates = request.app.state.sns_certificates
    envelope = await ses.verify(body, topics, certificates, services.clock.now_ms())
    if envelope.type == "SubscriptionConfirmation":
        await ses.confirm(envelope, certificates.fetch)
        return {"status": "confirmed"}
    reports = ses.read(envelope) if envelope.type == "Notification" else []
    return await _record_all(request, services, "ses", reports)


@router.post("/webhooks/mail/sendgrid", **_OF_PROVIDERS)
async def sendgrid_reported(request: Request, services: InServices) -> dict[str, str]:
    """Take a batch of SendGrid's Signed Event Webhook; answers as above."""
    body, keys = await _provider(request, services, "webhook_sendgrid_key")
    sendgrid.verify(request.headers, body, keys)
    return await _record_all(request, services, "sendgrid", sendgrid.read(body))


@router.post("/webhooks/mail/postmark", **_OF_PROVIDERS)
async def postmark_reported(request: Request, services: InServices) -> dict[str, str]:
    """Take an event of Postmark; answers as above."""
    body, keys = await _provider(request, services, "webhook_postmark_auth")
    postmark.verify(request.headers, keys)
    return await _record_all(request, services, "postmark", postmark.read(body))


@router.post("/webhooks/mail/mailgun", **_OF_PROVIDERS)
async def mailgun_reported(request: Request, services: InServices) -> dict[str, str]:
    """Take an event of Mailgun; answers as above."""
    body, keys = await _provider(request, services, "webhook_mailgun_key")
    mailgun.verify(body, keys, services.clock.now_ms())
    return await _record_all(request, services, "mailgun", mailgun.read(body))


@router.post("/webhooks/mail/resend", **_OF_PROVIDERS)
async def resend_reported(request: Request, services: InServices) -> dict[str, str]:
    """Take an event of Resend; answers as above."""
    body, keys = await _provider(request, services, "webhook_resend_secret")
    resend.verify(request.headers, body, keys)
    return await _record_all(request, services, "resend", resend.read(request.headers, body))


async def _provider(request: Request, services: Services, name: ProviderSecret) -> tuple[bytes, Keys]:
    keys = services.settings.provider_keys(name)
    if keys is None:
        raise _not_set(name)
    return await read_body(request, LONGEST_BODY), keys


def _not_set(name: str) -> Problem:
    return Problem(
        HTTPStatus.NOT_FOUND,
        f"this provider's webhook is not set up: set {variable(name)}, see docs/feedback.md",
    )


async def _record_all(
    request: Request, services: Services, provider: str, reports: Sequence[Reported]
) -> dict[str, str]:
    statuses = [await _record(services, reported) for reported in reports]
    for status in statuses:
        request.app.state.metrics.mail_reports.labels(provider, status).inc()
    return {"status": next((status for status in _ANSWERS if status in statuses), "ignored")}


async def _record(services: Services, reported: Reported) -> str:
    keys, now = services.settings.keys("secret_key"), services.clock.now_ms()
    report = _report(reported, now)
    async with services.transaction(PROVIDER) as conn:
        recorded = await record_report(conn, report, keys, services.policy.feedback)
        if recorded is None:
            return "repeated"
        if report.kind == "complained":
            await _opt_out(services, conn, recorded, now)
        await tell(conn, [recorded.told] if recorded.told else [])
    services.wake_publisher()
    return "recorded" if recorded.supplier_id else "unmatched"


async def _opt_out(services: Services, conn: AsyncConnection, recorded: Recorded, now: int) -> None:
    keys = services.settings.keys("secret_key")
    if recorded.supplier_id:
        wish, sent_to = Wish(email_opt_out=True), recorded.addresses
        await change_consent(conn, recorded.supplier_id, wish, now, keys, sent_to=sent_to)
    elif recorded.addresses:
        await consent.say_no(conn, recorded.addresses, None, now, keys)


def _report(reported: Reported, now: int) -> Report:
    code = without_nul(reported.code or "")[:LONGEST_CODE] or None
    diagnostic = reported.diagnostic and without_nul(reported.diagnostic)
    is_bounce = reported.kind == "bounced"
    return Report(
        id=without_nul(reported.id),
        kind=reported.kind,
        at=now if reported.at is None else min(now, max(0, reported.at)),
        row_id=reported.row_id,
        address=reported.plain_address,
        meaning=bounce_meaning(reported.claimed, code, diagnostic, Rules.load()) if is_bounce else None,
        code=code,
        diagnostic=diagnostic,
    )
