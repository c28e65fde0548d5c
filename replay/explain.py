"""Why one supplier's score is what it is: every change with the event, or the passing of time, behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from agents.state_record import StateHeader
from replay.life import brief
from replay.source import Source
from replay.stream import Stream, Told, as_played, log_append_time
from scoring.health import snapshot
from scoring.machine import TIME, advance, apply, next_due
from scoring.metrics import COMPONENTS
from scoring.scale import Scale
from scoring.state import State, decode, encode
from scoring.time import instant_text
from topics.decoding import ActivityEvent
from topics.partitioner import partition_of

EXACT = 9
"""Decimals that a sum has (contract section 5)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the score; `at` in ms. Each step begins where the one before it ended."""

    at: int
    event: ActivityEvent | None
    """None: time passed."""
    moved: tuple[tuple[int, float, float], ...]
    """(component, points before, points after)"""
    sum_before: float
    sum_after: float
    score_before: int
    score_after: int
    level_before: str | None
    level_after: str | None

    def as_json(self) -> dict[str, Any]:
        """For `--json`: deltas are exact to 9 decimals and add up from the first step to the last."""
        event = self.event
        return {
            "at": instant_text(self.at),
            "cause": TIME if event is None else event.id,
            "event_type": None if event is None else event.type,
            "event_source": None if event is None else event.source,
            "event_time": None if event is None else instant_text(event.at),
            "score": self.score_after,
            "delta": self.score_after - self.score_before,
            "sum": self.sum_after,
            "sum_delta": round(self.sum_after - self.sum_before, EXACT),
            "level": self.level_after,
            "previous_level": self.level_before,
            "components": [
                {
                    "component": COMPONENTS[component],
                    "before": before,
                    "after": after,
                    "delta": round(after - before, EXACT),
                }
                for component, before, after in self.moved
            ],
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """A supplier's steps up to `until` (ms), and how she stands then.

    `state`: the `data` of a health snapshot, or of `life.brief` with other weights.
    """

    supplier_id: str
    steps: list[Step]
    state: dict[str, Any] | None
    """None: nothing is known of her by then."""
    until: int
    late: bool
    from_offset: int | None = None
    """Where a snapshot of state was continued from: what came before is not explained."""


def explain(
    source: Source,
    supplier_id: str,
    until: int | None = None,
    *,
    scale: Scale | None = None,
    played: bool = False,
) -> Explanation:
    """Read a supplier's partition and explain her score up to `until` (ms; None: up to the last event read).

    Raises LogError when the log can't be read, or is cut before any exported state.
    """
    with source.opened() as opened:
        count = opened.partitions()
        partition = partition_of(supplier_id.encode(), count)
        beginning = opened.beginning(partition)
        stream = Stream(partition, count, as_played if played else log_append_time)
        state, holds = State(), -1
        if beginning.state is not None:
            stream.stream_time = beginning.state.stream_time
            raw = beginning.state.values.get(supplier_id.encode())
            if raw is not None:
                state, holds = decode(StateHeader.body(raw)), StateHeader.of(raw).offset
        told = [
            each
            for records in opened.records(partition, beginning.offset)
            for each in stream.read(records)
            if each.event.subject == supplier_id and each.offset > holds
        ]
    end = stream.last_event_at if until is None else until
    steps, final = steps_of(supplier_id, told, end, state, scale)
    from_offset = None if beginning.state is None else beginning.offset
    return Explanation(supplier_id, steps, final, end, supplier_id in stream.late, from_offset)


def steps_of(
    supplier_id: str, told: Iterable[Told], until: int, state: State, scale: Scale | None = None
) -> tuple[list[Step], dict[str, Any] | None]:
    """Every change of the sum or the level, and the state, as they are once time has passed up to `until`."""
    steps: list[Step] = []
    for event, fire_to, _ in told:
        if event.at > until:
            continue
        _let_time_pass(state, supplier_id, fire_to, scale, steps)
        if _is_repeated(state, supplier_id, event, scale):
            continue
        _let_time_pass(state, supplier_id, event.at, scale, steps)
        _note(state, event, steps, partial(apply, state, supplier_id, event, scale))
    _let_time_pass(state, supplier_id, until, scale, steps)
    if not state.seq:
        return steps, None
    return steps, snapshot(state) if scale is None else brief(state)


def _let_time_pass(state: State, supplier_id: str, to: int, scale: Scale | None, steps: list[Step]) -> None:
    """Fire what is due up to `to`, one due time after the other."""
    while state.due <= to and (due := next_due(state)) <= to:
        _note(state, None, steps, partial(advance, state, supplier_id, due, scale))


def _is_repeated(state: State, supplier_id: str, event: ActivityEvent, scale: Scale | None) -> bool:
    """Whether the machine would ignore an event; found out on a copy."""
    copy = decode(encode(state))
    apply(copy, supplier_id, event, scale)
    return copy.recent == state.recent


def _note(state: State, event: ActivityEvent | None, steps: list[Step], act: Callable[[], object]) -> None:
    points, score_sum, score, level = list(state.points), state.sum, state.score, state.level
    act()
    moved = tuple(
        (component, before, after)
        for component, (before, after) in enumerate(zip(points, state.points, strict=True))
        if before != after
    )
    if moved or level != state.level:
        steps.append(
            Step(state.clock, event, moved, score_sum, state.sum, score, state.score, level, state.level)
        )
