"""The machine that everything shares: `apply` an event, `advance` to an instant.

Both mutate one supplier's `State` and return the signals this brought about, in order. Neither reads a
clock: the same events in the same order give the same signals with the same ids, live and in replay.
"""

from __future__ import annotations

from heapq import heappop, heapreplace
from struct import unpack

from xxhash import xxh3_64_digest

from scoring.health.causes import as_json
from scoring.health.churn import churn_probability, remember_points
from scoring.health.events import EXPIRY, Event, Touched, login_band_due
from scoring.health.metrics import (
    CLIENTS,
    COMPONENTS,
    FEATURES,
    FORMS,
    JOURNEY_WINDOW_DAYS,
    JOURNEYS,
    LOGIN,
    Level,
    displayed,
    total,
)
from scoring.health.rules import GOAL, REPORTED, SHIPPED, Rules
from scoring.health.signals import CONDITION_MET, MILESTONE_ACHIEVED, RISK_CHANGED, Signal
from scoring.health.state import (
    CLOCK_BYTES,
    CLOCK_MASK,
    DIGEST_BYTES,
    REMEMBERED_EVENTS,
    Change,
    State,
    decode,
    encode,
    expiry_heap,
    set_client,
)
from scoring.identity import cause_of_event, signal_id
from scoring.time import DAY, WEEK, instant_text, optional_instant_text

TIME = "time"
ALL_COMPONENTS: Touched = (LOGIN, FEATURES, CLIENTS, FORMS, JOURNEYS)
_REMEMBERED_BYTES = REMEMBERED_EVENTS * DIGEST_BYTES
_REMEMBERED_CLOCKS = REMEMBERED_EVENTS * CLOCK_BYTES


def apply(  # noqa: C901, PLR0912 - the hot path: a call costs more than a branch
    state: State, supplier_id: str, event: Event, rules: Rules = SHIPPED
) -> list[Signal]:
    """Fire what is due at or before the event's time, then fold the event.

    A repeated (source, id) changes nothing: one among the last 256 that was applied when the clock stood less than
    7 days before where the event finds it. An event older than the clock is late:
    counted, and evaluated at the clock. The event's type is one of `rules.steps` (KeyError otherwise).
    One state must be given the same `rules` from its first event on; `rules_switch` takes it to others.
    """
    digest = xxh3_64_digest(f"{event.source}\0{event.id}".encode())
    recent = state.recent
    at = event.at
    if digest in recent and _is_remembered(state, supplier_id, digest, at, rules):
        return []
    signals = advance(state, supplier_id, at, rules) if state.due <= at else []
    seq, clock = state.seq, state.clock
    first = not seq
    if at > clock or first:
        if at >= state.forget_at:
            forget_old_ids(state, at)
        state.clock = clock = at
    state.recent = state.recent[DIGEST_BYTES - _REMEMBERED_BYTES :] + digest
    state.recent_at = state.recent_at[CLOCK_BYTES - _REMEMBERED_CLOCKS :] + (clock & CLOCK_MASK).to_bytes(
        4, "big"
    )
    kind = event.type
    handler, may_earn, due_after, reached_after, shows = rules.steps[kind]
    if first:  # whatever its type, it makes a state of which any condition may hold
        state.rules, due_after, reached_after = rules.version, rules.next_condition_due, rules.reached
    touched = handler(state, event)
    counts, last_times = state.counts, state.last_goals
    counts[kind] = counts.get(kind, 0) + 1
    if at > last_times.get(kind, 0):
        last_times[kind] = at
    state.seq = seq + 1
    if not state.dirty:  # to set an attribute costs ten times as much as to look at it
        state.dirty = True
    if shows:
        if not state.visible:
            state.visible = True
        if shows == GOAL:
            state.goals.append((kind, at))
    if may_earn and state.milestones != rules.every_milestone:
        _award_milestones(state, supplier_id, event, signals, rules)
    if touched or first:
        _evaluate(state, supplier_id, ALL_COMPONENTS if first else touched, event, at, signals, rules)
    if due_after is not None and (due := due_after(state)) < state.due:
        state.due = due
    if reached_after is not None:
        for index in reached_after(state):
            _meet(state, supplier_id, index, event, at, signals, rules)
    if signals:
        state.visible = True
    return signals


def _is_remembered(state: State, supplier_id: str, digest: bytes, at: int, rules: Rules) -> bool:
    """Whether an event with this digest was applied, and is not forgotten where an event at `at` finds the clock.

    Where that is does not depend on what a tick has fired already: what is due by then counts as fired.
    """
    place = state.recent.rfind(digest)
    while place % DIGEST_BYTES and place > 0:  # across two digests
        place = state.recent.rfind(digest, 0, place + DIGEST_BYTES - 1)
    if place < 0:
        return False
    first = place // DIGEST_BYTES * CLOCK_BYTES
    stood = int.from_bytes(state.recent_at[first : first + CLOCK_BYTES], "big")
    clock = state.clock
    forgotten_at = clock - (clock - stood & CLOCK_MASK) + WEEK
    if state.due <= at and at >= forgotten_at:
        trial = decode(encode(state))
        advance(trial, supplier_id, at, rules)
        clock = trial.clock
    return clock < forgotten_at


def forget_old_ids(state: State, clock: int) -> None:
    """Forget what is 7 days old at `clock`, to which the clock is about to move; till now nothing was."""
    recent_at, passed = state.recent_at, clock - state.clock
    known = len(recent_at) // CLOCK_BYTES
    state.forget_at = clock + WEEK
    for number, stood in enumerate(unpack(f">{known}I", recent_at)):
        age = (state.clock - stood & CLOCK_MASK) + passed
        if age < WEEK:
            state.forget_at = clock - age + WEEK
            known = number
            break
    state.recent = state.recent[known * DIGEST_BYTES :]
    state.recent_at = recent_at[known * CLOCK_BYTES :]


def advance(state: State, supplier_id: str, to: int, rules: Rules = SHIPPED) -> list[Signal]:
    """Fire everything due at or before `to`, in due order, each stamped with its own due time.

    The clock moves to the due times of what falls due, not to `to`.
    """
    signals: list[Signal] = []
    while state.due <= to:
        due = next_due(state, rules)
        if due > to:
            break
        _fire(state, supplier_id, due, signals, rules)
    return signals


def next_due(state: State, rules: Rules = SHIPPED) -> int:
    """When silence next changes anything, `scoring.time.NEVER` if it never does; makes `state.due` exact."""
    due = min(login_band_due(state, rules.login_bands), rules.next_condition_due(state))
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
            heapreplace(heap, (last, client))  # they were active again after this was noted
        else:
            heappop(heap)


def _fire(state: State, supplier_id: str, due: int, signals: list[Signal], rules: Rules) -> None:
    """Let time do at `due` what it does: first the metrics, evaluated once, then the conditions."""
    touched, before = [], len(signals)
    if login_band_due(state, rules.login_bands) == due:
        touched.append(LOGIN)
    if _expire_clients(state, due):
        touched.append(CLIENTS)
    if _roll_journey_days(state, due):
        touched.append(JOURNEYS)
    if due >= state.forget_at:
        forget_old_ids(state, due)
    state.clock = due
    state.dirty = True  # whatever moved: the last snapshot must not depend on flushes
    if touched:
        if rules.time_shows and CLIENTS in touched:
            state.visible = True
        _evaluate(state, supplier_id, tuple(touched), None, due, signals, rules)
    met = rules.due_at(state, due)
    if touched:
        met = sorted((*met, *rules.reached(state)))
    for index in met:
        _meet(state, supplier_id, index, None, due, signals, rules)
    if len(signals) > before:
        state.visible = True
    next_due(state, rules)


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


def _evaluate(
    state: State,
    supplier_id: str,
    touched: Touched,
    event: Event | None,
    at: int,
    signals: list[Signal],
    rules: Rules,
) -> None:
    """Work out the touched components, the sum and the level at the clock; note what changed and why."""
    today = state.clock // DAY
    if today != state.usual_day:
        remember_points(state, today)
    moved = False
    points = state.points
    for component in touched:
        after = rules.points[component](state)
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
    level = rules.next_level(state.level, score_sum)
    _note_change(state, supplier_id, score_sum, level, event, at, signals, rules)


def _note_change(
    state: State,
    supplier_id: str,
    score_sum: float,
    level: Level,
    event: Event | None,
    at: int,
    signals: list[Signal],
    rules: Rules,
) -> None:
    previous, score = state.level, displayed(score_sum)
    state.sum = score_sum
    if level == previous and score == state.score:
        return
    state.score, state.level = score, level
    if not state.visible:
        state.visible = True
    state.changes.append(Change(state.clock, state.seq, score, level, state.change_causes.take()))
    if level != previous:
        signals.append(risk_change(state, supplier_id, previous, _cause(event, at), at, rules))


def risk_change(
    state: State, supplier_id: str, previous: Level | None, cause: str, at: int, rules: Rules
) -> Signal:
    """The signal that the level of this state is another one than `previous`; takes the causes along."""
    data = {
        "previous": previous,
        "level": state.level,
        "score": state.score,
        "sum": state.sum,
        "breakdown": breakdown(state),
        "causes": as_json(state.risk_causes.take()),
        "churn_probability": churn_probability(state, rules.weights, rules.churn),
        "signed_up_at": optional_instant_text(state.signed_up_at),
        "seq": state.seq,
        "config_version": rules.version,
    }
    return Signal(RISK_CHANGED, signal_id(supplier_id, RISK_CHANGED, state.level or "", cause), at, data)


def breakdown(state: State) -> dict[str, float]:
    """The points of each component, unrounded: they add up to the sum."""
    return dict(zip(COMPONENTS, state.points, strict=True))


def _cause(event: Event | None, at: int) -> str:
    return f"time:{instant_text(at)}" if event is None else cause_of_event(event.source, event.id)


def _award_milestones(
    state: State, supplier_id: str, event: Event, signals: list[Signal], rules: Rules
) -> None:
    """Award what this event earns and was not awarded before."""
    kind = event.type
    earned = rules.milestones.get(event.data.milestone, 0) if kind == REPORTED else 0
    if kind in rules.milestones_of:
        earned |= earned_by_count(state, kind, rules)
    earned |= earned_by_clients(state, rules)
    award(state, supplier_id, earned, kind, event.at, signals, rules)


def earned_by_count(state: State, kind: str, rules: Rules) -> int:
    """The milestones, as bits, that so many events of this kind earn, awarded before or not."""
    count, earned = state.counts.get(kind, 0), 0
    for nth, bit in rules.milestones_of[kind]:
        if count >= nth:
            earned |= bit
    return earned


def earned_by_clients(state: State, rules: Rules) -> int:
    """Those that so many known clients earn."""
    known, earned = len(state.clients), 0
    for clients, bit in rules.milestones_by_clients:
        if known >= clients:
            earned |= bit
    return earned


def award(
    state: State, supplier_id: str, earned: int, cause_type: str, at: int, signals: list[Signal], rules: Rules
) -> None:
    """Award those of the milestones (bits) that were not awarded before."""
    earned &= ~state.milestones
    if not earned:
        return
    state.milestones |= earned
    for name, bit in rules.milestones.items():
        if earned & bit:
            data = {
                "milestone": name,
                "seq": state.seq,
                "cause_type": cause_type,
                "config_version": rules.version,
            }
            identity = signal_id(supplier_id, MILESTONE_ACHIEVED, name, "")
            signals.append(Signal(MILESTONE_ACHIEVED, identity, at, data))


def _meet(
    state: State,
    supplier_id: str,
    index: int,
    event: Event | None,
    at: int,
    signals: list[Signal],
    rules: Rules,
) -> None:
    condition = rules.condition_names[index]
    occurrence = state.occurrences.get(condition, 0) + 1
    state.occurrences[condition] = occurrence
    data = {
        "condition": condition,
        "occurrence": occurrence,
        "seq": state.seq,
        "level": state.level,
        "config_version": rules.version,
    }
    identity = signal_id(supplier_id, CONDITION_MET, condition, _cause(event, at))
    signals.append(Signal(CONDITION_MET, identity, at, data))
