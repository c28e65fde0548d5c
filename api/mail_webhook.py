"""`POST /webhooks/mail`: bounces and complaints as the mail provider reports them, signed by Standard Webhooks."""

from __future__ import annotations

import base64
import binascii
import logging
from http import HTTPStatus
from typing import Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from standardwebhooks import Webhook, WebhookVerificationError

from agents.feedback import change_consent, tell
from api.auth import Caller
from api.bodies import read_body
from api.problems import Problem, documented
from api.services import InServices, Services
from scoring.consent import Wish
from scoring.feedback import BounceClass, Rules, bounce_class, is_about_us
from store.feedback import Recorded, Report, record_report
from topics.time import parse_time

logger = logging.getLogger(__name__)
router = APIRouter(tags=["webhooks"])

LONGEST_BODY = 1024 * 1024
LONGEST_ID = 256
PROVIDER = Caller("service", "mail provider")
KINDS: dict[str, Literal["bounced", "complained", "delivered"]] = {
    "email.bounced": "bounced",
    "email.complained": "complained",
    "email.delivered": "delivered",
}
"""What is listened to; every other type is answered with 200 and ignored."""
_SECRET_PREFIX = "whsec_"  # noqa: S105 - how Standard Webhooks marks a secret in base64


class _Reported(BaseModel):
    """`data` of an event: which message, and of a bounce why. Unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore")

    message_id: str | None = Field(
        default=None,
        validation_alias=AliasChoices("message_id", "messageId"),
        description="Our Message-ID, with or without its angle brackets.",
    )
    address: str | None = Field(
        default=None,
        max_length=320,
        validation_alias=AliasChoices("address", "recipient", "email"),
        description="The address that it went to.",
    )
    bounce_class: BounceClass | None = Field(
        default=None, validation_alias=AliasChoices("bounce_class", "bounceClass", "class")
    )
    code: str | None = Field(default=None, max_length=64, description="SMTP or RFC 3463: `550`, `5.1.1`.")
    diagnostic: str | None = Field(default=None, description="The mail server's own words.")

    @field_validator("message_id", "address", "code", "diagnostic")
    @classmethod
    def _storable(cls, text: str | None) -> str | None:
        """Mail servers say what they like; Postgres takes no NUL, and a bounce counts all the same."""
        return text.replace("\0", "") if text else text

    @model_validator(mode="after")
    def _names_a_message(self) -> _Reported:
        if not (self.message_id or self.address):
            raise ValueError("message_id or address must say which message")
        return self

    @property
    def row_id(self) -> str | None:
        """The id of the row that the Message-ID was made of; None if it is none of ours."""
        name = (self.message_id or "").strip().removeprefix("<").partition("@")[0].rstrip(">")
        try:
            return str(UUID(name))
        except ValueError:
            return None


class _Event(BaseModel):
    """A Standard Webhooks payload of a kind that we listen to."""

    model_config = ConfigDict(extra="ignore")

    type: str
    timestamp: str | None = None
    data: _Reported


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


@router.post(
    "/webhooks/mail",
    openapi_extra=_REQUEST,
    responses=documented(
        HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY
    ),
)
async def mail_reported(request: Request, services: InServices) -> dict[str, str]:
    """Take a report: `recorded`, `repeated` for one that was here before, `ignored` for another type of event."""
    body = await read_body(request, LONGEST_BODY)
    message_id = _verified(request, body, services.settings.secret("webhook_secret"))
    try:
        kind = KINDS.get(_Type.model_validate_json(body).type)
        if kind is None:
            return {"status": "ignored"}
        event = _Event.model_validate_json(body)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, said) from None
    recorded = await _record(services, _report(message_id, kind, event, services.clock.now_ms()))
    return {"status": "repeated" if recorded is None else "recorded"}


async def _record(services: Services, report: Report) -> Recorded | None:
    settings, now = services.settings, services.clock.now_ms()
    async with services.transaction(PROVIDER) as conn:
        recorded = await record_report(conn, report, settings.secret("secret_key"), services.policy.feedback)
        if recorded is None:
            return None
        if report.kind == "complained" and recorded.supplier_id:
            await change_consent(conn, recorded.supplier_id, Wish(email_opt_out=True), now)
        await tell(conn, [recorded.told] if recorded.told else [])
    services.wake_publisher()
    return recorded


def _report(
    message_id: str, kind: Literal["bounced", "complained", "delivered"], event: _Event, now: int
) -> Report:
    data = event.data
    bounce = None
    if kind == "bounced":
        bounce = bounce_class(data.bounce_class, data.code, data.diagnostic, Rules.load())
    return Report(
        id=message_id,
        kind=kind,
        at=_at(event.timestamp, now),
        row_id=data.row_id,
        address=data.address,
        bounce=bounce,
        code=data.code,
        diagnostic=data.diagnostic,
        about_us=is_about_us(data.code, data.diagnostic, Rules.load()),
    )


def _at(text: str | None, now: int) -> int:
    """When it happened; a time that can't be read or is not past yet is now."""
    try:
        return min(now, parse_time(text)) if text else now
    except ValueError:
        return now


def _verified(request: Request, body: bytes, secret: str) -> str:
    """Give the message's id once its signature and its age (5 minutes at most) are right; 401 otherwise."""
    headers = dict(request.headers)
    message_id = headers.get("webhook-id", "")
    if (
        any(_is_signed(Webhook(key), body, headers) for key in _keys(secret))
        and len(message_id) <= LONGEST_ID
    ):
        return message_id
    raise Problem(
        HTTPStatus.UNAUTHORIZED,
        "sign the request as Standard Webhooks say, with SUCCESS_WEBHOOK_SECRET, not over 5 minutes ago",
    )


def _is_signed(webhook: Webhook, body: bytes, headers: dict[str, str]) -> bool:
    try:
        webhook.verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):  # the latter for what is no base64 or no UTF-8
        return False
    return True


def _keys(secret: str) -> list[bytes]:
    """The key that a secret stands for: base64 after `whsec_`; without it the text itself, or base64 if it is that."""
    encoded = secret.removeprefix(_SECRET_PREFIX)
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    plain = b"" if secret.startswith(_SECRET_PREFIX) else secret.encode()
    return [key for key in (plain, decoded) if key]
