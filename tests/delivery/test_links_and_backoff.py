"""Links that can't be made up, and retries that come back later each time, not all at once."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from agents.links import link, sign, verify
from scoring.backoff import retry_at
from scoring.policy import Policy

SUPPLIER = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"
ROW = "0b0e7a4e-6f0c-5d0e-8a6e-1f2d3c4b5a69"
RETRIES = Policy.load().retries


def test_a_link_names_her_and_the_message() -> None:
    token = sign("unsubscribe", SUPPLIER, ROW, "key")
    assert verify("unsubscribe", token, "key") == (SUPPLIER, ROW)
    assert link("https://x.example/", "unsubscribe", token) == f"https://x.example/e/unsubscribe/{token}"
    assert sign("unsubscribe", SUPPLIER, ROW, "key") == token


def test_a_link_of_another_action_or_key_is_none() -> None:
    token = sign("open", SUPPLIER, ROW, "key")
    assert verify("unsubscribe", token, "key") is None
    assert verify("open", token, "another key") is None


@given(st.text(max_size=80))
def test_no_text_that_was_not_signed_is_a_link(text: str) -> None:
    assert verify("unsubscribe", text, "key") is None


@given(st.integers(0, 47), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(place: int, change: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(sign("unsubscribe", SUPPLIER, ROW, "key")))
    raw[place] ^= change
    assert verify("unsubscribe", base64.urlsafe_b64encode(raw).decode(), "key") is None


@given(st.uuids(), st.integers(1, 200))
def test_a_retry_waits_between_half_and_all_of_twice_as_long_each_time(row: object, attempt: int) -> None:
    longest = min(3_600_000, 30_000 * 2 ** (attempt - 1))
    wait = retry_at(1_000, str(row), attempt, RETRIES) - 1_000
    assert longest / 2 <= wait <= longest
    assert wait == retry_at(1_000, str(row), attempt, RETRIES) - 1_000


def test_rows_that_failed_together_do_not_come_back_together() -> None:
    assert len({retry_at(0, f"row {number}", 3, RETRIES) for number in range(100)}) > 90
