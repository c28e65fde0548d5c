"""The machine that everything shares: `apply` an event, `advance` to an instant.

Both mutate one supplier's `State` and return the signals this brought about, in order. Neither reads a
clock: the same events in the same order give the same signals with the same ids, live and in replay.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heapreplace

from xxhash import xxh3_64_digest

from scoring import conditions
from scoring.activity import (
    EXPIRY,
    GOALS,
    HANDLERS,
    MILESTONE_BIT,
    MILESTONE_BIT_OF,
    Event,
    Touched,
    login_band_due,
)
from scoring.causes import as_json
from scoring.churn import churn_probability, remember_points
from scoring.identity import cause_of_event, change_id, signal_id
from scoring.metrics import (
    CLIENTS,
    COMPONENTS,
    FEATURES,
    FORMS,
    JOURNEY_WINDOW_DAYS,
    JOURNEYS,
    LOGIN,
    Level,
    client_points,
    displayed,
    feature_points,
    login_points,
    next_level,
    ratio_points,
    total,
)
from scoring.scale import Scale
from scoring.signals import (
    CONDITION_MET,
    MILESTONE_ACHIEVED,
    RISK_CHANGED,
    TEN_CLIENTS,
    Signal,
)
from scoring.state import DIGEST_BYTES, REMEMBERED_EVENTS, Change, State, expiry_heap, set_client
from scoring.time import DAY, instant_text, optional_instant_text

TIME = "time"
REPORTED = "milestone.reported"
EVERY_MILESTONE = sum(MILESTONE_BIT.values())
_TEN_CLIENTS_BIT = MILESTONE_BIT["ten_clients"]
ALL_COMPONENTS: Touched = (LOGIN, FEATURES, CLIENTS, FORMS, JOURNEYS)
_REMEMBERED_BYTES = REMEMBERED_EVENTS * DIGEST_BYTES


def apply(state: State, supplier_id: str, event: Event, scale: Scale | None = None) -> list[Signal]:
    """Fire what is due at or before the event's time, then fold the event.

    A repeated (source, id) among the last 256 changes nothing. An event older than the clock is late:
    counted, and evaluated at the clock. The event's type is one of `activity.HANDLERS` (KeyError otherwise).
    `scale`: other weights, for a what-if; one state must be given the same one from its first event on.
    """
    digest = xxh3_64_digest(f"{event.source}\0{event.id}".encode())
    recent = state.recent
    if digest in recent:
        return []
    at = event.at
    signals = advance(state, supplier_id, at, scale) if state.due <= at else []
    state.recent = recent[DIGEST_BYTES - _REMEMBERED_BYTES :] + digest
    seq = state.seq
    first = not seq
    if at > state.clock or first:
        state.clock = at
    kind = event.type
    newly_signed_up = kind == "supplier.signed_up" and state.signed_up_at is None
    touched = HANDLERS[kind](state, event)
    if kind in GOALS:
        last_goals = state.last_goals
        if at > last_goals.get(kind, 0):
            last_goals[kind] = at
    state.seq = seq + 1
    state.evaluated_at = state.clock
    if not state.dirty:  # to set an attribute costs ten times as much as to look at it
        state.dirty = True
    if state.milestones != EVERY_MILESTONE:
        _award_milestones(state, supplier_id, event, signals)
    if touched or first:
        _evaluate(state, supplier_id, ALL_COMPONENTS if first else touched, event, at, signals, scale)
    if newly_signed_up:
        _meet(state, supplier_id, conditions.SIGNED_UP, event, at, signals)
    if state.plan == conditions.FREE_PLAN and conditions.reaches_free_limit(state):
        _meet(state, supplier_id, conditions.HIGH_USAGE, event, at, signals)
    return signals


def advance(state: State, supplier_id: str, to: int, scale: Scale | None = None) -> list[Signal]:
    """Fire everything due at or before `to`, in due order, each stamped with its own due time.

    The clock moves to the due times of what falls due, not to `to`.
    """
    signals: list[Signal] = []
    while state.due <= to:
        due = next_due(state)
        if due > to:
            break
        _fire(state, supplier_id, due, signals, scale)
    return signals


def next_due(state: State) -> int:
    """When silence next changes anything, `scoring.time.NEVER` if it never does; makes `state.due` exact."""
    due = min(login_band_due(state), conditions.next_condition_due(state))
    if state.active_clients:
        due = min(due, _oldest_activity(state) + EXPIRY)
    if state.journey_days:
        due = min(due, (min(state.journey_days) + JOURNEY_WINDOW_DAYS) * DAY)
    state.due = due
    return due


def _oldest_activity(state: State) -> int:
    """The last activity of the client that expires first; there must be an active one."""
    heap = expiry_heap(state)
    clients = state.clients
    while True:
        noted, client = heap[0]
        last = clients.get(client)
        if last == noted:
            return noted
        if last:
            heapreplace(heap, (last, client))  # she was active again after this was noted
        else:
            heappop(heap)


def _fire(state: State, supplier_id: str, due: int, signals: list[Signal], scale: Scale | None) -> None:
    """Let time do at `due` what it does: first the metrics, evaluated once, then the conditions."""
    touched = []
    if login_band_due(state) == due:
        touched.append(LOGIN)
    if _expire_clients(state, due):
        touched.append(CLIENTS)
    if _roll_journey_days(state, due):
        touched.append(JOURNEYS)
    state.clock = due
    if touched:
        state.dirty = (
            True  # counts moved even where the sum does not: the last snapshot must not depend on flushes
        )
        _evaluate(state, supplier_id, tuple(touched), None, due, signals, scale)
    for condition in conditions.met_by_time(state, due):
        _meet(state, supplier_id, condition, None, due, signals)
    next_due(state)


def _expire_clients(state: State, at: int) -> bool:
    expired = False
    while state.active_clients and _oldest_activity(state) + EXPIRY <= at:
        last, client = heappop(expiry_heap(state))
        set_client(state, client, last, 0)
        state.active_clients -= 1
        expired = True
    return expired


def _roll_journey_days(state: State, at: int) -> bool:
    gone = [day for day in state.journey_days if (day + JOURNEY_WINDOW_DAYS) * DAY <= at]
    for day in gone:
        sent, opened = state.journey_days.pop(day)
        state.journey_sent -= sent
        state.journey_opened -= opened
    return bool(gone)


POINTS: tuple[Callable[[State], float], ...] = (
    lambda state: login_points(state.last_login, state.clock),
    lambda state: feature_points(state.features.bit_count()),
    lambda state: client_points(state.active_clients, len(state.clients)),
    lambda state: ratio_points(state.forms_completed, state.forms_sent),
    lambda state: ratio_points(state.journey_opened, state.journey_sent),
)
"""How the points of each component follow from the state at its clock, in the order of `COMPONENTS`."""


def _evaluate(
    state: State,
    supplier_id: str,
    touched: Touched,
    event: Event | None,
    at: int,
    signals: list[Signal],
    scale: Scale | None,
) -> None:
    """Work out the touched components, the sum and the level at the clock; note what changed and why."""
    today = state.clock // DAY
    if today != state.usual_day:
        remember_points(state, today)
    moved = False
    points = state.points
    for component in touched:
        after = POINTS[component](state)
        if scale is not None:
            after = scale.points(component, after)
        before = points[component]
        if after != before:
            moved = True
            points[component] = after
            movement = (component, before, after, TIME if event is None else event.id)
            state.change_causes.add(movement)
            state.risk_causes.add(movement)
    if not moved and state.level is not None:
        return
    score_sum = total(state.points)
    if event is None:
        if score_sum == state.sum:
            return
        state.seq += 1
        state.evaluated_at = at
    level = next_level(state.level, score_sum) if scale is None else scale.next_level(state.level, score_sum)
    _note_change(state, supplier_id, score_sum, level, event, at, signals)


def _note_change(
    state: State,
    supplier_id: str,
    score_sum: float,
    level: Level,
    event: Event | None,
    at: int,
    signals: list[Signal],
) -> None:
    previous, score = state.level, displayed(score_sum)
    state.sum = score_sum
    if level == previous and score == state.score:
        return
    state.score, state.level = score, level
    cause = _cause(event, at)
    taken = state.change_causes.take()
    state.changes.append(Change(change_id(supplier_id, cause), state.clock, state.seq, score, level, taken))
    if level == previous:
        return
    data = {
        "previous": previous,
        "level": level,
        "score": score,
        "sum": score_sum,
        "breakdown": breakdown(state),
        "causes": as_json(state.risk_causes.take()),
        "churn_probability": churn_probability(state),
        "signed_up_at": optional_instant_text(state.signed_up_at),
        "seq": state.seq,
    }
    signals.append(Signal(RISK_CHANGED, signal_id(supplier_id, RISK_CHANGED, level, cause), at, data))


def breakdown(state: State) -> dict[str, float]:
    """The points of each component, unrounded: they add up to the sum."""
    return dict(zip(COMPONENTS, state.points, strict=True))


def _cause(event: Event | None, at: int) -> str:
    return f"time:{instant_text(at)}" if event is None else cause_of_event(event.source, event.id)


def _award_milestones(state: State, supplier_id: str, event: Event, signals: list[Signal]) -> None:
    """Award what this event earns and was not awarded before."""
    kind = event.type
    earned = MILESTONE_BIT[event.data.milestone] if kind == REPORTED else MILESTONE_BIT_OF.get(kind, 0)
    if len(state.clients) >= TEN_CLIENTS:
        earned |= _TEN_CLIENTS_BIT
    earned &= ~state.milestones
    if not earned:
        return
    state.milestones |= earned
    for name, bit in MILESTONE_BIT.items():
        if earned & bit:
            data = {"milestone": name, "seq": state.seq, "cause_type": event.type}
            identity = signal_id(supplier_id, MILESTONE_ACHIEVED, name, "")
            signals.append(Signal(MILESTONE_ACHIEVED, identity, event.at, data))


def _meet(
    state: State, supplier_id: str, condition: str, event: Event | None, at: int, signals: list[Signal]
) -> None:
    occurrence = state.occurrences.get(condition, 0) + 1
    state.occurrences[condition] = occurrence
    data = {"condition": condition, "occurrence": occurrence, "seq": state.seq, "level": state.level}
    identity = signal_id(supplier_id, CONDITION_MET, condition, _cause(event, at))
    signals.append(Signal(CONDITION_MET, identity, at, data))
