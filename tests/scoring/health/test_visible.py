"""Whatever others act on is told in the next flush: `State.visible` says so after any history, under any rules."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from scoring.health.machine import advance, apply
from scoring.health.rules import SHIPPED, Rules
from scoring.health.rules_file import parse
from scoring.health.snapshot import snapshot
from scoring.health.state import State, decode, encode
from tests.reference.histories import Step, histories
from tests.scoring.health.suppliers import SUPPLIER
from tests.scoring.health.test_machine_equals_naive import profile
from tests.scoring.health.test_rules import rules

ACTED_ON = ("score", "level", "plan", "cancelled", "features", "numbers", "last_goals")


def acted_on(state: State, by: Rules) -> dict[str, Any]:
    """What a snapshot says now of the things on which others act; the state stays as it is."""
    data = snapshot(decode(encode(state)), by)
    consent = {key: value for key, value in data["consent"].items() if key.endswith("opt_out")}
    return {
        **{name: data[name] for name in ACTED_ON},
        "known": data["clients"]["known"],
        "created": data["forms"]["created"],
        "counts": {kind: state.counts.get(kind, 0) for kind in by.milestones_of},
        "consent": consent,
    }


def looked_at(by: Rules, steps: list[Step]) -> None:
    """Take a snapshot after each step in which something showed, and look whether anything did in the others."""
    state, before = State(), None
    for step in steps:
        if step.event is not None:
            signals = apply(state, SUPPLIER, step.event, by)
        elif step.kind == "advance":
            signals = advance(state, SUPPLIER, step.to, by)
        else:
            continue
        if not state.seq:
            continue
        now = acted_on(state, by)
        assert state.visible or (now == before and not signals)
        before = now
        if state.visible:
            snapshot(state, by)
            assert not state.visible
            assert not state.dirty


@profile
@given(histories(longest=40))
def test_under_the_shipped_rules(steps: list[Step]) -> None:
    looked_at(SHIPPED, steps)


@profile
@given(rules(), histories(longest=25))
def test_under_any_rules(text: str, steps: list[Step]) -> None:
    looked_at(Rules(parse(text)), steps)
