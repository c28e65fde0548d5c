"""Makes events: a good one in which a test changes what it is about, and hypothesis strategies for all kinds."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from topics.activity_types import PLAIN

SUPPLIER = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"
KEY = SUPPLIER.encode()
AT = "2026-01-05T09:00:00Z"
AT_MS = 1_767_603_600_000
APPEND_MS = AT_MS + 1000

DATA: dict[str, dict[str, Any] | None] = {
    "supplier.signed_up": {"plan": "free"},
    "supplier.logged_in": None,
    "supplier.cancelled": {"reason": "closing down"},
    "supplier.reactivated": None,
    "form.created": {"form_id": "enquiry"},
    "form.sent": {"form_id": "enquiry", "client_id": "c1"},
    "form.completed": {"form_id": "enquiry", "client_id": "c1"},
    "client.imported": {"client_ids": ["c1", "c2"]},
    "client.active": {"client_id": "c1"},
    "client.removed": {"client_id": "c1"},
    "journey.created": {"journey_id": "j1"},
    "journey.activated": {"journey_id": "j1"},
    "journey.deactivated": {"journey_id": "j1"},
    "journey.email_sent": {"journey_id": "j1", "message_id": "m1", "client_id": "c1"},
    "journey.email_opened": {"journey_id": "j1", "message_id": "m1", "client_id": "c1"},
    "template.used": {"template_id": "t1"},
    "payment.received": {"payment_id": "p1", "amount_minor": 12_500, "currency": "GBP"},
    "plan.changed": {"plan": "starter"},
    "milestone.reported": {"milestone": "first_form"},
    "communication.opted_out": {"scope": "email"},
    "communication.opted_in": {"scope": "all"},
}
"""Good data of every type of contract section 3."""


def event(type: str = "form.created", without: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:  # noqa: A002
    """A good CloudEvent of a type as a dict, changed as told."""
    made = {
        "specversion": "1.0",
        "id": "e1",
        "source": "/tests",
        "type": type,
        "subject": SUPPLIER,
        "time": AT,
    }
    if isinstance(type, str) and DATA.get(type) is not None:
        made["data"] = DATA[type]
    made |= changes
    return {name: value for name, value in made.items() if name not in without}


def as_bytes(made: Any) -> bytes:
    """JSON in UTF-8."""
    return json.dumps(made, ensure_ascii=False).encode()


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
json_values = st.recursive(
    scalars | st.just(""),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
times = st.sampled_from(
    [
        AT,
        "2026-01-05t09:00:00z",
        "2026-01-05T10:00:00.123456789+01:00",
        "1969-12-31T23:59:59Z",
        "2026-01-05T09:00:00",
        "2026-01-05 09:00:00Z",
        "20260105T090000Z",
        "2026-02-30T09:00:00Z",
        "2026-12-31T23:59:60Z",
        "٢٠٢٦-01-05T09:00:00Z",
        "2026-01-05T09:06:00Z",
    ]
)
field_values = {
    "plan": st.sampled_from(["free", "enterprise", "Free", ""]),
    "milestone": st.sampled_from(["first_form", "tenth_form"]),
    "scope": st.sampled_from(["email", "all", "none"]),
    "amount_minor": st.integers(-1, 2**64) | st.just(1.0) | st.just(2**63 - 1),
    "currency": st.sampled_from(["GBP", "gbp", "EUR\n", "ÄÖÜ", "GB"]),
    "client_ids": st.lists(texts, max_size=4),
}


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Good and bad CloudEvents: fields left out, replaced by any JSON, or by values near the edge of good."""
    kind = draw(st.sampled_from([*PLAIN.types, "form.burnt"]))
    made = event(kind, time=draw(st.just(AT) | times), id=draw(texts), source=draw(texts))
    fields = list(PLAIN.types[kind].data_model.model_fields) if kind in PLAIN.types else []
    data: dict[str, Any] = {
        name: draw(field_values.get(name, texts) | st.just(DATA[kind].get(name)))
        for name in fields
        if DATA[kind]
    }
    if data or draw(st.booleans()):
        made["data"] = data | draw(st.dictionaries(texts, json_values, max_size=2))
    for target in (made, made.get("data")):
        if isinstance(target, dict) and target:
            _spoil(draw, target)
    if draw(st.integers(0, 9)) == 0:
        made["data_base64"] = draw(st.just("e30=") | json_values)
    return made | draw(st.dictionaries(texts, json_values, max_size=1))


def _spoil(draw: st.DrawFn, target: dict[str, Any]) -> None:
    """Now and then leave out a key or give it another value."""
    name = draw(st.sampled_from(sorted(target)))
    match draw(st.integers(0, 9)):
        case 0:
            del target[name]
        case 1:
            target[name] = draw(json_values)


@st.composite
def event_bytes(draw: st.DrawFn) -> bytes:
    """Events as JSON, some with bytes replaced, put in, cut off, or with a key written twice."""
    raw = as_bytes(draw(events()))
    at = draw(st.integers(0, len(raw)))
    piece = draw(
        st.binary(max_size=3)
        | st.sampled_from(
            [b"\\u0000", b"\\ud800", b'"type":"form.sent",', b'"id":3,', b"NaN", b"1e999", b"{"]
        )
    )
    match draw(st.integers(0, 5)):
        case 0:
            return raw[:at] + piece + raw[at:]
        case 1:
            return raw[:at] + piece + raw[at + len(piece) :]
        case 2:
            return b"{" + piece + raw[1:]
        case 3:
            return raw[:at]
    return raw
