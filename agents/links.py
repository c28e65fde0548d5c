"""Signed links in emails: they name a supplier and a message, never expire, and can't be made up.

`{public_url}/e/<action>/<token>`; a token is base64url of supplier id, intervention id and an HMAC-SHA-256 over both
and the action, cut to 128 bits. Answering them (`/e/...`) is the API's part.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Literal, NamedTuple
from uuid import UUID

Action = Literal["unsubscribe", "preferences", "open", "click"]
_SIGNATURE_BYTES = 16
_IDS_BYTES = 32


class Linked(NamedTuple):
    """Whom and which message a link is about."""

    supplier_id: str
    intervention_id: str


def sign(action: Action, supplier_id: str, intervention_id: str, key: str) -> str:
    """Make the token of a link; `key` is the setting `secret_key`."""
    ids = UUID(supplier_id).bytes + UUID(intervention_id).bytes
    return base64.urlsafe_b64encode(ids + _signature(action, ids, key)).rstrip(b"=").decode()


def verify(action: Action, token: str, key: str) -> Linked | None:
    """Read a token that `sign` made for the same action and key; None for any other text."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    ids, signature = raw[:_IDS_BYTES], raw[_IDS_BYTES:]
    if len(ids) < _IDS_BYTES or not hmac.compare_digest(signature, _signature(action, ids, key)):
        return None
    return Linked(str(UUID(bytes=ids[:16])), str(UUID(bytes=ids[16:])))


def link(public_url: str, action: Action, token: str) -> str:
    """Build the address of a signed link."""
    return f"{public_url.rstrip('/')}/e/{action}/{token}"


def _signature(action: Action, ids: bytes, key: str) -> bytes:
    return hmac.digest(key.encode(), action.encode() + b"\0" + ids, hashlib.sha256)[:_SIGNATURE_BYTES]
