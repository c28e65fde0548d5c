"""Signed links in emails: they name a supplier and a message, never expire, and can't be made up.

`{public_url}/e/<action>/<token>`; a token is base64url of supplier id, intervention id and an HMAC-SHA-256 over both
and the action, cut to 128 bits. A click's token also holds the address it leads to, under the same signature, so
that nobody can make our links lead elsewhere. Answering them (`/e/...`) is the API's part.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import Literal, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from runtime.keys import Keys

Action = Literal["unsubscribe", "preferences", "open", "click", "book", "call", "milestone"]
_SIGNATURE_BYTES = 16
_TOKEN = re.compile(r"[A-Za-z0-9_-]*")
_IDS_BYTES = 32


class Linked(NamedTuple):
    """Whom and which message a link is about."""

    supplier_id: str
    intervention_id: str


def sign(action: Action, supplier_id: str, intervention_id: str, key: str) -> str:
    """Make the token of a link; `key` is the setting `secret_key`."""
    ids = UUID(supplier_id).bytes + UUID(intervention_id).bytes
    return _text(ids + _signature(action, ids, key))


def verify(action: Action, token: str, keys: Keys) -> Linked | None:
    """Read a token that `sign` made for the same action and one of the keys; None for any other text."""
    raw = _raw(token)
    ids, signature = raw[:_IDS_BYTES], raw[_IDS_BYTES:]
    if len(ids) < _IDS_BYTES or not _is_signed(action, ids, signature, keys):
        return None
    return _linked(ids)


class Click(NamedTuple):
    """Whom and which message a click is about, and where it leads."""

    linked: Linked
    destination: str


def sign_click(destination: str, supplier_id: str, intervention_id: str, key: str) -> str:
    """Make the token of a link that leads to `destination`; ValueError unless that is a plain web address."""
    if not is_web_address(destination):
        raise ValueError(f"a link in an email must lead to a web address, not to {destination!r}")
    payload = UUID(supplier_id).bytes + UUID(intervention_id).bytes + destination.encode()
    return _text(payload[:_IDS_BYTES] + _signature("click", payload, key) + payload[_IDS_BYTES:])


def verify_click(token: str, keys: Keys) -> Click | None:
    """Read a token that `sign_click` made; None for any other text."""
    raw = _raw(token)
    ids, signature = raw[:_IDS_BYTES], raw[_IDS_BYTES : _IDS_BYTES + _SIGNATURE_BYTES]
    where = raw[_IDS_BYTES + _SIGNATURE_BYTES :]
    if len(ids) < _IDS_BYTES or not _is_signed("click", ids + where, signature, keys):
        return None
    destination = where.decode("utf-8", "replace")
    return Click(_linked(ids), destination) if is_web_address(destination) else None


def is_web_address(address: str) -> bool:
    """Whether it is `http(s)://host…` without user name, spaces or control characters."""
    if any(char <= " " or char in "\\\x7f" for char in address):
        return False
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc


def link(public_url: str, action: Action, token: str) -> str:
    """Build the address of a signed link."""
    return f"{public_url.rstrip('/')}/e/{action}/{token}"


def without_tokens(text: str, public_url: str) -> str:
    """A letter's text to be looked at: of our links remains where they lead, not the token that lets them act."""
    return re.sub(rf"({re.escape(public_url.rstrip('/'))}/e/\w+/)[\w-]+", r"\1…", text)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _raw(token: str) -> bytes:
    """The bytes of a token; none for what is no base64url.

    What follows a token is not part of it: mail programs take the `.`, `)` or `>` behind a link into it.
    """
    token = _TOKEN.match(token)[0]  # type: ignore[index]  # it matches any text
    try:
        return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        return b""


def _linked(ids: bytes) -> Linked:
    return Linked(str(UUID(bytes=ids[:16])), str(UUID(bytes=ids[16:])))


def _is_signed(action: Action, signed: bytes, signature: bytes, keys: Keys) -> bool:
    return any(hmac.compare_digest(signature, _signature(action, signed, key)) for key in keys.every)


def _signature(action: Action, ids: bytes, key: str) -> bytes:
    return hmac.digest(key.encode(), action.encode() + b"\0" + ids, hashlib.sha256)[:_SIGNATURE_BYTES]
