"""Profiles: read wholly or refused, and never quoted in a reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topics.events import AT, AT_MS, KEY, SUPPLIER, as_bytes, event_bytes, json_values
from topics.outcome import REASON_CODES, Refusal
from topics.profile import Erasure, Profile, decode_profile

GOOD = {
    "id": SUPPLIER,
    "email": "sarah@example.com",
    "first_name": "Sarah",
    "business_name": "Golden Hour Weddings",
    "vendor_type": "photographer",
    "timezone": "Europe/London",
    "locale": "en-GB",
    "plan": "free",
    "signed_up_at": AT,
}


def read(**changes: Any) -> Any:
    return decode_profile(KEY, as_bytes(GOOD | changes))


def test_a_profile_is_read_with_all_its_fields():
    profile = read()
    assert isinstance(profile, Profile)
    assert profile.model_dump() == GOOD
    assert profile.signed_up_ms == AT_MS


def test_everything_but_the_id_is_optional_and_unknown_keys_are_ignored():
    profile = decode_profile(KEY, as_bytes({"id": SUPPLIER, "shoe_size": 38}))
    assert isinstance(profile, Profile)
    assert set(profile.model_dump(exclude={"id"}).values()) == {None}
    assert profile.signed_up_ms is None


@pytest.mark.parametrize("field", [name for name in GOOD if name != "id"])
@pytest.mark.parametrize("value", [None, "", "  "])
def test_null_and_blank_text_mean_absent(field, value):
    assert getattr(read(**{field: value}), field) is None


@pytest.mark.parametrize("value", [None, b""])
def test_an_empty_value_erases_the_supplier_of_its_key(value):
    assert decode_profile(KEY, value) == Erasure(SUPPLIER)


@pytest.mark.parametrize("key", [None, b"", b"x", b"\xff", SUPPLIER.upper().encode()])
def test_an_erasure_needs_a_key_that_is_a_supplier(key):
    refusal = decode_profile(key, None)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "subject_not_uuid"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "x"),
        ("id", SUPPLIER.upper()),
        ("email", "sarah"),
        ("email", "sarah@example.com\r\nBcc: all@example.com"),
        ("email", 3),
        ("first_name", "Sa\x00rah"),
        ("business_name", ["x"]),
        ("timezone", "Europe/Atlantis"),
        ("timezone", "../../etc/passwd"),
        ("locale", "british english"),
        ("plan", "gold"),
        ("signed_up_at", "2026-01-06"),
    ],
)
def test_a_wrong_field_refuses_the_profile_without_quoting_it(field, value):
    refusal = read(**{field: value})
    assert isinstance(refusal, Refusal)
    assert refusal.reason.startswith(f"wrong_field: {field}: ")
    assert str(value) not in refusal.reason


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        (KEY, b"{", "not_json"),
        (KEY, b"\xff", "not_json"),
        (KEY, b"[]", "wrong_field"),
        (KEY, b"{}", "missing_field"),
        (b"x", as_bytes(GOOD), "subject_not_key"),
        (None, as_bytes(GOOD), "subject_not_key"),
    ],
)
def test_what_is_no_profile_of_its_key_says_why(key, value, code):
    refusal = decode_profile(key, value)
    assert isinstance(refusal, Refusal)
    assert refusal.code == code


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.binary(max_size=40) | st.just(KEY) | st.none(),
    st.binary(max_size=60)
    | event_bytes()
    | st.dictionaries(st.sampled_from(list(GOOD)), json_values).map(as_bytes),
)
def test_reading_a_profile_never_raises(key, value):
    outcome = decode_profile(key, value)
    assert isinstance(outcome, Profile | Erasure) or outcome.code in REASON_CODES


def test_a_name_of_two_lines_is_taken_as_it_is():
    """Rendering makes one line of it; a stray line break must not cost the supplier all her messages."""
    assert read(first_name="Sa\r\nrah").first_name == "Sa\r\nrah"


@pytest.mark.parametrize(
    "address", ["<a@example.com>", "a..b@example.com", "a,b@example.com", "ü@example.com"]
)
def test_an_address_that_no_header_can_hold_refuses_the_profile(address):
    """Accepted, it would fail each of her messages, and nobody would know until then."""
    assert read(email=address) == Refusal("wrong_field: email: not an email address")
