"""What agents read: times, points, words for everything."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from agents.letters.render import ours
from api.dashboard import words
from api.dashboard.rendering import as_json, points, relative
from scoring.decisions.decide import Reason
from scoring.decisions.policy import Channel
from scoring.health.churn import SIGNALS
from scoring.health.metrics import COMPONENTS

NOON = datetime(2026, 1, 19, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "now"),
        (59, "now"),
        (-60, "in 1 min"),
        (-61, "in 2 min"),
        (1 - 2 * 86400, "in 2 d"),
        (1 - 6 * 86400, "in 6 d"),
        (3599, "59 min ago"),
        (7200, "2 h ago"),
        (3 * 86400, "3 d ago"),
    ],
)
def test_times_are_told_relative_to_now(seconds: int, said: str) -> None:
    assert relative(NOON - timedelta(seconds=seconds), NOON) == said


def test_points_carry_a_sign() -> None:
    assert [points(6.0), points(-2.54), points(0.04)] == ["+6", "\N{MINUS SIGN}2.5", "±0"]


def test_json_in_a_page_can_not_end_its_element() -> None:
    text = str(as_json({"name": "</script><b>"}))
    assert "<" not in text
    assert json.loads(text) == {"name": "</script><b>"}


def test_whatever_an_agent_may_read_has_words() -> None:
    names = words.Names.of(ours())
    assert set(SIGNALS) <= set(names.signals)
    assert set(get_args(Reason)) <= set(words.REASONS)
    assert set(COMPONENTS) == set(names.components)
    assert set(get_args(Channel)) == set(words.CHANNELS)
