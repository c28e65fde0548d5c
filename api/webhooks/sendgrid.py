"""SendGrid: the Signed Event Webhook, ECDSA over timestamp and body.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pydantic import BaseModel, Field, RootModel

from api.webhooks.reported import Kind, Reported, parse, refused, time_of
from runtime.keys import Keys
from scoring.decisions.feedback import Meaning

SIGNATURE = "x-twilio-email-event-webhook-signature"
TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
_NOT_THE_ADDRESS = ("content", "reputation", "frequency", "volume", "technical")
"""Classes of bounces (`bounce_classification`) that speak of something else than the address."""
_DROPPED: dict[str, tuple[Kind, Meaning | None]] = {
    "bounced address": ("bounced", "hard"),
    "invalid": ("bounced", "hard"),
    "spam reporting address": ("complained", None),
}
"""Why SendGrid did not try: it knows the address from before."""


class _Event(BaseModel):
    event: str = ""
    email: str | None = None
    timestamp: float | None = None
    sg_event_id: str = Field(default="", max_length=200)
    smtp_id: str | None = Field(default=None, alias="smtp-id")
    type: str = ""
    reason: str | None = None
    status: str | None = None
    bounce_class: str = Field(default="", alias="bounce_classification")


class _Events(RootModel[list[_Event]]):
    pass


def verify(headers: Mapping[str, str], body: bytes, keys: Keys) -> None:
    """401 unless SendGrid signed it; `keys`: the verification keys that it shows (base64)."""
    signed = headers.get(TIMESTAMP, "").encode() + body
    try:
        signature = base64.b64decode(headers.get(SIGNATURE, ""), validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    if not any(_is_signed(key, signature, signed) for key in keys.every):
        raise refused("sign with SendGrid's Signed Event Webhook, whose verification key is set here")


def _is_signed(key: str, signature: bytes, signed: bytes) -> bool:
    encoded = "".join(
        line for line in key.split() if "-----" not in line and line not in {"PUBLIC", "BEGIN", "END"}
    )
    try:
        public = load_der_public_key(base64.b64decode(encoded))
        if not isinstance(public, EllipticCurvePublicKey):
            return False
        public.verify(signature, signed, ECDSA(SHA256()))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def read(body: bytes) -> list[Reported]:
    """The reports among the events of a batch."""
    reports = []
    for event in parse(_Events, body).root:
        kind, claimed = _judged(event)
        if kind is None:
            continue
        reports.append(
            Reported(
                id=f"sendgrid:{event.sg_event_id}",
                kind=kind,
                at=time_of(event.timestamp),
                message_ids=(event.smtp_id,) if event.smtp_id else (),
                address=event.email,
                claimed=claimed,
                code=event.status,
                diagnostic=event.reason,
            )
        )
    return reports


def _judged(event: _Event) -> tuple[Kind | None, Meaning | None]:
    match event.event:
        case "delivered":
            return "delivered", None
        case "spamreport":
            return "complained", None
        case "dropped":
            return _DROPPED.get((event.reason or "").strip().lower(), (None, None))
        case "bounce":
            other = event.bounce_class.lower().startswith(_NOT_THE_ADDRESS)
            is_hard = event.type == "bounce" and not other
            return "bounced", "hard" if is_hard else None
        case _:
            return None, None
