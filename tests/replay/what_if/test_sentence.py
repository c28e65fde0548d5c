"""What a change would have meant is said in one sentence that is true of 0, 1 and many."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from replay.what_if.compare import Comparison, Side
from replay.what_if.sentence import sentence

NOBODY = Side(
    suppliers=0,
    mean_score=None,
    median_score=None,
    distribution={},
    levels={},
    sent=0,
    messages_a_supplier_a_week=None,
    most_a_week=0,
    unsent={},
    cancellations=0,
    warned=0,
    lead_days=[],
    median_lead_days=None,
    precision=None,
    recall=None,
    base_rate=None,
    looked_at=0,
    supplier_days=0.0,
)
SOME = replace(NOBODY, suppliers=312, sent=500, most_a_week=3, cancellations=31, warned=20)


def compared(
    base: Side, added: int = 0, removed: int = 0, moved: int = 0, days: int = 60, **what_if: Any
) -> str:
    """The sentence of a what-if that differs from `base` by this."""
    row = {"trigger": "t", "base": 1, "what_if": 1, "added": added, "removed": removed}
    levels = [{"base": "healthy", "what_if": level, "suppliers": moved} for level in ("at_risk",) if moved]
    until = datetime(2026, 3, 1, tzinfo=UTC)
    since = until - timedelta(days=days)
    return sentence(
        Comparison(
            since.isoformat(), until.isoformat(), ("x=1",), base, replace(base, **what_if), levels, [], [row]
        )
    )


def test_of_a_new_kind_that_nobody_would_have_got_it_says_why() -> None:
    rows = [
        {"trigger": "went_quiet", "reason": "opted_out", "messages": 1},
        {"trigger": "went_quiet", "reason": "weekly_cap", "messages": 2},
    ]
    same = Comparison("2026-01-01T00:00:00Z", "2026-03-02T00:00:00Z", (), SOME, SOME, [], [], [], rows)
    assert same.differs
    assert sentence(same).startswith(
        "Over 60 days 312 suppliers would have had the same messages; "
        "none of went_quiet, which was due (1 opted out, 2 weekly cap); "
    )


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (compared(NOBODY), "There is nobody in this log, so nothing would have been otherwise."),
        (compared(SOME), "Over 60 days nothing would have been otherwise for 312 suppliers."),
        (
            compared(replace(SOME, suppliers=1), days=1),
            "Over one day nothing would have been otherwise for 1 supplier.",
        ),
        (
            compared(SOME, added=41, removed=9, warned=24),
            (
                "Over 60 days 312 suppliers would have had 41 messages more and 9 fewer; 4 more "
                "of the 31 who left would "
                "have been warned of; nobody would have had a fourth message in a week."
            ),
        ),
        (
            compared(SOME, added=1, warned=19, most_a_week=5, moved=1),
            (
                "Over 60 days 312 suppliers would have had 1 message more; 1 would have ended at "
                "another level; 1 fewer of "
                "the 31 who left would have been warned of; somebody would have had 5 messages "
                "in a week, where 3 were "
                "the most."
            ),
        ),
        (
            compared(SOME, moved=1200),
            (
                "Over 60 days 312 suppliers would have had the same messages; 1,200 would have "
                "ended at another level; as "
                "many would have been warned of before they left (20 of 31); nobody would have "
                "had a fourth message in a "
                "week."
            ),
        ),
        (
            compared(replace(SOME, sent=1, most_a_week=1, cancellations=0), removed=1, most_a_week=0),
            (
                "Over 60 days 312 suppliers would have had 1 message fewer; nobody left in that "
                "time; nobody would have "
                "had any."
            ),
        ),
        (
            compared(replace(SOME, sent=0, most_a_week=0, cancellations=1, warned=0), added=1, most_a_week=1),
            (
                "Over 60 days 312 suppliers would have had 1 message more; the one who left "
                "would not have been warned of, "
                "as before; somebody would have had 1 message in a week."
            ),
        ),
        (
            compared(replace(SOME, cancellations=1, warned=0), added=2, warned=1, most_a_week=12, days=2),
            (
                "Over 2 days 312 suppliers would have had 2 messages more; the one who left "
                "would have been warned of; "
                "somebody would have had 12 messages in a week, where 3 were the most."
            ),
        ),
        (
            compared(replace(SOME, cancellations=1, warned=1, most_a_week=12), removed=2, warned=0),
            (
                "Over 60 days 312 suppliers would have had 2 messages fewer; the one who left "
                "would no longer have been "
                "warned of; nobody would have had more than 12 messages in a week."
            ),
        ),
        (
            compared(replace(SOME, sent=0, most_a_week=0, cancellations=0), moved=2),
            (
                "Over 60 days 312 suppliers would have had no messages, as before; 2 would have "
                "ended at another level; "
                "nobody left in that time."
            ),
        ),
    ],
)
def test_the_sentence_is_true(told: str, said: str) -> None:
    assert told == said
