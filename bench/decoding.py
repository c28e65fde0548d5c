"""Microseconds an event of reading and writing, per path: `python bench/decoding.py [--count N]`.

The best of five rounds counts: on a shared machine the others measure the neighbours.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from topics.activity import ActivityModel
from topics.decoding import ActivityEvent, decode
from topics.encoding import SOURCE, encode_event
from topics.judging import judge_structured
from topics.partitioner import partition_of
from topics.time import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable

SUPPLIER = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"
KEY = SUPPLIER.encode()
AT = "2026-01-05T09:00:00Z"
AT_MS = 1_767_603_600_000
ROUNDS = 5


def structured(kind: str, data: dict[str, object] | None) -> bytes:
    """A structured CloudEvent as producers write it."""
    event = {
        "specversion": "1.0",
        "id": "64b561a9-d9f1-5424-98ca-3d71526398e4",
        "source": "/wedsync/forms",
        "type": kind,
        "subject": SUPPLIER,
        "time": AT,
    }
    return json.dumps(event | ({"data": data} if data else {})).encode()


FORM_SENT = structured("form.sent", {"form_id": "enquiry", "client_id": "c1"})
LOGGED_IN = structured("supplier.logged_in", None)
UNKNOWN_TYPE = structured("form.burnt", None)
REFUSED = structured("form.sent", None)
BINARY_DATA = b'{"form_id": "enquiry", "client_id": "c1"}'
BINARY_HEADERS = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"64b561a9-d9f1-5424-98ca-3d71526398e4"),
    ("ce_source", b"/wedsync/forms"),
    ("ce_type", b"form.sent"),
    ("ce_subject", KEY),
    ("ce_time", AT.encode()),
    ("content-type", b"application/json"),
]
MILESTONE = {"milestone": "first_form", "seq": 3, "cause_type": "form.created"}
validate_json: Callable[[bytes], object] = TypeAdapter(ActivityModel).validate_json

PATHS: dict[str, Callable[[], object]] = {
    "decode: structured, with data": lambda: decode(KEY, FORM_SENT, (), AT_MS),
    "decode: structured, without data": lambda: decode(KEY, LOGGED_IN, (), AT_MS),
    "decode: binary": lambda: decode(KEY, BINARY_DATA, BINARY_HEADERS, AT_MS),
    "decode: unknown type": lambda: decode(KEY, UNKNOWN_TYPE, (), AT_MS),
    "decode: refused": lambda: decode(KEY, REFUSED, (), AT_MS),
    "judging alone": lambda: judge_structured(KEY, FORM_SENT, AT_MS),
    "pydantic alone (no key, no time)": lambda: validate_json(FORM_SENT),
    "encode_event": lambda: encode_event(
        "success.milestone.achieved", "m1", SOURCE, SUPPLIER, AT_MS, MILESTONE
    ),
    "parse_time": lambda: parse_time(AT),
    "format_time": lambda: format_time(AT_MS),
    "partition_of (seen key)": lambda: partition_of(KEY, 8),
}


def microseconds(call: Callable[[], object], count: int) -> float:
    """The best round's time a call."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(count):
            call()
        best = min(best, time.perf_counter() - started)
    return best / count * 1e6


def main() -> None:
    """Print a line per path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="calls a round")
    count = parser.parse_args().count
    if not isinstance(PATHS["decode: structured, with data"](), ActivityEvent):
        raise SystemExit("the sample event is no longer accepted: nothing to measure")
    for name, call in PATHS.items():
        print(f"{name:<34} {microseconds(call, count):6.2f} µs")  # noqa: T201 - this is the output


if __name__ == "__main__":
    main()
