"""Resend: events signed by Svix, which is Standard Webhooks with headers of its own.

https://resend.com/docs/webhooks
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, Field

from api.webhooks.reported import Kind, Reported, is_standard, parse, refused, time_of
from runtime.keys import Keys
from scoring.decisions.feedback import Meaning

KINDS: dict[str, Kind] = {
    "email.bounced": "bounced",
    "email.complained": "complained",
    "email.delivered": "delivered",
}
TRANSIENT: dict[str, Meaning] = {
    "MailboxFull": "soft",
    "MessageTooLarge": "soft",
    "ContentRejected": "about_us",
    "AttachmentRejected": "about_us",
}
"""What a transient bounce says by its sub-type; Resend names them as SES does."""


class _Bounce(BaseModel):
    type: str = ""
    sub_type: str = Field(default="", alias="subType")
    message: str | None = None


class _Header(BaseModel):
    name: str = ""
    value: str = ""


class _Data(BaseModel):
    to: list[str] | str = []
    message_id: str | None = None
    headers: list[_Header] | None = None
    bounce: _Bounce = _Bounce()


class _Event(BaseModel):
    type: str
    created_at: str | None = None
    data: _Data = _Data()


def verify(headers: Mapping[str, str], body: bytes, secrets: Keys) -> None:
    """401 unless Resend signed it with the endpoint's `whsec_…` secret, not over 5 minutes ago."""
    if not is_standard(headers, body, secrets, "svix"):
        raise refused("sign with the signing secret of this webhook at Resend, not over 5 minutes ago")


def read(headers: Mapping[str, str], body: bytes) -> list[Reported]:
    """The reports of an event, one a recipient; none for events that nobody waits for."""
    event = parse(_Event, body)
    kind = KINDS.get(event.type)
    if kind is None:
        return []
    data = event.data
    named = [header.value for header in data.headers or [] if header.name.lower() == "message-id"]
    to = [data.to] if isinstance(data.to, str) else data.to
    return [
        Reported(
            id=f"resend:{headers.get('svix-id', '')}:{number}",
            kind=kind,
            at=time_of(event.created_at),
            message_ids=tuple(filter(None, (*named, data.message_id))),
            address=address,
            claimed=claimed(data.bounce.type, data.bounce.sub_type),
            diagnostic=data.bounce.message,
        )
        for number, address in enumerate(to or [None])
    ]


def claimed(kind: str, sub_type: str) -> Meaning | None:
    """What a bounce's type says: permanent is dead; of transient ones only some sub-types say why."""
    return "hard" if kind == "Permanent" else TRANSIENT.get(sub_type) if kind == "Transient" else None
