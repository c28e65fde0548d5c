"""Events are read by the rules in force: types of their own, names of plans and milestones."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.configuration import knows, vocabulary_of, vocabulary_of_all
from scoring.health.rules import SHIPPED, Rules
from scoring.health.rules_file import parse
from tests.topics.events import APPEND_MS, KEY, as_bytes, event
from topics.activity_types import Vocabulary
from topics.decoding import UNKNOWN, ActivityEvent, Refusal, decode
from topics.profile import Profile, decode_profile

OTHER = Rules(
    parse(
        """
condition = []

[[event]]
type = "lesson.held"
fields = ["lesson_id", "client_id?"]
client_activity = true

[[event]]
type = "door.opened"

[[milestone]]
name = "first_lesson"
number = 4
event = "lesson.held"

[plans.solo]
clients = 3
"""
    )
)
WORDS = vocabulary_of(OTHER)


def read(kind: str, data: Any = None, vocabulary: Vocabulary = WORDS, *, binary: bool = False) -> Any:
    made = {**event(), "type": kind, "data": data}
    if not binary:
        return decode(KEY, as_bytes(made), (), APPEND_MS, vocabulary)
    headers = [(f"ce_{name}", str(value).encode()) for name, value in made.items() if name != "data"]
    value = as_bytes(data) if data is not None else b""
    return decode(KEY, value, [*headers, ("content-type", b"application/json")], APPEND_MS, vocabulary)


@pytest.mark.parametrize("binary", [False, True])
def test_a_declared_type_is_read_with_its_fields(binary: bool) -> None:
    lesson = read("lesson.held", {"lesson_id": "l1", "client_id": "c1", "room": 3}, binary=binary)
    assert isinstance(lesson, ActivityEvent)
    assert (lesson.data.lesson_id, lesson.data.client_id) == ("l1", "c1")
    assert read("lesson.held", {"lesson_id": "l1"}, binary=binary).data.client_id is None
    assert isinstance(read("door.opened", binary=binary), ActivityEvent)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"client_id": "c1"}, "missing_field: data.lesson_id"),
        (None, "missing_field: data"),
        ({"lesson_id": 7}, "wrong_field: data.lesson_id"),
        ({"lesson_id": ""}, "wrong_field: data.lesson_id"),
        ({"lesson_id": "a\x00b"}, "wrong_field: data.lesson_id"),
        ({"lesson_id": "l1", "client_id": ["c"]}, "wrong_field: data.client_id"),
        ([1], "wrong_field: data is not an object"),
    ],
)
def test_a_declared_types_field_that_is_missing_or_wrong_is_a_dead_letter(
    data: Any, reason: str, binary: bool
) -> None:
    verdict = read("lesson.held", data, binary=binary)
    assert isinstance(verdict, Refusal)
    assert verdict.reason.startswith(reason)


def test_what_nobody_declares_is_unknown() -> None:
    assert read("lesson.held", {"lesson_id": "l1"}, vocabulary_of(SHIPPED)) is UNKNOWN
    assert read("lesson.cancelled", {}) is UNKNOWN


@pytest.mark.parametrize("binary", [False, True])
def test_milestones_and_plans_are_those_of_the_rules(binary: bool) -> None:
    assert isinstance(read("milestone.reported", {"milestone": "first_lesson"}, binary=binary), ActivityEvent)
    refused = read("milestone.reported", {"milestone": "first_form"}, binary=binary)
    assert isinstance(refused, Refusal)
    assert refused.reason.startswith("wrong_field: data.milestone")
    assert "'first_lesson'" in refused.reason, "it names those there are"
    assert isinstance(read("plan.changed", {"plan": "solo"}, binary=binary), ActivityEvent)
    assert isinstance(read("supplier.signed_up", {"plan": "solo"}, binary=binary), ActivityEvent)
    assert isinstance(read("supplier.signed_up", {"plan": "free"}, binary=binary), Refusal)
    profile = decode_profile(KEY, as_bytes({"id": KEY.decode(), "plan": "free"}), WORDS)
    assert isinstance(profile, Profile)
    assert profile.plan is None
    assert profile.refused is not None
    assert "which are solo" in profile.refused.reason


def test_rules_without_milestones_refuse_every_report() -> None:
    words = Vocabulary(milestones=(), plans=())
    assert isinstance(read("milestone.reported", {"milestone": "first_form"}, words), Refusal)
    assert isinstance(read("plan.changed", {"plan": "free"}, words), Refusal)


def test_one_reading_for_several_rules_is_told_apart_afterwards() -> None:
    both = vocabulary_of_all([SHIPPED, OTHER])
    lesson = read("lesson.held", {"lesson_id": "l1"}, both)
    assert (knows(SHIPPED, lesson), knows(OTHER, lesson)) == (False, True)
    free = read("plan.changed", {"plan": "free"}, both)
    assert (knows(SHIPPED, free), knows(OTHER, free)) == (True, False)
    first = read("milestone.reported", {"milestone": "first_lesson"}, both)
    assert (knows(SHIPPED, first), knows(OTHER, first)) == (False, True)
