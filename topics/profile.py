"""Who suppliers are: the value of `supplier.profiles`, the one topic with personal data."""

from __future__ import annotations

import re
from email.errors import MessageError
from email.headerregistry import Address
from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from topics.envelope import UUID_PATTERN, Model, Plan, SupplierId, Text, Timestamp
from topics.judging import refusal_of, unreadable
from topics.outcome import Refusal
from topics.time import parse_time

_uuid = re.compile(UUID_PATTERN.encode()).fullmatch


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(name: str) -> str:
    if name not in _zones():
        raise ValueError("not an IANA time zone, such as Europe/London")
    return name


def _address(text: str) -> str:
    """An address that a header can hold; anything else would only fail when it is written to."""
    try:
        Address(addr_spec=text)
    except (MessageError, ValueError, IndexError):
        raise ValueError("not an email address") from None
    return text


def _blank_as_absent(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


BlankIsAbsent = BeforeValidator(_blank_as_absent)


class Profile(Model):
    """A supplier's profile; it replaces the one before it wholly. Empty text counts as absent."""

    id: SupplierId
    email: Annotated[
        Annotated[str, Field(max_length=254, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$"), AfterValidator(_address)]
        | None,
        BlankIsAbsent,
    ] = Field(default=None, description="Address that our emails go to.")
    first_name: Annotated[Text | None, BlankIsAbsent] = Field(
        default=None, description="How our messages address the supplier."
    )
    business_name: Annotated[Text | None, BlankIsAbsent] = Field(
        default=None, description="Name of the supplier's business."
    )
    vendor_type: Annotated[Text | None, BlankIsAbsent] = Field(
        default=None, description="Trade, such as photographer or florist."
    )
    timezone: Annotated[Annotated[str, AfterValidator(_zone)] | None, BlankIsAbsent] = Field(
        default=None, description="IANA time zone for quiet hours, such as Europe/London; UTC without one."
    )
    locale: Annotated[
        Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$")] | None, BlankIsAbsent
    ] = Field(default=None, description="Language tag (BCP 47), such as en-GB.")
    plan: Annotated[Plan | None, BlankIsAbsent] = Field(default=None, description="Plan the supplier is on.")
    signed_up_at: Annotated[Timestamp | None, BlankIsAbsent] = Field(
        default=None, description="Moment of sign-up, RFC 3339 with zone."
    )

    @property
    def signed_up_ms(self) -> int | None:
        """`signed_up_at` in milliseconds since the epoch."""
        return None if self.signed_up_at is None else parse_time(self.signed_up_at)


class Erasure(msgspec.Struct, frozen=True):
    """An empty value on `supplier.profiles`: everything personal about this supplier is to go."""

    id: str


def decode_profile(key: bytes | None, value: bytes | None) -> Profile | Erasure | Refusal:
    """The profile in a record of `supplier.profiles`, an erasure (empty value), or a refusal with its reason.

    Never raises; reasons carry no personal data. The dead letter of a refusal must leave out the value.
    """
    if not value:
        return _erasure(key)
    if refusal := unreadable(value):
        return refusal
    try:
        profile = Profile.model_validate(msgspec.json.decode(value))
    except (msgspec.DecodeError, RecursionError) as error:
        return Refusal(f"not_json: {error}")
    except ValidationError as error:
        return refusal_of(error)
    if key != profile.id.encode():
        return Refusal("subject_not_key: the record's key is not the profile's `id`")
    return profile


def _erasure(key: bytes | None) -> Erasure | Refusal:
    if key is None or not _uuid(key):
        return Refusal("subject_not_uuid: an empty value erases the supplier of its key, but that is no UUID")
    return Erasure(key.decode())
