"""The one model of what a mail provider reports of a message, whichever provider it is."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from http import HTTPStatus
from typing import Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from api.problems import Problem
from runtime.keys import Keys
from scoring.decisions.feedback import Meaning
from topics.time import parse_time

Kind = Literal["bounced", "complained", "delivered"]
Model = TypeVar("Model", bound=BaseModel)
LONGEST_ADDRESS = 1000
"""Characters of an address that are looked at, a name before it included."""
LONGEST_ID = 256
TOLERANCE_MS = 5 * 60_000
"""How old a signed request may be where its provider signs the time."""


@dataclass(frozen=True, slots=True)
class Reported:
    """One report of one recipient. `id` makes it count once; `at` in ms, None if it is not said."""

    id: str
    kind: Kind
    at: int | None
    message_ids: tuple[str, ...] = ()
    """Message-IDs, of which one may be ours, in any usual form."""
    address: str | None = None
    claimed: Meaning | None = None
    """What the provider calls a bounce."""
    code: str | None = None
    diagnostic: str | None = None

    @property
    def row_id(self) -> str | None:
        """The id of the row that a Message-ID of ours was made of; None if none is."""
        return next((found for each in self.message_ids if (found := _uuid(each))), None)

    @property
    def plain_address(self) -> str | None:
        """The address without a name and angle brackets."""
        given = without_nul(self.address or "")[:LONGEST_ADDRESS]
        return (parseaddr(given)[1] or given.strip(" <>")) or None


def without_nul(text: str) -> str:
    """Mail servers say what they like; Postgres takes no NUL, and a bounce counts all the same."""
    return text.replace("\0", "")


def parse(model: type[Model], body: bytes | str) -> Model:
    """Read a body by its model; 422 says what is wrong with it."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, said[:2000]) from None


def refused(how: str) -> Problem:
    """401 that says how to sign."""
    return Problem(HTTPStatus.UNAUTHORIZED, how)


def time_of(text: str | float | None) -> int | None:
    """RFC 3339, or seconds since 1970, in ms; None for what can't be read."""
    try:
        if isinstance(text, str):
            return parse_time(text)
        return None if text is None else int(text * 1000)
    except (ValueError, OverflowError):
        return None


def is_standard(headers: Mapping[str, str], body: bytes, secrets: Keys, prefix: str = "webhook") -> bool:
    """Whether a request is signed as Standard Webhooks say, not over 5 minutes ago, with one of the secrets.

    `prefix`: of the headers `<prefix>-id`, `-timestamp` and `-signature`; Svix has its own.
    """
    named = {
        f"webhook-{part}": headers.get(f"{prefix}-{part}", "") for part in ("id", "timestamp", "signature")
    }
    keys = [key for secret in secrets.every for key in standard_keys(secret)]
    return 0 < len(named["webhook-id"]) <= LONGEST_ID and any(
        _is_signed(Webhook(key), body, named) for key in keys
    )


def standard_keys(secret: str) -> list[bytes]:
    """The key that a secret stands for: base64 after `whsec_`; without it the text itself, or base64 if it is that."""
    prefix = "whsec_"
    try:
        decoded = base64.b64decode(secret.removeprefix(prefix), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    plain = b"" if secret.startswith(prefix) else secret.encode()
    return [key for key in (plain, decoded) if key]


def _is_signed(webhook: Webhook, body: bytes, headers: dict[str, str]) -> bool:
    try:
        webhook.verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):  # the latter for what is no base64 or no UTF-8
        return False
    return True


def _uuid(message_id: str) -> str | None:
    name = message_id[:LONGEST_ADDRESS].strip(" \t\r\n\"'<>").partition("@")[0]
    try:
        return str(UUID(name)) if len(name) == len(str(UUID(int=0))) else None
    except ValueError:
        return None
