"""Why one supplier's score is what it is: every change with the event, or the passing of time, behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from agents.engine.record import Record, log_append_time
from agents.health.suppliers import Supplier
from agents.health.telling import tell as say
from agents.health.timeline import Step as Switched
from replay.log.eras import earlier_eras, present_era
from replay.log.offsets import WHOLE, Offsets
from replay.log.source import OpenSource, Source
from replay.log.stream import Stream, Tell, Told, as_played, batches
from runtime.configuration import knows
from scoring.health.events import too_many
from scoring.health.machine import TIME, advance, apply, next_due
from scoring.health.metrics import COMPONENTS
from scoring.health.rules import SHIPPED, Rules
from scoring.health.rules_switch import switch
from scoring.health.snapshot import snapshot
from scoring.health.state import State, decode, encode
from scoring.time import instant_text
from topics.decoding import ActivityEvent
from topics.partitioner import Homes, partition_of

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
    """A supplier's steps up to `until` (ms), and how they stand then.

    `state`: the `data` of a health snapshot.
    """

    supplier_id: str
    steps: list[Step]
    state: dict[str, Any] | None
    """None: nothing is known of them by then."""
    until: int
    late: bool
    from_offset: int | None = None
    """Where a snapshot of state was continued from: what came before is not explained."""
    skipped: int = 0
    """So many of the steps came before the first offset that was asked for."""


def explain(
    source: Source,
    supplier_id: str,
    until: int | None = None,
    *,
    rules: Rules = SHIPPED,
    follows: bool = False,
    played: bool = False,
    offsets: Offsets = WHOLE,
) -> Explanation:
    """Read a supplier's partition and explain their score up to `until` (ms).

    `until` None: up to the greatest event time in the log, for which all of it is read; where `offsets` has a last
    one, as far as the records moved time. With `follows` other rules count where live scoring went over to them.
    Raises LogError when the log can't be read as asked, or is cut before any exported state.
    """
    theirs: list[Told | Switched] = []

    def tell(supplier: Supplier, told: Sequence[Told]) -> None:
        if supplier.id == supplier_id:
            theirs.extend(told)

    with source.opened() as opened:
        held = opened.bounds()
        partition = partition_of(supplier_id.encode(), len(held))
        homes, log = opened.homes(), opened.rules()

        def learn(stream: Stream) -> None:
            if follows:
                say(stream, log, [SHIPPED, rules])
            else:
                stream.learn([])

        offsets.check_fits(homes)
        span = offsets.of_supplier(offsets.spans(held), supplier_id, partition)
        beginning = opened.beginning(partition)
        append_time = as_played if played else log_append_time
        stream = Stream(
            partition,
            len(held),
            append_time,
            rules=rules,
            tell=tell,
            homes=homes,
            brings_home=False,
            on_switch=theirs.append,
        )
        if beginning.state is not None:
            span.check_reaches(partition, beginning.state.offset)
            stream.recover(beginning.state.values)
        learn(stream)
        began_with = stream.rules
        begin, late = beginning.offset, False
        if homes.grown and beginning.state is None:
            begin = present_era(homes, partition, held[partition]).start
            late = _before_growths(opened, homes, supplier_id, append_time, tell, rules, learn, theirs.append)
        theirs_before = len(theirs) if beginning.state is not None else 0
        del theirs[:theirs_before]  # what a state that was begun with has seen, or is brought up to here
        state = stream.state_of(supplier_id) or State()
        stream.bring_up(state, supplier_id)
        earlier, earlier_to = 0, 0
        for records in batches(opened.records(partition, begin, span.end), span.first):
            stream.process(records)
            if records[-1].offset < span.first:
                earlier, earlier_to = len(theirs), stream.fired_to
        in_stream = until is None and offsets.last is not None
        end = stream.last_event_at if until is None else until
        if until is None and not in_stream:
            others = (
                Stream(other, len(held), append_time, rules=rules) for other in held if other != partition
            )
            end = max([end, *(_last_event(opened, other, held[other.partition].end) for other in others)])
    walk = _Walk(state, supplier_id, end, began_with)
    walk.follow(theirs[:earlier])
    walk.pass_time(earlier_to)
    skipped = len(walk.steps)
    walk.follow(theirs[earlier:])
    walk.pass_time(stream.fired_to if in_stream else end)
    final = snapshot(state, walk.rules) if state.seq else None
    from_offset = None if beginning.state is None else beginning.offset
    return Explanation(
        supplier_id, walk.steps, final, end, late or supplier_id in stream.late, from_offset, skipped
    )


def _before_growths(
    opened: OpenSource,
    homes: Homes,
    supplier_id: str,
    append_time: Callable[[Record], int],
    tell: Tell,
    rules: Rules,
    learn: Callable[[Stream], None],
    on_switch: Callable[[Switched], None],
) -> bool:
    """Tell what the supplier did where they lived before the topics have grown; whether some of it came late."""
    late = False
    for era in earlier_eras(homes, opened.bounds()):
        if partition_of(supplier_id.encode(), era.homes.partitions) == era.partition:
            count = era.homes.partitions
            stream = Stream(
                era.partition,
                count,
                append_time,
                rules=rules,
                tell=tell,
                homes=era.homes,
                brings_home=False,
                on_switch=on_switch,
            )
            learn(stream)
            for records in batches(opened.records(era.partition, era.start, era.end), 0):
                stream.process(records)
            late |= supplier_id in stream.late
    return late


def _last_event(opened: OpenSource, stream: Stream, end: int) -> int:
    """The greatest event time (ms) of a partition up to the offset `end`."""
    for records in opened.records(stream.partition, opened.beginning(stream.partition).offset, end):
        stream.process(records)
    return stream.last_event_at


@dataclass(slots=True)
class _Walk:
    """A supplier through their events, change by change, as long as their time has not passed `until` (ms).

    What comes after that, however old, is evaluated later than `until` (contract section 4): it belongs to another day.
    """

    state: State
    supplier_id: str
    until: int
    rules: Rules
    steps: list[Step] = field(default_factory=list)
    _is_over: bool = False

    def follow(self, told: Iterable[Told | Switched]) -> None:
        """Let time pass up to each event, then apply it."""
        for each in told:
            if isinstance(each, Switched):
                self._switch(each)
                continue
            event, fire_to = each
            if (
                not knows(self.rules, event)
                or too_many(self.state, event, self.rules.client_events) is not None
            ):
                continue  # a dead letter for the live worker
            self.pass_time(fire_to)
            if self._is_over:
                return
            if self._is_repeated(event):
                continue
            self.pass_time(event.at)
            if event.at > self.until:
                self._is_over = True
                return
            self._note(event, partial(apply, self.state, self.supplier_id, event, self.rules))

    def _switch(self, step: Switched) -> None:
        state, old, new = self.state, self.rules, step.rules
        if self._is_over:
            return
        if state.seq and state.rules < new.version:
            self.pass_time(step.through)
            if step.through > self.until:
                self._is_over = True
                return
            self._note(None, partial(switch, state, self.supplier_id, old, new, step.through))
        self.rules = new

    def pass_time(self, to: int) -> None:
        """Fire what is due up to `to`, one due time after the other; it is over with the first behind `until`."""
        state = self.state
        while state.due <= to and (due := next_due(state, self.rules)) <= to:
            if due > self.until:
                self._is_over = True
                return
            self._note(None, partial(advance, state, self.supplier_id, due, self.rules))

    def _is_repeated(self, event: ActivityEvent) -> bool:
        """Whether the machine would ignore an event; found out on a copy."""
        copy = decode(encode(self.state))
        apply(copy, self.supplier_id, event, self.rules)
        return copy.recent == self.state.recent

    def _note(self, event: ActivityEvent | None, act: Callable[[], object]) -> None:
        state = self.state
        points, score_sum, score, level = list(state.points), state.sum, state.score, state.level
        act()
        moved = tuple(
            (component, before, after)
            for component, (before, after) in enumerate(zip(points, state.points, strict=True))
            if before != after
        )
        if moved or level != state.level:
            self.steps.append(
                Step(state.clock, event, moved, score_sum, state.sum, score, state.score, level, state.level)
            )
