"""One column of everything that happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.letters.render import ours
from api.dashboard import words
from api.dashboard.timeline import timeline
from store.dashboard.supplier import Happened

NOON = datetime(2026, 1, 19, 12, 0, tzinfo=UTC)
NAMES = words.Names.of(ours())


def change(hours_ago: float, score: int, delta: float, previous: str | None = None) -> dict[str, Any]:
    cause = {"component": "clientActivity", "before": 0, "after": delta, "event": "time"}
    return {
        "at": NOON - timedelta(hours=hours_ago),
        "seq": int(1000 - hours_ago),
        "score": score,
        "level": "at_risk",
        "causes": [cause],
        "previous": previous,
        "new_level": previous is not None,
    }


def happened(**given_: list[dict[str, Any]]) -> Happened:
    empty: dict[str, list[dict[str, Any]]] = {name: [] for name in Happened._fields}
    return Happened(**(empty | given_))


def note(hours_ago: float, text: str) -> dict[str, Any]:
    return {"at": NOON - timedelta(hours=hours_ago), "noted_by": "emma", "note": text}


@pytest.mark.parametrize(
    ("actor", "role", "by"),
    [("emma", "agent", "emma"), ("11111111-1111-4111-8111-111111111111", "supplier", "the supplier")],
)
def test_what_she_did_herself_is_told_without_her_id(actor: str, role: str, by: str) -> None:
    act = {"at": NOON, "actor": actor, "actor_role": role, "action": "data.export", "details": {}}
    [entry], _ = timeline(happened(acts=[act]), 10, NAMES)
    assert entry.by == by


def test_all_sources_are_one_column_newest_first() -> None:
    calls = {
        "interaction_type": "check_in",
        "status": "completed",
        "scheduled_at": None,
        "completed_at": NOON - timedelta(hours=2),
        "created_at": NOON - timedelta(hours=9),
        "notes": "talked",
        "outcome": "resolved",
    }
    entries, older = timeline(
        happened(changes=[change(1, 48, -10, "healthy")], calls=[calls], notes=[note(3, "hello")]), 10, NAMES
    )
    assert [entry.title for entry in entries] == ["Healthy → At risk", "Check-in: completed", "Note"]
    assert entries[0].details == ("Client activity \N{MINUS SIGN}10 with time",)
    assert entries[2].by == "emma"
    assert older is None


def test_small_changes_in_a_row_are_told_as_one() -> None:
    changes = [change(1, 52, -1), change(30, 53, -1), change(60, 54, -1), change(61, 55, -9)]
    entries, _ = timeline(happened(changes=changes, notes=[note(62, "x")]), 10, NAMES)
    assert [entry.title for entry in entries] == ["Score 54 → 52", "Score 55", "Note"]
    assert entries[0].details[0] == "Client activity \N{MINUS SIGN}3"


def test_a_page_never_parts_what_happened_at_the_same_moment() -> None:
    notes = [note(1, "a"), note(2, "b"), note(2, "c"), note(3, "d")]
    entries, older = timeline(happened(notes=notes), 2, NAMES)
    assert [entry.details[0] for entry in entries] == ["a", "b", "c"]
    assert older == NOON - timedelta(hours=2)
