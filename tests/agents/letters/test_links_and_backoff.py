"""Links that can't be made up, and retries that come back later each time, not all at once."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.letters.links import link, sign, sign_click, verify, verify_click
from runtime.keys import Keys
from scoring.decisions.backoff import retry_at
from scoring.decisions.policy import Policy

SUPPLIER = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"
ROW = "0b0e7a4e-6f0c-5d0e-8a6e-1f2d3c4b5a69"
RETRIES = Policy.load().retries


def test_a_link_names_them_and_the_message() -> None:
    token = sign("unsubscribe", SUPPLIER, ROW, "key")
    assert verify("unsubscribe", token, Keys("key")) == (SUPPLIER, ROW)
    assert link("https://x.example/", "unsubscribe", token) == f"https://x.example/e/unsubscribe/{token}"
    assert sign("unsubscribe", SUPPLIER, ROW, "key") == token


def test_a_link_of_another_action_or_key_is_none() -> None:
    token = sign("open", SUPPLIER, ROW, "key")
    assert verify("unsubscribe", token, Keys("key")) is None
    assert verify("open", token, Keys("another key")) is None


BEHIND = [".", ")", ">", "].", "\u201d", "...", "%3E", "&gt;", ",", " and more", "\r\n", "="]


@pytest.mark.parametrize("behind", BEHIND)
def test_a_link_works_with_what_a_mail_program_took_into_it(behind: str) -> None:
    assert verify("unsubscribe", sign("unsubscribe", SUPPLIER, ROW, "key") + behind, Keys("key")) == (
        SUPPLIER,
        ROW,
    )
    click = verify_click(sign_click("https://x.example/a", SUPPLIER, ROW, "key") + behind, Keys("key"))
    assert click == ((SUPPLIER, ROW), "https://x.example/a")


@given(st.text(max_size=80))
def test_no_text_that_was_not_signed_is_a_link(text: str) -> None:
    assert verify("unsubscribe", text, Keys("key")) is None


@given(st.integers(0, 47), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(place: int, change: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(sign("unsubscribe", SUPPLIER, ROW, "key")))
    raw[place] ^= change
    assert verify("unsubscribe", base64.urlsafe_b64encode(raw).decode(), Keys("key")) is None


@given(st.uuids(), st.integers(1, 200))
def test_a_retry_waits_between_half_and_all_of_twice_as_long_each_time(row: object, attempt: int) -> None:
    longest = min(3_600_000, 30_000 * 2 ** (attempt - 1))
    wait = retry_at(1_000, str(row), attempt, RETRIES) - 1_000
    assert longest / 2 <= wait <= longest
    assert wait == retry_at(1_000, str(row), attempt, RETRIES) - 1_000


def test_rows_that_failed_together_do_not_come_back_together() -> None:
    assert len({retry_at(0, f"row {number}", 3, RETRIES) for number in range(100)}) > 90


def test_a_link_signed_long_ago_works_after_its_key_was_rotated():
    token = sign("unsubscribe", SUPPLIER, ROW, "the first key")
    assert verify("unsubscribe", token, Keys("today's", ("yesterday's", "the first key"))) == (SUPPLIER, ROW)
    assert verify("unsubscribe", token, Keys("today's", ("yesterday's",))) is None
