"""Supplier profiles on their way to Postgres: what to store, whom to erase, what to refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from topics.activity_types import PLAIN, Vocabulary
from topics.outcome import Refusal
from topics.partitioner import Homes
from topics.profile import Erasure, decode_profile
from topics.time import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.interventions.received import Record

COLUMNS = frozenset(
    {
        "id",
        "email",
        "phone",
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
    """One good record of `supplier.profiles`: `columns` to store, or None where they are to be erased."""

    record: Record
    supplier_id: str
    columns: dict[str, Any] | None
    refused: Refusal | None = None
    """Names the optional fields that could not be used: the record is a dead letter as well."""


TIDIED = "success-tidied"
"""Header of an empty value of our own: it takes an address off one partition and says nothing of the supplier."""
Tombstones = dict[tuple[int, bytes], None]
"""(partition of `supplier.profiles`, key) of addresses that are to go."""


def read_profile(
    record: Record, homes: Homes | None = None, vocabulary: Vocabulary = PLAIN
) -> ProfileRecord | Refusal | None:
    """Read a record of `supplier.profiles`; None for one of our own that only tidies.

    A refusal's reason holds nothing personal. An erasure is one wherever it lies; a profile has to lie at home, if
    `homes` are given.
    """
    if not record.value and any(name == TIDIED for name, _ in record.headers):
        return None
    profile = decode_profile(record.key, record.value, vocabulary)
    if isinstance(profile, Refusal):
        return profile
    if isinstance(profile, Erasure):
        return ProfileRecord(record, profile.id, None)
    key = profile.id.encode()
    if homes is not None and homes.of(key) != record.partition:
        if homes.was_moved(key, record.partition, record.offset):
            return None  # its copy lies at home
        if not homes.is_astray(key, record.partition):
            return Refusal(homes.wrong_partition(key, record.partition))
    position = {"offset": record.offset, "stamp": format_time(max(0, record.timestamp))}
    columns = profile.model_dump(include=set(COLUMNS)) | position
    return ProfileRecord(record, profile.id, columns, profile.refused)


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


def addresses_left(erasure: ProfileRecord, homes: Homes | None) -> Tombstones:
    """Where an address may lie that this erasure does not reach: every partition but its own.

    A profile keyed alike but partitioned otherwise lies elsewhere, refused, and compaction keeps it.
    """
    if homes is None:
        return {}
    key = erasure.supplier_id.encode()
    return {(each, key): None for each in range(homes.partitions) if each != erasure.record.partition}
