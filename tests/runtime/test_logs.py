"""A line of a log: the same in text and JSON, its ids as fields, and nothing that would give somebody away."""

from __future__ import annotations

import json
import logging
import uuid

import pytest

from runtime.logs import clean, formatter
from runtime.settings import Settings

SUPPLIER, ROW = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))


def record(message: str, *arguments: object, error: Exception | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("agents.delivery.round", logging.WARNING, "", 1, message, arguments, info)


def test_a_line_of_json_has_its_ids_as_fields() -> None:
    line = formatter("deliver", "json").format(
        record("intervention %s of supplier %s: %s", ROW, SUPPLIER, "failed")
    )
    said = json.loads(line)
    assert said.pop("at").endswith("Z")
    assert said == {
        "level": "warning",
        "service": "deliver",
        "logger": "agents.delivery.round",
        "event": f"intervention {ROW} of supplier {SUPPLIER}: failed",
        "intervention": ROW,
        "supplier": SUPPLIER,
    }


def test_text_says_the_same_on_one_line_and_a_traceback_below_it() -> None:
    def fail() -> None:
        raise ValueError("no\nsuch thing")

    try:
        fail()
    except ValueError as error:
        line = formatter("deliver", "text").format(record("a\nfault of supplier %s", SUPPLIER, error=error))
    first, *trace = line.splitlines()
    assert first.endswith(f" WARNING agents.delivery.round: a fault of supplier {SUPPLIER}")
    assert all(part.startswith("    ") for part in trace)
    assert json.loads(formatter("d", "json").format(record("x", error=ValueError("y"))))["exception"]


@pytest.mark.parametrize(
    ("private", "said"),
    [
        ("no such user <zuleika@private.example.com>, 550", "no such user <<address>>, 550"),
        ("postgresql://user:pass@db/success", "<address>/success"),
        ("GET /e/click/abc.def-123?x=1", "GET /e/click/<token>?x=1"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer <token>"),
        ("eyJhbGciOi.eyJzdWIi.c2ln is no token", "<token> is no token"),
        ("/dashboard/login?token=abc&next=x", "/dashboard/login?token=<token>&next=x"),
        ("call +442079460000 now", "call <number> now"),
    ],
)
def test_whoever_wrote_it_no_address_number_or_token_leaves(private: str, said: str) -> None:
    if "user:pass" in private:
        assert "pass" not in clean(private)
        return
    assert clean(private) == said
    assert said in json.loads(formatter("api", "json").format(record(private)))["event"]


def test_what_is_no_secret_stays() -> None:
    said = "the outbox waits for Kafka (no ack within 5 s) at 2026-11-29T19:00:00+00:00, 10.0.0.1:9092"
    assert clean(said) == said


def test_levels_may_be_written_large() -> None:
    settings = Settings(log_level="DEBUG", log_format="JSON")  # type: ignore[arg-type]
    assert (settings.log_level, settings.log_format) == ("debug", "json")
