"""Who suppliers are: the value of `supplier.profiles`, the one topic with personal data."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Annotated

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationError

from topics.activity_types import PLAIN, Vocabulary
from topics.address import parse_address, trimmed
from topics.envelope import UUID_PATTERN, Model, Plan, SupplierId, Text, Timestamp
from topics.foreign import explained, looks_like
from topics.judging import MAX_DEPTH, complaint, refusal_of, too_deep
from topics.outcome import Refusal
from topics.time import parse_time

_uuid = re.compile(UUID_PATTERN.encode()).fullmatch
_posix_charset = re.compile(r"[.@].*")
_NOT_A_PLACE = frozenset({"Factory"})
"""In the list of the zone data, and no zone: what a machine has before somebody sets one."""


@cache
def _zones() -> dict[str, str]:
    """The zones of the data that we ship, by their name in lower case: none of what a host adds to it."""
    listed = files("tzdata").joinpath("zones").read_text("utf-8").split()
    return {name.lower(): name for name in listed if name not in _NOT_A_PLACE}


def _zone(name: str) -> str:
    zone = _zones().get(name.lower())
    if zone is None:
        raise ValueError(
            "not an IANA time zone, such as Europe/London (or Etc/GMT-2 for two hours ahead of UTC)"
        )
    return zone


def _email(text: str) -> str:
    """An address that can be sent to; anything else would only fail when it is written to."""
    parse_address(text)
    return text


def _locale(value: object) -> object:
    """`en_US.UTF-8`, as systems write it, as the language tag that it means."""
    return _posix_charset.sub("", value).replace("_", "-") if isinstance(value, str) else value


def _phone(value: object) -> object:
    """`+44 (20) 7946-0958` without what people put between the digits."""
    return re.sub(r"[\s()./-]", "", value) if isinstance(value, str) else value


def _trimmed(value: object) -> object:
    """Blanks around a text mean nothing, and a text of blanks is none."""
    return (trimmed(value) or None) if isinstance(value, str) else value


Trimmed = BeforeValidator(_trimmed)


class Profile(Model):
    """A supplier's profile; it replaces the one before it wholly.

    Empty text counts as absent, and so does an optional field that can't be used.
    """

    id: SupplierId
    email: Annotated[Annotated[str, AfterValidator(_email)] | None, Trimmed] = Field(
        default=None,
        description="Address that our emails go to; letters beyond ASCII are fine in the domain, and before the @ "
        "where the mail server has SMTPUTF8.",
    )
    phone: Annotated[
        Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$")] | None, BeforeValidator(_phone), Trimmed
    ] = Field(default=None, description="Phone number (E.164), such as +442079460958.")
    first_name: Annotated[Text | None, Trimmed] = Field(
        default=None, description="How our messages address the supplier."
    )
    business_name: Annotated[Text | None, Trimmed] = Field(
        default=None, description="Name of the supplier's business."
    )
    vendor_type: Annotated[Text | None, Trimmed] = Field(
        default=None, description="Trade, as the words for it name it (`vendors.toml`)."
    )
    timezone: Annotated[Annotated[str, AfterValidator(_zone)] | None, Trimmed] = Field(
        default=None, description="IANA time zone for quiet hours, such as Europe/London; UTC without one."
    )
    locale: Annotated[
        Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")] | None,
        BeforeValidator(_locale),
        Trimmed,
    ] = Field(default=None, description="Language tag (BCP 47), such as en-GB.")
    plan: Annotated[Plan | None, Trimmed] = Field(default=None, description="Plan the supplier is on.")
    signed_up_at: Annotated[Timestamp | None, Trimmed] = Field(
        default=None, description="Moment of sign-up, RFC 3339 with zone."
    )

    _refused: Refusal | None = PrivateAttr(default=None)

    @property
    def signed_up_ms(self) -> int | None:
        """`signed_up_at` in milliseconds since the epoch."""
        return None if self.signed_up_at is None else parse_time(self.signed_up_at)

    @property
    def refused(self) -> Refusal | None:
        """Which optional fields could not be used and why, for a dead letter; none of their values."""
        return self._refused


class Erasure(msgspec.Struct, frozen=True):
    """An empty value on `supplier.profiles`: everything personal about this supplier is to go."""

    id: str


def decode_profile(
    key: bytes | None, value: bytes | None, vocabulary: Vocabulary = PLAIN
) -> Profile | Erasure | Refusal:
    """The profile in a record of `supplier.profiles`, an erasure (empty value), or a refusal with its reason.

    Optional fields that can't be used are absent and named by `Profile.refused`. Never raises; reasons carry no
    personal data. The dead letter of a refusal must leave out the value. `vocabulary`: that of the rules in force,
    whose plans a profile may name.
    """
    if not value:
        return _erasure(key)
    if too_deep(value):
        return Refusal(f"not_json: nested more than {MAX_DEPTH} levels deep")
    try:
        # Not msgspec's: half an emoji, which a browser leaves where it cuts a name, would cost the whole profile.
        raw = json.loads(value.decode())
    except (ValueError, RecursionError) as error:
        return explained(Refusal(f"not_json: {_without_text(error)}"), value, what="profile")
    if not isinstance(raw, dict) or (raw and "id" not in raw and looks_like(value, what="profile")):
        return _no_profile(raw, value)
    profile = _usable(raw, vocabulary.plans)
    if isinstance(profile, Profile) and key != profile.id.encode():
        return Refusal("subject_not_key: the record's key is not the profile's `id`")
    return profile


def _no_profile(raw: object, value: bytes) -> Refusal:
    """The refusal of JSON that has no `id`, in words that say what it may be instead."""
    hint = looks_like(value, what="profile") if isinstance(raw, str | dict) else None
    return Refusal(f"not_json: {hint}" if hint else "wrong_field: value: Input should be an object")


def _usable(raw: dict[str, object], plans: frozenset[str] | None) -> Profile | Refusal:
    """The profile of all fields that can be used; a refusal without a usable id."""
    complaints: dict[str, str] = {}
    try:
        profile = Profile.model_validate(raw)
        if profile.plan is None or plans is None or profile.plan in plans:
            return profile
    except ValidationError as error:
        complaints = {
            str(each["loc"][0]): complaint(each) for each in reversed(error.errors(include_url=False))
        }
        if "id" in complaints:
            return refusal_of(error)
    profile = Profile.model_validate({name: value for name, value in raw.items() if name not in complaints})
    if profile.plan is not None and plans is not None and profile.plan not in plans:
        complaints["plan"] = f"not a plan of the rules in force, which are {', '.join(sorted(plans))}"
        profile = profile.model_copy(update={"plan": None})
    named = [f"{name}: {complaints[name]}" for name in Profile.model_fields if name in complaints]
    profile._refused = Refusal("wrong_field: " + "; ".join(named))  # noqa: SLF001 - its own module
    return profile


def _without_text(error: Exception) -> str:
    """What is wrong with a JSON text and where, without repeating any of it."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else type(error).__name__


def _erasure(key: bytes | None) -> Erasure | Refusal:
    if key is None or not _uuid(key):
        return Refusal("subject_not_uuid: an empty value erases the supplier of its key, but that is no UUID")
    return Erasure(key.decode())
