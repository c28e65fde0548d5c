"""Profiles: an optional field that can't be used costs only itself, and is never quoted in a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.configuration import vocabulary_of
from scoring.health.rules import SHIPPED
from tests.forms import examples
from tests.topics.events import AT, AT_MS, KEY, SUPPLIER, as_bytes, event_bytes, json_values
from topics.outcome import REASON_CODES, Refusal
from topics.profile import Erasure, Profile, decode_profile

GOOD = {
    "id": SUPPLIER,
    "email": "sarah@example.com",
    "phone": "+442079460958",
    "first_name": "Sarah",
    "business_name": "Golden Hour Weddings",
    "vendor_type": "photographer",
    "timezone": "Europe/London",
    "locale": "en-GB",
    "plan": "free",
    "signed_up_at": AT,
}


def read(**changes: Any) -> Any:
    return decode_profile(KEY, as_bytes(GOOD | changes), vocabulary_of(SHIPPED))


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
@pytest.mark.parametrize("value", [None, "", "  ", "\u00a0\u200b\ufeff"])
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
        ("email", "sarah"),
        ("email", "sarah@example.com\r\nBcc: all@example.com"),
        ("email", 3),
        ("email", "<a@example.com>"),
        ("email", "a,b@example.com"),
        ("phone", "0207 946 0958"),
        ("first_name", "Sa\x00rah"),
        ("first_name", "Sarah \ud83d"),
        ("business_name", ["x"]),
        ("timezone", "Europe/Atlantis"),
        ("timezone", "GMT+2"),
        ("timezone", "Factory"),
        ("timezone", "localtime"),
        ("timezone", "posixrules"),
        ("timezone", "right/Europe/London"),
        ("timezone", "tzdata.zi"),
        ("timezone", "../../etc/passwd"),
        ("locale", "british english"),
        ("plan", "gold"),
        ("signed_up_at", "2026-01-06"),
    ],
)
def test_an_optional_field_that_cannot_be_used_is_absent_and_named_without_quoting_it(field, value):
    profile = decode_profile(KEY, json.dumps(GOOD | {field: value}).encode(), vocabulary_of(SHIPPED))
    assert isinstance(profile, Profile)
    assert profile.model_dump() == GOOD | {field: None}
    assert profile.refused is not None
    assert profile.refused.reason.startswith(f"wrong_field: {field}: ")
    assert str(value) not in profile.refused.reason


def test_several_bad_fields_are_named_together_in_the_order_of_the_profile():
    profile = read(locale="british english", email="sarah", plan="gold")
    assert (profile.email, profile.locale, profile.plan, profile.first_name) == (None, None, None, "Sarah")
    named = profile.refused.reason.removeprefix("wrong_field: ").split("; ")
    assert [each.partition(": ")[0] for each in named] == ["email", "locale", "plan"]


@pytest.mark.parametrize("id_", ["x", SUPPLIER.upper(), None, 3, [], ""])
def test_without_a_usable_id_the_whole_profile_is_refused(id_):
    refusal = decode_profile(KEY, as_bytes(GOOD | {"id": id_, "email": "x"}))
    assert isinstance(refusal, Refusal)
    assert refusal.reason.startswith("wrong_field: id: ")
    assert SUPPLIER.upper() not in refusal.reason


def test_nothing_is_refused_of_a_good_profile():
    assert read().refused is None


AS_PEOPLE_HAVE_THEM = [
    ("email", "info@hochzeit-müller.example", "info@hochzeit-müller.example"),
    ("email", "jörg@hochzeit.example", "jörg@hochzeit.example"),
    ("email", "INFO@Golden.EXAMPLE", "INFO@Golden.EXAMPLE"),
    ("email", "sarah@golden.example ", "sarah@golden.example"),
    ("email", "\u200bsarah@golden.example\u00a0", "sarah@golden.example"),
    ("email", "sarah..x@docomo.example", "sarah..x@docomo.example"),
    ("phone", "+44 (20) 7946-0958", "+442079460958"),
    ("timezone", "US/Pacific", "US/Pacific"),
    ("timezone", "Europe/Kiev", "Europe/Kiev"),
    ("timezone", "Etc/GMT+2", "Etc/GMT+2"),
    ("timezone", "europe/london", "Europe/London"),
    ("timezone", " Europe/London\t", "Europe/London"),
    ("locale", "de", "de"),
    ("locale", "en_US.UTF-8", "en-US"),
    ("locale", "de_DE@euro", "de-DE"),
    ("locale", "zh-Hans-CN", "zh-Hans-CN"),
    ("plan", " free", "free"),
    ("signed_up_at", AT + " ", AT),
    ("first_name", "Sarah ", "Sarah"),
]


@pytest.mark.parametrize(("field", "written", "read_as"), AS_PEOPLE_HAVE_THEM)
def test_what_people_write_otherwise_is_understood(field, written, read_as):
    profile = read(**{field: written})
    assert (getattr(profile, field), profile.refused) == (read_as, None)


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


@settings(max_examples=examples(300))
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
    """Rendering makes one line of it; a stray line break must not cost the supplier all their messages."""
    assert read(first_name="Sa\r\nrah").first_name == "Sa\r\nrah"
