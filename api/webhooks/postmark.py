"""Postmark: HTTP basic authentication in the webhook's address.

https://postmarkapp.com/developer/webhooks
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping

from pydantic import BaseModel, Field

from api.webhooks.reported import Kind, Reported, parse, refused, time_of
from runtime.keys import Keys
from scoring.decisions.feedback import Meaning

BOUNCES: dict[str, Meaning | None] = {
    "HardBounce": "hard",
    "BadEmailAddress": "hard",
    "ManuallyDeactivated": "hard",
    "SoftBounce": "soft",
    "Transient": "soft",
    "DnsError": "soft",
    "Undeliverable": None,
    "Unknown": None,
    "Blocked": "about_us",
    "SpamNotification": "about_us",
    "VirusNotification": "about_us",
    "DMARCPolicy": "about_us",
}
"""Postmark's types of bounces, and what they say; every other type is no bounce (auto-replies, address changes)."""


class _Event(BaseModel):
    record: str = Field(default="Bounce", alias="RecordType")  # not in the oldest kind of bounce webhook
    id: int | None = Field(default=None, alias="ID")
    type: str = Field(default="", alias="Type")
    message_id: str = Field(default="", max_length=200, alias="MessageID")
    email: str | None = Field(default=None, alias="Email")
    recipient: str | None = Field(default=None, alias="Recipient")
    details: str | None = Field(default=None, alias="Details")
    description: str | None = Field(default=None, alias="Description")
    bounced_at: str | None = Field(default=None, alias="BouncedAt")
    delivered_at: str | None = Field(default=None, alias="DeliveredAt")
    metadata: dict[str, object] = Field(default={}, alias="Metadata")


def verify(headers: Mapping[str, str], secrets: Keys) -> None:
    """401 unless the user name and password of the webhook's address came along."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    try:
        said = base64.b64decode(given, validate=True) if scheme.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        said = b""
    if not any(hmac.compare_digest(said, secret.encode()) for secret in secrets.every):
        raise refused(
            "put the user name and password of SUCCESS_WEBHOOK_POSTMARK_AUTH into the webhook's address"
        )


def read(body: bytes) -> list[Reported]:
    """The report of an event; none for events that nobody waits for."""
    event = parse(_Event, body)
    kind = _kind(event)
    if kind is None:
        return []
    ours = event.metadata.get("message-id") or event.metadata.get("message_id")
    return [
        Reported(
            id=f"postmark:{event.record}:{event.id or event.message_id}:{event.email or event.recipient}"[
                :256
            ],
            kind=kind,
            at=time_of(event.bounced_at or event.delivered_at),
            message_ids=tuple(each for each in (ours, event.message_id) if isinstance(each, str)),
            address=event.email or event.recipient,
            claimed=BOUNCES.get(event.type),
            diagnostic=event.details or event.description,
        )
    ]


def _kind(event: _Event) -> Kind | None:
    if event.record == "SpamComplaint" or event.type == "SpamComplaint":
        return "complained"
    if event.record == "Delivery":
        return "delivered"
    return "bounced" if event.record == "Bounce" and event.type in BOUNCES else None
