"""Mailgun: a JSON body with its own signature.

https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks
"""

from __future__ import annotations

import hmac

from pydantic import BaseModel, Field

from api.webhooks.reported import TOLERANCE_MS, Kind, Reported, parse, refused, time_of
from runtime.keys import Keys
from scoring.decisions.feedback import Meaning

_OURS = {"old": None, "espblock": "about_us"}
"""Reasons of a permanent failure that don't say the address is dead: given up after a time; their block of us."""


class _Signature(BaseModel):
    timestamp: str = Field(max_length=32)
    token: str = Field(max_length=256)
    signature: str = Field(max_length=256)


class _Status(BaseModel):
    code: int | str | None = None
    message: str | None = None
    description: str | None = None
    enhanced: str | None = Field(default=None, alias="enhanced-code")


class _Message(BaseModel):
    headers: dict[str, object] = {}


class _Data(BaseModel):
    id: str = Field(default="", max_length=200)
    event: str = ""
    timestamp: float | None = None
    severity: str = ""
    reason: str = ""
    recipient: str | None = None
    message: _Message = _Message()
    status: _Status = Field(default=_Status(), alias="delivery-status")


class _Signed(BaseModel):
    signature: _Signature


class _Body(BaseModel):
    data: _Data = Field(alias="event-data")


def verify(body: bytes, secrets: Keys, now_ms: int) -> None:
    """401 unless Mailgun signed it with the HTTP webhook signing key, not over 5 minutes ago."""
    said = parse(_Signed, body).signature
    wanted = [digest.hex() for digest in secrets.digests(f"{said.timestamp}{said.token}".encode())]
    is_signed = any(hmac.compare_digest(said.signature.encode(), each.encode()) for each in wanted)
    at = int(said.timestamp) * 1000 if said.timestamp.isdecimal() and said.timestamp.isascii() else 0
    if not is_signed or abs(now_ms - at) > TOLERANCE_MS:
        raise refused("sign with the HTTP webhook signing key of Mailgun, not over 5 minutes ago")


def read(body: bytes) -> list[Reported]:
    """The report of an event; none for events that nobody waits for."""
    data = parse(_Body, body).data
    kind = _kind(data)
    if kind is None:
        return []
    message_id = data.message.headers.get("message-id")
    return [
        Reported(
            id=f"mailgun:{data.id}",
            kind=kind,
            at=time_of(data.timestamp),
            message_ids=(message_id,) if isinstance(message_id, str) else (),
            address=data.recipient,
            claimed=_claimed(data),
            code=data.status.enhanced or (None if data.status.code is None else str(data.status.code)),
            diagnostic=data.status.message or data.status.description,
        )
    ]


def _kind(data: _Data) -> Kind | None:
    match data.event, data.severity, data.reason:
        case ("complained", _, _) | ("failed", _, "suppress-complaint"):
            return "complained"
        case "delivered", _, _:
            return "delivered"
        case ("failed", _, "suppress-unsubscribe") | ("failed", "temporary", _):
            return None  # the latter: it tries again, and says how it ended
        case "failed", _, _:
            return "bounced"
        case _:
            return None


def _claimed(data: _Data) -> Meaning | None:
    found: Meaning | None = _OURS.get(data.reason, "hard")  # type: ignore[assignment]
    return found if data.severity == "permanent" else None
