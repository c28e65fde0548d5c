"""Ids that follow from what they name, so that reprocessing repeats them (contract section 4)."""

from __future__ import annotations

from hashlib import sha1
from uuid import NAMESPACE_URL, uuid5

NAMESPACE = uuid5(NAMESPACE_URL, "https://wedsync.example/success")


def signal_id(supplier_id: str, signal_type: str, name: str, cause: str) -> str:
    """UUIDv5 of (supplier, type, name, cause): the RFC 9562 algorithm, without `uuid.UUID`'s overhead.

    `cause` is "<source>|<event id>", "time:<due time>" or, for a milestone, empty.
    """
    text = f"{supplier_id}|{signal_type}|{name}|{cause}"
    digest = bytearray(sha1(NAMESPACE.bytes + text.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    name_hex = digest.hex()
    return f"{name_hex[:8]}-{name_hex[8:12]}-{name_hex[12:16]}-{name_hex[16:20]}-{name_hex[20:]}"


def cause_of_event(source: str, event_id: str) -> str:
    """The cause part of an id for what an event brought about."""
    return f"{source}|{event_id}"
