"""One supplier through a log: simulated messages look on, and take nothing of what is reported."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings

from cli.dev.recording import FAR_AHEAD
from replay.again.life import Life
from replay.again.outreach import Outreach, health_of
from replay.log.source import Addressee
from replay.simulator.simulate import population
from scoring.decisions.policy import Policy
from scoring.health.machine import apply
from scoring.health.state import State, encode
from scoring.time import DAY
from tests.forms import examples
from tests.reference.histories import Step, histories
from tests.replay.logs import MONDAY
from topics.decoding import decode
from topics.outcome import ActivityEvent

SUPPLIER = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"
READER = Addressee(has_address=True, zone="Europe/London")


def lived(lines: list[dict[str, Any]], *outreaches: Outreach) -> Life:
    """Every event of a supplier, and then forty days of silence."""
    life = Life(lines[0]["subject"], outreaches=outreaches)
    for line in lines:
        event = decode(line["subject"].encode(), orjson.dumps(line), (), FAR_AHEAD)
        assert isinstance(event, ActivityEvent)
        life.tell([(event, event.at)])
    life.close(life.state.clock + 40 * DAY)
    life.pass_time(life.until + DAY)
    return life


def test_every_change_of_the_score_is_reported_whether_messages_are_simulated_or_not() -> None:
    lines_of: dict[str, list[dict[str, Any]]] = {}
    for line in population(20, 60, 4, MONDAY):
        if "profile" not in line:
            lines_of.setdefault(line["subject"], []).append(line)
    advised = 0
    for supplier, lines in lines_of.items():
        alone = lived(lines)
        watched = lived(lines, outreach := Outreach(supplier, Policy.load(None), READER))
        assert [signal.id for signal in watched.signals] == [signal.id for signal in alone.signals]
        assert watched.changes == alone.changes
        advised += sum(message.template == "quick_win" for message in outreach.messages)
    assert advised  # else nothing was looked at that could have been taken


@settings(max_examples=examples(50))
@given(histories(longest=20))
def test_what_a_decision_sees_is_only_looked_at(steps: list[Step]) -> None:
    state = State()
    for step in steps:
        if step.event is not None:
            apply(state, SUPPLIER, step.event)
            owed, before = (list(state.changes), list(state.goals), state.dirty, state.visible), encode(state)
            health_of(state, advises=True)
            assert (state.changes, state.goals, state.dirty, state.visible) == owed
            assert encode(state) == before
