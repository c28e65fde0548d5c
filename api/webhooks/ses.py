"""Amazon SES by SNS: signed notifications, and subscriptions confirmed for configured topics only.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import asyncio
import base64
import re
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509 import Certificate, load_pem_x509_certificate
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from api.problems import Problem
from api.webhooks.reported import Kind, Reported, parse, refused, time_of
from api.webhooks.resend import claimed

Fetch = Callable[[str], Awaitable[bytes]]
"""Read what is at an address of SNS; OSError if it can't be had."""

_HOST = re.compile(r"sns\.[a-z0-9-]{3,32}\.amazonaws\.com(?:\.cn)?")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        "Message",
        "MessageId",
        "SubscribeURL",
        "Timestamp",
        "Token",
        "TopicArn",
        "Type",
    ),
}
_SIGNED["UnsubscribeConfirmation"] = _SIGNED["SubscriptionConfirmation"]
_HASHES: dict[str, SHA1 | SHA256] = {"1": SHA1(), "2": SHA256()}  # noqa: S303 - SNS's version 1 is SHA-1
_KINDS: dict[str, Kind] = {"Bounce": "bounced", "Complaint": "complained", "Delivery": "delivered"}
FETCH_TIMEOUT_S = 5
LONGEST_FETCH = 64 * 1024
MOST_CERTIFICATES = 16


class Envelope(BaseModel):
    """An SNS message, all of it text."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"] = Field(alias="Type")
    topic: str = Field(alias="TopicArn", max_length=512)
    message: str = Field(alias="Message")
    message_id: str = Field(alias="MessageId", max_length=128)
    timestamp: str = Field(alias="Timestamp", max_length=64)
    version: str = Field(alias="SignatureVersion", max_length=8)
    signature: str = Field(alias="Signature", max_length=2048)
    certificate_url: str = Field(alias="SigningCertURL", max_length=512)
    subject: str | None = Field(default=None, alias="Subject")
    token: str | None = Field(default=None, alias="Token")
    subscribe_url: str | None = Field(default=None, alias="SubscribeURL", max_length=2048)

    def signed(self) -> bytes:
        """What the signature is over: names and values of the fields that this type signs, a line each."""
        said = self.model_dump(by_alias=True)
        fields = [(name, said[name]) for name in _SIGNED[self.type] if said[name] is not None]
        return "".join(f"{name}\n{value}\n" for name, value in fields).encode()


class _Camel(BaseModel):
    model_config = ConfigDict(extra="ignore", alias_generator=to_camel)


class _Recipient(_Camel):
    email_address: str | None = None
    status: str | None = None
    diagnostic_code: str | None = None


class _Bounce(_Camel):
    bounce_type: str = ""
    bounce_sub_type: str = ""
    bounced_recipients: list[_Recipient] = []
    timestamp: str | None = None
    feedback_id: str = Field(default="", max_length=200)


class _Complaint(_Camel):
    complained_recipients: list[_Recipient] = []
    complaint_feedback_type: str | None = None
    timestamp: str | None = None
    feedback_id: str = Field(default="", max_length=200)


class _Delivery(_Camel):
    recipients: list[str] = []
    timestamp: str | None = None


class _Mail(_Camel):
    message_id: str = Field(default="", max_length=200)
    headers: list[dict[str, Any]] = []
    common_headers: dict[str, Any] = {}

    def message_ids(self) -> tuple[str, ...]:
        """SES writes a Message-ID of its own; ours is among the original headers."""
        named = [each.get("value") for each in self.headers if str(each.get("name")).lower() == "message-id"]
        found = (*named, self.common_headers.get("messageId"), self.message_id)
        return tuple(each for each in found if isinstance(each, str))


class _Notification(_Camel):
    notification_type: str | None = None
    event_type: str | None = None
    mail: _Mail = Field(default_factory=_Mail)
    bounce: _Bounce = Field(default_factory=_Bounce)
    complaint: _Complaint = Field(default_factory=_Complaint)
    delivery: _Delivery = Field(default_factory=_Delivery)


class Certificates:
    """The certificates that SNS signs with, each fetched once."""

    def __init__(self, fetch: Fetch) -> None:
        self.fetch = fetch
        self._known: dict[str, Certificate] = {}

    async def get(self, url: str) -> Certificate:
        """The certificate at an address of SNS; 503 if it can't be had now."""
        known = self._known.get(url)
        if known is None:
            try:
                known = load_pem_x509_certificate(await self.fetch(url))
            except (OSError, ValueError) as error:
                raise _away("the certificate that SNS signs with") from error
            if len(self._known) >= MOST_CERTIFICATES:
                self._known.clear()
            self._known[url] = known
        return known


async def verify(body: bytes, topics: list[str], certificates: Certificates, now_ms: int) -> Envelope:
    """The message, once it is of a configured topic and SNS signed it; 403 and 401 otherwise."""
    envelope = parse(Envelope, body)
    if envelope.topic not in topics:
        raise Problem(
            HTTPStatus.FORBIDDEN, "this topic is not one of SUCCESS_WEBHOOK_SES_TOPICS: add its ARN there"
        )
    algorithm = _HASHES.get(envelope.version)
    if algorithm is None or not is_of_sns(envelope.certificate_url, envelope.topic, ".pem"):
        raise refused(
            "a message of SNS names its signature version, and its certificate at SNS in the topic's region"
        )
    if not _is_signed(envelope, algorithm, await certificates.get(envelope.certificate_url), now_ms):
        raise refused("the signature of this SNS message is not right")
    return envelope


def _is_signed(envelope: Envelope, algorithm: SHA1 | SHA256, certificate: Certificate, now_ms: int) -> bool:
    key, now = certificate.public_key(), datetime.fromtimestamp(now_ms / 1000, UTC)
    is_valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
    if not is_valid or not isinstance(key, RSAPublicKey):
        return False
    try:
        signature = base64.b64decode(envelope.signature, validate=True)
        key.verify(signature, envelope.signed(), PKCS1v15(), algorithm)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


async def confirm(envelope: Envelope, fetch: Fetch) -> None:
    """Confirm the subscription to a configured topic, as SNS asks to; 503 if SNS can't be reached now."""
    url = envelope.subscribe_url or ""
    if not is_of_sns(url, envelope.topic):
        raise refused("the address that confirms a subscription is at SNS, in the topic's region")
    try:
        await fetch(url)
    except OSError as error:
        raise _away("the subscription's confirmation") from error


def read(envelope: Envelope) -> list[Reported]:
    """The reports of a notification, one a recipient; none if it is about something else."""
    try:
        said = _Notification.model_validate_json(envelope.message)
    except ValidationError:
        return []  # the topic's own test message, or somebody else's
    kind = _KINDS.get(said.notification_type or said.event_type or "")
    match kind:
        case "bounced":
            at, recipients = said.bounce.timestamp, said.bounce.bounced_recipients
        case "complained" if said.complaint.complaint_feedback_type != "not-spam":
            at, recipients = said.complaint.timestamp, said.complaint.complained_recipients
        case "delivered":
            at = said.delivery.timestamp
            recipients = [
                _Recipient.model_validate({"emailAddress": each}) for each in said.delivery.recipients
            ]
        case _:
            return []
    return [
        Reported(
            id=f"ses:{envelope.message_id}:{number}",
            kind=kind,
            at=time_of(at),
            message_ids=said.mail.message_ids(),
            address=each.email_address,
            claimed=claimed(said.bounce.bounce_type, said.bounce.bounce_sub_type),
            code=each.status,
            diagnostic=each.diagnostic_code,
        )
        for number, each in enumerate(recipients)
    ]


def is_of_sns(url: str, topic: str, ends: str = "") -> bool:
    """Whether an address is HTTPS at SNS, in the region of the topic, and its path ends so."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    host, region = parts.netloc, topic.split(":")[3] if topic.count(":") >= 5 else ""  # noqa: PLR2004
    is_there = _HOST.fullmatch(host) is not None and host.split(".")[1] == region
    return parts.scheme == "https" and port is None and is_there and parts.path.endswith(ends)


async def fetch(url: str) -> bytes:
    """Read what is at an address, following nothing; OSError if that fails."""
    return await asyncio.to_thread(_fetch, url)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _fetch(url: str) -> bytes:
    opener = urllib.request.build_opener(_NoRedirects)
    with opener.open(url, timeout=FETCH_TIMEOUT_S) as answer:
        found: bytes = answer.read(LONGEST_FETCH)
        return found


def _away(what: str) -> Problem:
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, f"{what} can't be fetched now", headers={"Retry-After": "30"}
    )
