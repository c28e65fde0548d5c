"""The fast decoder and the pydantic models give the same answers, and nothing makes `decode` raise."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tests.forms import examples
from tests.topics.events import APPEND_MS, AT, DATA, KEY, SUPPLIER, as_bytes, event, event_bytes, events
from topics.activity import ActivityModel
from topics.activity_types import PLAIN
from topics.decoding import UNKNOWN, ActivityEvent, Refusal, decode, fast_binary, fast_structured
from topics.judging import judge_binary, judge_structured

if TYPE_CHECKING:
    from collections.abc import Sequence

adapter: TypeAdapter[Any] = TypeAdapter(ActivityModel)
FAR = 1 << 60


def test_the_catalogue_of_types_is_the_contracts():
    assert set(PLAIN.types) == set(DATA)


@pytest.mark.parametrize("kind", DATA)
def test_the_fast_path_takes_a_good_event_of_every_type(kind):
    assert isinstance(fast_structured(KEY, as_bytes(event(kind)), APPEND_MS), ActivityEvent)


@pytest.mark.parametrize("kind", DATA)
def test_both_paths_read_the_same_from_a_good_event(kind):
    value = as_bytes(event(kind, extension="x"))
    assert fast_structured(KEY, value, APPEND_MS) == judge_structured(KEY, value, APPEND_MS)


@settings(max_examples=examples(700))
@given(event_bytes())
@example(as_bytes(event(data={"form_id": "a\x00b"})))
@example(as_bytes(event(data={"form_id": "x"}, more="\x00")))
@example(as_bytes(event("supplier.signed_up", data=None)))
@example(as_bytes(event("supplier.logged_in", data=[])))
@example(as_bytes(event(deep="[" * 90 + "]" * 90)))
@example(as_bytes(event("supplier.signed_up", without=("data",), data_base64="e30=")))
@example(
    as_bytes(event("supplier.signed_up", without=("data",))).replace(b"}", b',"data\\u005fbase64":"e30="}')
)
@example(as_bytes(event("payment.received")).replace(b"12500", b"100.0"))
@example(b'{"deep":' + b"[" * 200 + b"]" * 200 + b"," + as_bytes(event())[1:])
@example(b'{"big":' + b"9" * 5000 + b"," + as_bytes(event())[1:])
@example(b'{"type":"form.sent",' + as_bytes(event())[1:])
@example(b'{"ignored":"\xff",' + as_bytes(event())[1:])
def test_what_the_fast_path_accepts_the_models_accept_with_the_same_values(value):
    quick = fast_structured(KEY, value, APPEND_MS)
    if quick is not None:
        assert quick == judge_structured(KEY, value, APPEND_MS)


@settings(max_examples=examples(400))
@given(events())
def test_the_verdict_is_the_models_own(made):
    """Judging accepts exactly what pydantic alone accepts (for their key, no time being too early, no Base64)."""
    made.pop("data_base64", None)
    verdict = judge_structured(KEY, as_bytes(made), FAR)
    try:
        model = adapter.validate_python(made)
    except ValidationError:
        assert not isinstance(verdict, ActivityEvent)
        return
    assert isinstance(verdict, ActivityEvent)
    assert (verdict.type, verdict.id, verdict.source) == (model.type, model.id, model.source)
    if verdict.data is not None and verdict.type != "client.imported":
        expected = model.data.model_dump() if model.data else {}
        assert {name: getattr(verdict.data, name) for name in expected} == expected


@settings(max_examples=examples(300))
@given(events(), st.sampled_from([b"", b"null", b" null ", None]))
def test_binary_mode_gives_what_structured_mode_gives(made, absent):
    """Attributes as headers and data as value read like the event in one piece."""
    attributes = {
        name: made[name]
        for name in ("specversion", "id", "source", "type", "subject", "time")
        if name in made
    }
    if not all(isinstance(value, str) for value in attributes.values()):
        return
    data = as_bytes(made["data"]) if "data" in made else absent
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
    in_one_piece = dict(attributes) | ({"data": made["data"]} if "data" in made else {})
    binary = decode(KEY, data, headers, APPEND_MS)
    structured = decode(KEY, as_bytes(in_one_piece), (), APPEND_MS)
    if not attributes:
        return
    assert binary == structured
    quick = fast_binary(attributes, KEY, data or b"", APPEND_MS)
    if quick is not None:
        assert quick == judge_binary(attributes, KEY, data or b"", APPEND_MS)


header_names = st.sampled_from(
    [
        "content-type",
        "Content-Type",
        "ce_id",
        "ce_type",
        "ce_specversion",
        "ce-id",
        "cloudEvents:id",
        "traceparent",
        "",
    ]
)
header_values = (
    st.binary(max_size=12)
    | st.sampled_from([b"1.0", b"application/json", b"application/cloudevents+json", b"form.created"])
    | st.none()
)


@settings(max_examples=examples(700))
@given(
    st.binary(max_size=40) | st.just(KEY) | st.none(),
    st.binary(max_size=60) | event_bytes() | st.none(),
    st.lists(st.tuples(header_names, header_values), max_size=4),
    st.integers(-(2**63), 2**63 - 1),
)
def test_decode_never_raises(key: bytes | None, value: bytes | None, headers: Sequence[Any], append_ms: int):
    outcome = decode(key, value, headers, append_ms)
    assert isinstance(outcome, ActivityEvent | Refusal) or outcome is UNKNOWN


def test_nesting_is_judged_the_same_at_every_depth_of_the_stack():
    """Python's recursion limit counts the caller's frames; the verdict must not."""
    allowed = b'{"deep":' + b"[" * 99 + b"]" * 99 + b"," + as_bytes(event())[1:]
    refused = b'{"deep":' + b"[" * 100 + b"]" * 100 + b"," + as_bytes(event())[1:]

    def at_depth(frames: int) -> tuple[Any, Any]:
        if frames:
            return at_depth(frames - 1)
        return decode(KEY, allowed, (), APPEND_MS), decode(KEY, refused, (), APPEND_MS)

    assert at_depth(0) == at_depth(300)
    accepted, refusal = at_depth(0)
    assert isinstance(accepted, ActivityEvent)
    assert refusal == Refusal("not_json: nested more than 100 levels deep")


def test_brackets_inside_strings_are_no_nesting():
    made = event(more=["[{" * 300, '"' + "[" * 300])
    assert isinstance(decode(KEY, as_bytes(made), (), APPEND_MS), ActivityEvent)
    assert json.loads(as_bytes(made))["time"] == AT
    assert made["subject"] == SUPPLIER
