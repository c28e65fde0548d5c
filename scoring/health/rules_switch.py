"""From one version of the rules to the next: what becomes of a supplier at the moment at which a partition switches.

Pure, like the machine: live scoring, replay and the state that is asked for as of a time go through `switch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scoring.health.churn import remember_points
from scoring.health.machine import (
    advance,
    award,
    earned_by_clients,
    earned_by_count,
    forget_old_ids,
    next_due,
    risk_change,
)
from scoring.health.metrics import COMPONENTS, FORMS, JOURNEYS, displayed, plain_level, total
from scoring.health.rules import Rules
from scoring.health.signals import Signal
from scoring.health.state import Change, State
from scoring.time import DAY

CAUSE = "rules:"
"""What a switch's causes begin with; the number of the version follows."""


def cause_of(rules: Rules) -> str:
    """The cause of what a switch to these rules brings about."""
    return f"{CAUSE}{rules.version}"


def is_of_a_switch(cause: str) -> bool:
    """Whether a cause says that a switch of rules brought something about."""
    return cause.startswith(CAUSE)


def came_of_a_switch(data: Mapping[str, Any]) -> bool:
    """Whether a signal with this data came of a switch of rules: nothing is sent for it."""
    return is_of_a_switch(data.get("cause") or data.get("cause_type") or "")


def switch(state: State, supplier_id: str, old: Rules, new: Rules, through: int) -> list[Signal]:
    """Take a supplier who has a state from the rules that made it to others.

    What is due by `through` (ms) fires first, by the old ones. Then the state is worked out anew at the greater of its
    clock and `through`, which becomes its clock: the level without memory, `seq` one more if sum or level change.
    Milestones that the new rules say were reached are awarded; a condition that holds already counts as met, without a
    signal; a step due by then never fires. What no state counted before counts from here.
    """
    signals = advance(state, supplier_id, through, old)
    if through > state.clock:
        if through >= state.forget_at:
            forget_old_ids(state, through)
        state.clock = through
    before = len(signals)
    _count_anew(state, old, new)
    _score_anew(state, supplier_id, old, new, signals)
    earned = earned_by_clients(state, new)
    for kind in new.milestones_of:
        earned |= earned_by_count(state, kind, new)
    award(state, supplier_id, earned, cause_of(new), state.clock, signals, new)
    new.reached(state)  # notes what holds: it counts as met
    state.rules = new.version
    state.dirty = True
    if len(signals) > before or _says_more(old, new):
        state.visible = True
    next_due(state, new)
    return signals


def _says_more(old: Rules, new: Rules) -> bool:
    """Whether a snapshot by the new rules says something that others act on and the last one did not."""
    return (old.compared, old.since, old.features, old.goals) != (
        new.compared,
        new.since,
        new.features,
        new.goals,
    )


def _count_anew(state: State, old: Rules, new: Rules) -> None:
    """Features, and ratios that are made of other events now, from how often each type came."""
    counts = state.counts
    for one in new.file.feature:
        if any(counts.get(kind) for kind in one.events):
            state.features |= 1 << one.number
    before, now = old.file.components, new.file.components
    forms = now[COMPONENTS[FORMS]]
    if _of(before[COMPONENTS[FORMS]]) != _of(forms):
        state.forms_completed = sum(counts.get(kind, 0) for kind in forms.count or ())
        state.forms_sent = sum(counts.get(kind, 0) for kind in forms.of or ())
    if _of(before[COMPONENTS[JOURNEYS]]) != _of(now[COMPONENTS[JOURNEYS]]):
        # Of other types nobody kept the days: they count from here.
        state.journey_days = {}
        state.journey_sent = state.journey_opened = 0


def _of(ratio: object) -> tuple[object, object]:
    return set(getattr(ratio, "count", None) or ()), set(getattr(ratio, "of", None) or ())


def _score_anew(state: State, supplier_id: str, old: Rules, new: Rules, signals: list[Signal]) -> None:
    """Points, sum and plain level at the clock, and what of them changed."""
    remember_points(state, state.clock // DAY)
    cause, points = cause_of(new), state.points
    for component, points_of in enumerate(new.points):
        before, after = points[component], points_of(state)
        if after != before:
            points[component] = after
            movement = (component, before, after, cause)
            state.change_causes.add(movement)
            state.risk_causes.add(movement)
    state.usual = [
        usual * now / was if was else point
        for usual, point, was, now in zip(state.usual, points, old.weights, new.weights, strict=False)
    ]
    score_sum = total(points)
    score = displayed(score_sum)
    level = plain_level(score_sum, new.levels.at_risk, new.levels.healthy)
    previous = state.level
    if (score_sum, level) != (state.sum, previous):
        # A level alone counts too: supplier and `seq` are what a row of history is known by.
        state.seq += 1
        state.sum = score_sum
    if (score, level) == (state.score, previous):
        return
    state.score, state.level, state.visible = score, level, True
    state.changes.append(Change(state.clock, state.seq, score, level, state.change_causes.take()))
    if level != previous:
        changed = risk_change(state, supplier_id, previous, cause, state.clock, new)
        changed.data["cause"] = cause
        signals.append(changed)
