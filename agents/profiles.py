"""Supplier profiles on their way to Postgres: what to store, whom to erase, what to refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from topics.outcome import Refusal
from topics.profile import Erasure, decode_profile
from topics.time import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.received import Record

COLUMNS = frozenset(
    {
        "id",
        "email",
        "first_name",
        "business_name",
        "vendor_type",
        "timezone",
        "locale",
        "plan",
        "signed_up_at",
    }
)


class ProfileRecord(NamedTuple):
    """One good record of `supplier.profiles`: `columns` to store, or None where she is to be erased."""

    record: Record
    supplier_id: str
    columns: dict[str, Any] | None


def read_profile(record: Record) -> ProfileRecord | Refusal:
    """Read a record of `supplier.profiles`; a refusal's reason holds nothing personal."""
    profile = decode_profile(record.key, record.value)
    if isinstance(profile, Refusal):
        return profile
    if isinstance(profile, Erasure):
        return ProfileRecord(record, profile.id, None)
    position = {"offset": record.offset, "stamp": format_time(max(0, record.timestamp))}
    return ProfileRecord(record, profile.id, profile.model_dump(include=set(COLUMNS)) | position)


def erased_and_newest(profiles: Sequence[ProfileRecord]) -> tuple[set[str], dict[str, dict[str, Any]]]:
    """Whom these records erase, and the last profile of everyone else by supplier id.

    An erasure holds for good: a profile behind it is not stored either.
    """
    erased = {profile.supplier_id for profile in profiles if profile.columns is None}
    newest = {
        profile.supplier_id: profile.columns
        for profile in profiles
        if profile.columns is not None and profile.supplier_id not in erased
    }
    return erased, newest
