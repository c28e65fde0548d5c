from __future__ import annotations

import pytest

from agents.health.misspelt import AGAIN_S, MOST_TYPES, Misspelt
from topics.activity_types import PLAIN


def test_a_type_that_looks_misspelt_is_named_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    misspelt = Misspelt(lambda: now)
    for _ in range(3):
        misspelt.note("form.creatd", PLAIN.types)
    misspelt.note("quote.sent", PLAIN.types)
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith("events of the unknown type 'form.creatd' come in: did you mean form.created?")
    now = AGAIN_S
    misspelt.note("form.creatd", PLAIN.types)
    assert len(caplog.records) == 2


def test_whoever_makes_types_up_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    misspelt = Misspelt(lambda: 0.0)
    for number in range(10 * MOST_TYPES):
        misspelt.note(f"form.created{number}", PLAIN.types)
    assert len(caplog.records) <= MOST_TYPES
