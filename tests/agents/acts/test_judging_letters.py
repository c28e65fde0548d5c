"""Mended letters are judged by the rules that refused them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from agents.acts.dead_letters import Letter, Mended, changes, judge
from tests.factories import cloudevent
from topics.activity_types import PLAIN
from topics.catalog import ACTIVITY, INTERVENTIONS, PROFILES
from topics.outcome import Refusal
from topics.time import parse_time

NOON = datetime(2026, 1, 19, 12, 0, tzinfo=UTC)
SARAH = "11111111-1111-4111-8111-111111111111"


def event(**given_: Any) -> str:
    return json.dumps(cloudevent(**{"id": "1", "source": "/forms", **given_}))


def letter(
    value: bytes | None, *, topic: str | None = ACTIVITY, key: str | None = SARAH, **headers: bytes
) -> Letter:
    return Letter(0, 1, NOON, key, value, headers, "not_json: x", topic, f"{topic}[0]@1")


TEN = parse_time("2026-01-19T10:00:00Z")
BROKEN = event(data={"form_id": 1}).encode()


def test_a_sound_letter_is_published_under_its_own_key_with_what_was_changed() -> None:
    mended = judge(letter(BROKEN), event(), TEN, PLAIN)
    assert isinstance(mended, Mended)
    assert mended.key == SARAH
    assert json.loads(mended.value)["data"] == {"form_id": "f1"}
    assert mended.changes == {"data.form_id": [1, "f1"]}


def test_free_text_is_measured_and_not_repeated_in_the_audit() -> None:
    assert changes({"a": {"b": "me@example.com"}, "c": [1]}, {"a": {"b": "f1"}, "d": {"e": None}}) == {
        "a.b": ["text of 14 characters", "f1"],
        "c": ["list of 1", None],
        "d": [None, "dict of 1"],
    }


@pytest.mark.parametrize(
    ("buried", "text", "code"),
    [
        (letter(BROKEN), "{", "not_json"),
        (letter(BROKEN), "[]", "not_json"),
        (letter(BROKEN), event(subject=None), "not_cloudevent"),
        (letter(BROKEN), event(subject="sarah"), "subject_not_uuid"),
        (letter(BROKEN), event(subject=SARAH.replace("1", "2")), "subject_not_key"),
        (letter(BROKEN), event(data={}), "missing_field"),
        (letter(BROKEN), event(time="2027-01-01T00:00:00Z"), "future_time"),
        (letter(BROKEN), event(type="form.sent"), "wrong_field"),
        (letter(event(type="form.eaten").encode()), event(type="form.eaten"), "wrong_field"),
        (letter(b"{"), event(), "wrong_field"),
        (letter(BROKEN, key=None), event(), "not_here"),
        (letter(None, topic=PROFILES), json.dumps({"id": SARAH}), "not_here"),
        (letter(BROKEN, topic=INTERVENTIONS), event(), "not_here"),
        (letter(BROKEN, topic=None), event(), "not_here"),
    ],
)
def test_what_would_be_refused_again_or_is_not_an_agents_is_not_published(
    buried: Letter, text: str, code: str
) -> None:
    verdict = judge(buried, text, TEN, PLAIN)
    assert isinstance(verdict, Refusal)
    assert verdict.code == code


def test_a_binary_event_is_shown_as_a_structured_one() -> None:
    text = letter(b'{"form_id": "f1"}', ce_id=b"7", ce_type=b"form.created").editable()
    assert json.loads(text) == {"id": "7", "type": "form.created", "data": {"form_id": "f1"}}


def test_what_is_no_json_is_shown_as_it_came() -> None:
    assert letter(b"{oops").editable() == "{oops"
    assert letter(None).editable() == ""
    assert not letter(b"\xff\xfe").is_text
