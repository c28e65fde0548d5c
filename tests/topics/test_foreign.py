"""Records as SDKs, bridges and other formats really write them are read, or refused in words that name the cure."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import cramjam
import pytest

from tests.topics.events import APPEND_MS, DATA, KEY, SUPPLIER, as_bytes, event
from topics.decoding import ActivityEvent, Refusal, decode
from topics.profile import Profile, decode_profile

CASES = [json.loads(line) for line in (Path(__file__).parent / "decoding.jsonl").read_text().splitlines()]
WANTED_WORDS = {
    "data_base64 of a sign-up: must not count with its plan lost": ["data_base64"],
    "Spring's header names": ["ce-", "ce_"],
    "Debezium outbox: the event inside a JSON string": ["inside a JSON string", "StringConverter"],
}
STRUCTURED_TYPES = (b"application/json", b"Application/JSON; charset=utf-8", b"application/vnd.acme+json")


def refusal(value: bytes, headers: Any = (), key: bytes | None = KEY) -> str:
    verdict = decode(key, value, headers, APPEND_MS)
    assert isinstance(verdict, Refusal), verdict
    return verdict.reason


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_what_others_write_is_accepted_or_refused_as_wanted(case):
    headers = [
        (name, b"caf\xe9" if text.startswith("latin-1") else text.encode()) for name, text in case["headers"]
    ]
    value = case["value"].encode() if isinstance(case["value"], str) else as_bytes(case["value"])
    verdict = decode(KEY, value, headers, APPEND_MS)
    if case["case"] in WANTED_WORDS:
        assert isinstance(verdict, Refusal)
        assert [word for word in WANTED_WORDS[case["case"]] if word not in verdict.reason] == []
    else:
        assert isinstance(verdict, ActivityEvent), verdict


@pytest.mark.parametrize("content_type", STRUCTURED_TYPES)
@pytest.mark.parametrize("kind", DATA)
def test_a_whole_event_under_a_content_type_of_json_is_read_as_what_it_is(kind, content_type):
    read = decode(KEY, as_bytes(event(kind)), [("content-type", content_type)], APPEND_MS)
    assert read == decode(KEY, as_bytes(event(kind)), (), APPEND_MS)


@pytest.mark.parametrize("kind", [kind for kind, data in DATA.items() if data])
def test_data_in_base64_is_refused_in_every_type_that_reads_data(kind):
    value = as_bytes(event(kind, without=("data",), data_base64="e30="))
    assert refusal(value).startswith("wrong_field: data_base64 is not read")
    assert refusal(value.replace(b"data_base64", b"data\\u005fbase64")).startswith("wrong_field: data_base64")
    assert isinstance(
        decode(KEY, as_bytes(event(kind, data_base64="e30=")), (), APPEND_MS), ActivityEvent
    )  # `data` is there: that one counts


@pytest.mark.parametrize("extra", [{"data_base64": None}, {"data_base64": "e30="}])
def test_data_in_base64_costs_no_event_whose_type_reads_none(extra):
    value = as_bytes(event("supplier.logged_in", **extra))
    assert isinstance(decode(KEY, value, (), APPEND_MS), ActivityEvent)


@pytest.mark.parametrize("number", [b"100.0", b"1e2", b"1.0E+2"])
def test_a_whole_number_counts_however_json_writes_it(number):
    value = as_bytes(event("payment.received")).replace(b"12500", number)
    read = decode(KEY, value, (), APPEND_MS)
    assert isinstance(read, ActivityEvent)
    assert (read.data.amount_minor, type(read.data.amount_minor)) == (100, int)


def test_a_number_written_as_text_is_refused_with_the_way_out():
    data = {"payment_id": "p", "amount_minor": "100", "currency": "GBP"}
    assert "without quotes" in refusal(as_bytes(event("payment.received", data=data)))


def test_data_written_as_text_is_refused_with_the_way_out():
    assert "write the object itself" in refusal(as_bytes(event(data='{"form_id": "f"}')))


def binary(**headers: bytes) -> list[tuple[str, bytes]]:
    attributes = {name: str(value).encode() for name, value in event().items() if name != "data"}
    return [(f"ce_{name}", value) for name, value in (attributes | headers).items()]


@pytest.mark.parametrize("name", ["id", "source", "type", "specversion", "subject", "time"])
def test_an_attribute_we_read_must_be_text_and_others_may_be_anything(name):
    data = as_bytes(DATA["form.created"])
    assert isinstance(decode(KEY, data, binary(traceparent=b"\xff"), APPEND_MS), ActivityEvent)
    assert refusal(data, binary(**{name: b"\xff"})) == f"not_cloudevent: header ce_{name} is not UTF-8 text"


def test_names_of_headers_may_be_in_capitals():
    headers = [(name.upper(), value) for name, value in binary()]
    assert isinstance(decode(KEY, as_bytes(DATA["form.created"]), headers, APPEND_MS), ActivityEvent)


@pytest.mark.parametrize("prefix", ["ce-", "CE-", "cloudEvents:", "cloudEvents_"])
@pytest.mark.parametrize("content_type", [None, b"application/json", b"text/plain"])
def test_headers_of_another_binding_are_told_from_ours(prefix, content_type):
    headers = [(prefix + name[3:], value) for name, value in binary()]
    headers += [("content-type", content_type)] if content_type else []
    told = refusal(as_bytes(DATA["form.created"]), headers)
    assert prefix.lower() in told
    assert "ce_" in told


def test_a_whole_event_is_read_whatever_stray_headers_it_has():
    assert isinstance(decode(KEY, as_bytes(event()), [("ce-id", b"1")], APPEND_MS), ActivityEvent)


TEXT = as_bytes(event()).decode()
NESTED = as_bytes(event())[:-1]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"\x00\x00\x00\x00\x2a" + TEXT.encode(), "Confluent's wire format (magic byte 0, schema 42)"),
        (b"\x00\x00\x00\x01\x00\x02\x0e\xff", "Confluent's wire format (magic byte 0, schema 256)"),
        (b"\xef\xbb\xbf" + TEXT.encode(), "byte order mark"),
        (TEXT.encode("utf-16"), "UTF-16"),
        (TEXT.encode("utf-16-le"), "UTF-16"),
        (TEXT.encode("utf-32"), "UTF-16 or UTF-32"),
        (gzip.compress(TEXT.encode(), mtime=0), "packed with gzip"),
        (bytes(cramjam.zstd.compress(TEXT.encode())), "packed with zstd"),
        (bytes(cramjam.lz4.compress(TEXT.encode())), "packed with lz4"),
        (b"Obj\x01\x04\x16avro.schema", "an Avro file"),
        (b"\xac\xed\x00\x05t\x00", "a serialised Java object"),
        (b"\x0a\x24" + SUPPLIER.encode() + b"\x12\x02f1", "the value is binary (it begins with 0a 24"),
        (b"<event/>", "XML"),
        (json.dumps(TEXT).encode(), "inside a JSON string"),
        (as_bytes([event()]), "one event a record"),
        (as_bytes({"schema": {"type": "string"}, "payload": TEXT}), "schemas.enable=false"),
        (as_bytes({"before": None, "after": {"id": 1}, "op": "c"}), "a change event of Debezium"),
        (as_bytes({"event": event()}), "under `event`"),
        (as_bytes({"message": TEXT}), "under `message`"),
        (as_bytes({"profile": {"id": SUPPLIER}}), "supplier.profiles"),
        (as_bytes({"form_id": "f"}), "neither in the value nor in ce_ headers"),
    ],
)
def test_other_formats_are_called_by_their_names(value, says):
    assert says in refusal(value)
    assert says in refusal(value, [("content-type", b"application/json")])


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"\x00\x00\x00\x00\x2a{}", "Confluent's wire format"),
        (gzip.compress(b"{}", mtime=0), "packed with gzip"),
        (b'"{\\"id\\": \\"x\\"}"', "the profile is inside a JSON string"),
        (as_bytes({"schema": {}, "payload": {"id": SUPPLIER}}), "the profile is under `payload`"),
        (as_bytes({"profile": {"id": SUPPLIER}}), "what is under `profile`"),
    ],
)
def test_of_a_profile_too(value, says):
    verdict = decode_profile(KEY, value)
    assert isinstance(verdict, Refusal)
    assert says in verdict.reason


def test_a_profile_may_have_fields_of_any_name():
    assert isinstance(decode_profile(KEY, as_bytes({"id": SUPPLIER, "payload": 1, "schema": 2})), Profile)
