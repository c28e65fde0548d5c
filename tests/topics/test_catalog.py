"""The catalogue holds to contract section 2."""

from __future__ import annotations

import pytest

from topics.activity_types import PLAIN
from topics.catalog import ACTIVITY, DEAD_LETTERS, HEALTH, MAX_ACTIVITY_BYTES, PROFILES, TOPICS, full_name
from topics.decoding import MAX_VALUE_BYTES, Refusal, decode
from topics.outcome import REASON_CODES, UNREADABLE_HEADER, dead_letter, dead_letter_headers

DAY_MS = 86_400_000


def test_the_topics_are_the_contracts():
    assert list(TOPICS) == [
        "supplier.activity",
        "supplier.profiles",
        "success.health",
        "success.risk-changes",
        "success.milestones",
        "success.conditions",
        "success.interventions",
        "success.dead-letters",
    ]


def test_activity_is_kept_400_days_by_append_time_and_takes_a_little_more_than_a_mebibyte():
    config = TOPICS[ACTIVITY].config
    assert config["retention.ms"] == str(400 * DAY_MS)
    assert config["message.timestamp.type"] == "LogAppendTime"
    assert MAX_VALUE_BYTES < int(config["max.message.bytes"]) == MAX_ACTIVITY_BYTES < 1.2 * MAX_VALUE_BYTES


def test_profiles_and_health_are_compacted_health_not_before_seven_days():
    assert {name for name, topic in TOPICS.items() if topic.config["cleanup.policy"] == "compact"} == {
        PROFILES,
        HEALTH,
    }
    assert TOPICS[HEALTH].config["min.compaction.lag.ms"] == str(7 * DAY_MS)


def test_dead_letters_can_hold_the_largest_activity_record_and_four_headers_more():
    headers = dead_letter_headers("too_large: " + "x" * 200, ACTIVITY, 7, 2**63 - 1, [])
    added = sum(len(name) + len(value) + 20 for name, value in headers)
    assert int(TOPICS[DEAD_LETTERS].config["max.message.bytes"]) > MAX_ACTIVITY_BYTES + added


def test_a_dead_letter_keeps_its_headers_and_says_why_and_where():
    headers = dead_letter_headers(
        "not_json: é", "t.supplier.activity", 3, 41, [("traceparent", b"00"), ("error", b"old")]
    )
    assert headers[:2] == [("traceparent", b"00"), ("error", b"old")]
    assert dict(headers) == {
        "traceparent": b"00",
        "error": "not_json: é".encode(),
        "topic": b"t.supplier.activity",
        "partition": b"3",
        "offset": b"41",
    }


MUCH = b"x" * 3_000_000


@pytest.mark.parametrize(
    ("key", "value", "headers", "kept"),
    [
        (b"k", MUCH, [("h", b"1")], (b"k", b"", {"h"})),
        (b"k", b"v", [("h", MUCH)], (None, b"", set())),
        (MUCH, None, [], (None, b"", set())),
        (b"k", b"v" * 1_048_576, [("h", None)], (b"k", b"v" * 1_048_576, {"h"})),
    ],
)
def test_a_dead_letter_fits_into_its_topic_whatever_came(key, value, headers, kept):
    letter_key, letter_value, letter_headers = dead_letter(
        "wrong_field: " + "r" * 10_000, (ACTIVITY, 0, 1), key, value, headers
    )
    assert (letter_key, letter_value) == kept[:2]
    names = {name for name, _ in letter_headers}
    assert names - {"error", "topic", "partition", "offset"} == kept[2]
    size = len(letter_key or b"") + len(letter_value or b"")
    size += sum(len(name) + len(held or b"") + 20 for name, held in letter_headers)
    assert size < int(TOPICS[DEAD_LETTERS].config["max.message.bytes"])
    assert (b"left out" in dict(letter_headers)["error"]) == (kept[1] == b"")


def test_what_kafkas_client_could_not_read_is_refused_with_its_reason_which_no_letter_repeats():
    reason = "unreadable: the name of a header is not UTF-8 text (ff)"
    headers = [("traceparent", b"00"), (UNREADABLE_HEADER, reason.encode())]
    verdict = decode(b"k", b"{}", headers, 0)
    assert isinstance(verdict, Refusal)
    assert (verdict.reason, verdict.code in REASON_CODES) == (reason, True)
    _, _, kept = dead_letter(reason, (ACTIVITY, 0, 1), b"k", b"{}", headers)
    assert [name for name, _ in kept] == ["traceparent", "error", "topic", "partition", "offset"]


def test_a_full_name_is_the_prefix_and_the_name():
    assert full_name("eu.", ACTIVITY) == "eu.supplier.activity"


def test_every_model_and_every_field_of_activity_is_described():
    for kind in PLAIN.types.values():
        assert kind.model.__doc__
        for name, field in kind.data_model.model_fields.items():
            described = str(kind.data_model.model_json_schema()["properties"][name])
            assert field.description or "description" in described, (kind.name, name)
