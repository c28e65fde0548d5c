"""What becomes of each record on `supplier.activity`: an event, or a refusal with one clear reason."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.configuration import vocabulary_of
from scoring.health.rules import SHIPPED
from tests.topics.events import APPEND_MS, AT_MS, DATA, KEY, SUPPLIER, as_bytes, event
from topics.decoding import MAX_VALUE_BYTES, UNKNOWN, ActivityEvent, Refusal, decode
from topics.outcome import REASON_CODES

STRUCTURED = [("content-type", b"application/cloudevents+json; charset=UTF-8")]


def read(made: Any, key: bytes | None = KEY, headers: Any = (), append_ms: int = APPEND_MS) -> Any:
    value = made if isinstance(made, bytes | None) else as_bytes(made)
    return decode(key, value, headers, append_ms, vocabulary_of(SHIPPED))


def reason(made: Any, **more: Any) -> str:
    refusal = read(made, **more)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.code in REASON_CODES
    return refusal.reason


def binary_headers(
    made: dict[str, Any], content_type: bytes | None = b"application/json"
) -> list[tuple[str, bytes]]:
    headers = [(f"ce_{name}", value.encode()) for name, value in made.items() if name != "data"]
    return headers + ([("content-type", content_type)] if content_type else [])


def test_an_event_carries_its_attributes_and_data():
    read_event = read(event("form.sent"))
    assert isinstance(read_event, ActivityEvent)
    assert (read_event.type, read_event.at, read_event.id) == ("form.sent", AT_MS, "e1")
    assert (read_event.source, read_event.subject) == ("/tests", SUPPLIER)
    assert (read_event.data.form_id, read_event.data.client_id) == ("enquiry", "c1")


def test_absent_and_null_optional_fields_read_as_none():
    for data in ({"form_id": "f"}, {"form_id": "f", "client_id": None}):
        assert read(event("form.sent", data=data)).data.client_id is None


@pytest.mark.parametrize("kind", ["supplier.signed_up", "supplier.cancelled"])
@pytest.mark.parametrize("changes", [{"without": ("data",)}, {"data": None}, {"data": {}}])
def test_data_with_optional_fields_only_may_be_absent_and_reads_as_an_empty_object(kind, changes):
    data = read(event(kind, **changes)).data
    assert getattr(data, "plan", None) is None
    assert data is not None


@pytest.mark.parametrize("data", [None, {}, {"anything": 1}])
def test_a_type_that_reads_no_data_has_none(data):
    assert read(event("supplier.logged_in", data=data)).data is None


@pytest.mark.parametrize(
    ("data", "ids"),
    [
        ({"client_id": "a"}, ["a"]),
        ({"client_ids": ["b", "a", "b"]}, ["b", "a"]),
        ({"client_id": "a", "client_ids": ["b", "a"]}, ["a", "b"]),
        ({"client_ids": [f"c{n}" for n in range(10_000)]}, [f"c{n}" for n in range(10_000)]),
    ],
)
def test_an_import_names_its_clients_once_each_in_order(data, ids):
    assert read(event("client.imported", data=data)).data.client_ids == ids


def test_unknown_attributes_and_data_keys_are_ignored():
    made = event(data={"form_id": "f", "colour": {"nested": [1, None]}}, traceparent="00-…", dataschema="x")
    assert read(made) == read(event(data={"form_id": "f"}))


def test_an_unknown_type_is_neither_event_nor_refusal():
    assert read(event("form.burnt")) is UNKNOWN
    assert read(event("form.burnt", time="2099-01-01T00:00:00Z")) is UNKNOWN


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject", "time"])
def test_an_event_without_a_required_attribute_is_no_cloudevent(name):
    assert reason(event(without=(name,))) == f"not_cloudevent: `{name}` is missing"
    assert reason(event(**{name: None})) == f"not_cloudevent: `{name}` is missing"


@pytest.mark.parametrize("name", ["id", "source", "type"])
@pytest.mark.parametrize("value", ["", 3, ["x"], "a\x00b"])
def test_an_attribute_that_is_no_text_makes_no_cloudevent(name, value):
    assert reason(event(**{name: value})) == f"not_cloudevent: `{name}` is not a non-empty text"


@pytest.mark.parametrize("version", ["1.1", "0.3", "1"])
def test_another_version_of_cloudevents_is_refused(version):
    assert reason(event(specversion=version)).startswith("not_cloudevent: `specversion`")


def test_an_unknown_type_still_needs_a_whole_envelope():
    assert reason(event("form.burnt", without=("id",))).startswith("not_cloudevent")
    assert reason(event("form.burnt", subject="x")).startswith("subject_not_uuid")


@pytest.mark.parametrize(
    "value",
    [
        b"", None, b"not json", b"{", b'{"a":1,}', b"\xff\xfe", b"{}x", b'{"a": NaN}', b"\xef\xbb\xbf{}",
        as_bytes(event())[:-1] + b',"x":"\xff"}', as_bytes(event())[:-1] + b',"x":"\\ud800"}',
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_not_json_says_so(value):
    assert reason(value).startswith("not_json: ")


@pytest.mark.parametrize("value", [b"3", b'"text"', b"null"])
def test_json_that_is_no_object_is_no_cloudevent(value):
    assert reason(value) == "not_cloudevent: the value is JSON but not an object"


@pytest.mark.parametrize(
    "subject", ["", "x", SUPPLIER[:-1], "{" + SUPPLIER + "}", SUPPLIER.replace("-", ""), 7]
)
def test_a_subject_that_is_no_uuid_is_refused(subject):
    assert reason(event(subject=subject), key=str(subject).encode()).startswith("subject_not_uuid: ")


def test_a_subject_in_capitals_is_refused_with_the_way_out():
    upper = SUPPLIER.upper()
    assert "lowercase" in reason(event(subject=upper), key=upper.encode())


@pytest.mark.parametrize(
    "key", [None, b"", b"\xff", SUPPLIER.upper().encode(), b"00000000-0000-0000-0000-000000000000"]
)
def test_a_key_that_is_not_the_subject_is_refused(key):
    assert reason(event(), key=key).startswith("subject_not_key: ")


@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind, data in DATA.items() for field in data or ()]
)
def test_every_listed_field_is_required_unless_it_is_optional(kind, field):
    optional = {("client_id", k) for k in DATA if k.startswith(("form.", "journey."))} | {
        ("plan", "supplier.signed_up"), ("reason", "supplier.cancelled"),
    }  # fmt: skip
    data = {name: value for name, value in (DATA[kind] or {}).items() if name != field}
    outcome = read(event(kind, data=data))
    if (field, kind) in optional:
        assert isinstance(outcome, ActivityEvent)
    else:
        where = "data" if kind == "client.imported" else f"data.{field}"
        assert outcome.reason.startswith(f"missing_field: {where}: ")


@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind, data in DATA.items() for field in data or ()]
)
@pytest.mark.parametrize("value", [7.5, True, "", {}, ["", 1], "a\x00b"])
def test_every_listed_field_has_its_type(kind, field, value):
    data = dict(DATA[kind] or {}) | {field: value}
    assert reason(event(kind, data=data)).startswith(f"wrong_field: data.{field}")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("plan.changed", {"plan": "gold"}),
        ("milestone.reported", {"milestone": "first_kiss"}),
        ("communication.opted_out", {"scope": "sms"}),
        ("payment.received", {"payment_id": "p", "amount_minor": -1, "currency": "GBP"}),
        ("payment.received", {"payment_id": "p", "amount_minor": 1.5, "currency": "GBP"}),
        ("payment.received", {"payment_id": "p", "amount_minor": 1e30, "currency": "GBP"}),
        ("payment.received", {"payment_id": "p", "amount_minor": 10**30, "currency": "GBP"}),
        ("payment.received", {"payment_id": "p", "amount_minor": 1, "currency": "gbp"}),
        ("payment.received", {"payment_id": "p", "amount_minor": 1, "currency": "EUR\n"}),
        ("client.imported", {"client_ids": []}),
        ("client.imported", {"client_ids": ["x"] * 10_001}),
        ("client.imported", {"client_ids": "c1"}),
        ("form.created", []),
        ("form.created", "enquiry"),
        ("supplier.logged_in", []),
    ],
)
def test_a_value_outside_its_domain_is_a_wrong_field(kind, data):
    assert reason(event(kind, data=data)).startswith("wrong_field: data")


@pytest.mark.parametrize(
    "time", ["2026-01-05", "2026-01-05T09:00:00", "yesterday", "", 1767603600, "2026-12-31T23:59:60Z"]
)
def test_a_time_that_is_no_rfc_3339_with_zone_is_a_wrong_field(time):
    assert reason(event(time=time)).startswith("wrong_field: time: ")


def test_a_time_may_be_five_minutes_ahead_and_no_more():
    assert isinstance(read(event(), append_ms=AT_MS - 300_000), ActivityEvent)
    assert reason(event(), append_ms=AT_MS - 300_001).startswith("future_time: ")


def test_a_value_may_have_one_mebibyte_and_no_more():
    padding = MAX_VALUE_BYTES - len(as_bytes(event(padding="")))
    assert isinstance(read(event(padding="x" * padding)), ActivityEvent)
    assert reason(event(padding="x" * (padding + 1))).startswith("too_large: ")


def test_of_several_faults_the_first_in_order_is_named():
    assert reason(event(specversion="2", subject="x", time="x"), key=b"y").startswith("not_cloudevent")
    assert reason(event(subject="x", time="x"), key=b"y").startswith("subject_not_uuid")
    assert reason(event(time="x", data={}), key=b"y").startswith("subject_not_key")
    assert reason(event(data={}), append_ms=0).startswith("missing_field")


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize(
    "content_type", [None, b"application/json", b"Application/JSON; charset=utf-8", b"text/x+json"]
)
def test_binary_mode_reads_attributes_from_headers_and_data_from_the_value(kind, content_type):
    made = event(kind)
    value = as_bytes(made["data"]) if "data" in made else None
    assert read(value, headers=binary_headers(made, content_type)) == read(made)


def test_a_content_type_of_cloudevents_means_structured_whatever_other_headers_there_are():
    assert read(event(), headers=[*STRUCTURED, ("ce_type", b"form.burnt")]) == read(event())
    assert read(event(), headers=[("traceparent", b"00-1"), ("x", None)]) == read(event())


@pytest.mark.parametrize(
    ("headers", "value", "code"),
    [
        ([("content-type", b"application/json")], b"{}", "not_cloudevent"),
        ([("content-type", b"text/plain")], as_bytes(event()), "not_cloudevent"),
        ([("content-type", b"application/cloudevents-batch+json")], b"[]", "not_cloudevent"),
        ([("content-type", b"application/cloudevents+avro")], b"x", "not_cloudevent"),
        ([("ce_id", b"e1")], b"{}", "not_cloudevent"),
        ([*binary_headers(event()), ("ce_id", b"\xff")], b"{}", "not_cloudevent"),
        (binary_headers(event(), b"application/xml"), b"<form/>", "not_cloudevent"),
        (binary_headers(event()), b"{", "not_json"),
        (binary_headers(event()), b"[]", "wrong_field"),
        (binary_headers(event()), b"", "missing_field"),
        (binary_headers(event("supplier.logged_in")), b"[]", "wrong_field"),
        (binary_headers(event()), b" " * (MAX_VALUE_BYTES + 1), "too_large"),
    ],
)
def test_what_neither_mode_can_read_says_why(headers, value, code):
    assert reason(value, headers=headers).partition(":")[0] == code


@pytest.mark.parametrize("value", [None, b"", b"null", b" null\n"])
def test_a_binary_value_that_is_empty_or_null_is_absent_data(value):
    headers = binary_headers(event("supplier.signed_up"))
    assert read(value, headers=headers) == read(event("supplier.signed_up", data=None))
    assert reason(value, headers=binary_headers(event())) == "missing_field: data.form_id: Field required"
