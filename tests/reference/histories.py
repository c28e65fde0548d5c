"""Random histories (hypothesis) that crowd the boundaries: bands, expiries, midnights, late and twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.reference.events import FIELDS, Event, event
from tests.reference.history import DAY, HOUR

MINUTE = 60_000
STARTS = (
    1_767_603_600_000,  # 2026-01-05T09:00:00.000Z
    1_767_571_200_000,  # 2026-01-05T00:00:00.000Z, a midnight
    1_709_164_799_999,  # 2024-02-28T23:59:59.999Z, before a leap day
    1_774_742_400_000 + 12_345,  # 2026-03-29, when clocks change
)
SHORT = (0, 0, 0, 0, 1, MINUTE, MINUTE, HOUR, HOUR, 5 * HOUR, DAY, DAY)
AHEAD = (
    *SHORT * 4,  # mostly short, or nothing stays active
    *(days * DAY + nudge for days in (3, 7, 14, 30) for nudge in (-1, 0, 1)),
    *(30 * DAY + 2, 72 * HOUR * 3, 21 * DAY, 28 * DAY, 40 * DAY),
)
BEHIND = (
    -1,
    -1,
    -MINUTE,
    -HOUR,
    -DAY,
    -3 * DAY,
    -7 * DAY - 1,
    -7 * DAY,
    -14 * DAY,
    -30 * DAY,
    -30 * DAY - 1,
    -40 * DAY,
)
TO_MIDNIGHT = (-1, 0, 1)
PLANS = (None, "free", "free", "free", "starter", "professional")
MILESTONES = ("first_form", "ten_clients", "first_automation", "first_payment")
CLIENTS = 24
BULKS = (1, 1, 2, 9, 10, 19, 20, 24)
WEIGHTS = {
    "supplier.logged_in": 5,
    "supplier.signed_up": 3,
    "client.imported": 4,
    "client.active": 5,
    "client.removed": 3,
    "form.created": 4,
    "form.sent": 3,
    "form.completed": 3,
    "journey.email_sent": 5,
    "journey.email_opened": 4,
    "plan.changed": 3,
}
TYPES = tuple(name for name in FIELDS for _ in range(WEIGHTS.get(name, 1)))


@dataclass
class Step:
    """One thing to do to a supplier: `kind` is apply, advance, snapshot or store (encode and decode)."""

    kind: str
    event: Event | None = None
    to: int = 0


def moments() -> st.SearchStrategy[tuple[str, int, int]]:
    """How the next time follows: from the newest, from an older one, or from a midnight; by how much."""
    return st.one_of(
        st.tuples(st.just("newest"), st.sampled_from(AHEAD), st.just(0)),
        st.tuples(st.just("older"), st.sampled_from(AHEAD), st.integers(1, 8)),
        st.tuples(st.just("newest"), st.sampled_from(BEHIND), st.just(0)),
        st.tuples(st.just("midnight"), st.sampled_from(TO_MIDNIGHT), st.sampled_from((0, 1, 28, 29, 30))),
    )


def time_of(times: list[int], how: tuple[str, int, int]) -> int:
    """The time that `moments` meant, given the times so far."""
    base, delta, number = how
    if base == "older":
        return times[-min(number, len(times))] + delta
    if base == "midnight":
        return (times[-1] // DAY + 1 + number) * DAY + delta
    return max(times) + delta


def data_of(event_type: str, pick: int) -> dict[str, Any]:
    """Data of that type; `pick` chooses among few ids, so that events meet."""
    choices: dict[str, Any] = {
        "plan": PLANS[pick % len(PLANS)] if event_type == "supplier.signed_up" else PLANS[1 + pick % 5],
        "client_id": f"c{pick % CLIENTS}",
        "client_ids": [f"c{number}" for number in range(BULKS[pick % len(BULKS)])],
        "journey_id": f"j{pick % 2}",
        "milestone": MILESTONES[pick % len(MILESTONES)],
        "scope": ("email", "all")[pick % 2],
        "amount_minor": 100 * pick,
        "currency": "GBP",
    }
    data = {field: choices.get(field, f"{field}-{pick}") for field in FIELDS[event_type]}
    if event_type in {"form.completed", "journey.email_opened", "form.sent"} and pick % 4 == 0:
        data["client_id"] = None
    return data


def step_of(types: tuple[str, ...], how: st.SearchStrategy[tuple[str, int, int]]) -> st.SearchStrategy[Any]:
    """(what to do, event type, when, which of few ids)."""
    kinds = ("apply",) * 12 + ("repeat", "twin", "advance", "advance", "snapshot", "store")
    return st.tuples(st.sampled_from(kinds), st.sampled_from(types), how, st.integers(0, 23))


EVENTFUL = step_of(TYPES, moments())
BUSY_TYPES = ("form.sent", "form.completed", "journey.email_sent", "journey.email_opened", "client.active")
BUSY = step_of(BUSY_TYPES, st.tuples(st.just("newest"), st.sampled_from(SHORT), st.just(0)))
"""Many small changes within a level: causes pile up beyond 20."""
DISPUTED_TYPES = (
    *("plan.changed", "plan.changed", "supplier.signed_up", "supplier.cancelled", "supplier.reactivated"),
    *("journey.activated", "journey.deactivated", "communication.opted_out", "communication.opted_in"),
    *("client.imported", "client.active", "client.removed", "supplier.logged_in", "form.created"),
)
CLOSE = (0, 0, 0, -1, -1, 1, 1, MINUTE, DAY, -DAY)
DISPUTED = step_of(DISPUTED_TYPES, st.tuples(st.just("older"), st.sampled_from(CLOSE), st.integers(1, 4)))
"""Facts that replace one another, early, late and at the same millisecond."""

SETTLED: tuple[tuple[str, int], ...] = (
    *(("supplier.signed_up", 1), ("supplier.logged_in", 0), ("client.imported", 3), ("form.created", 0)),
    *(("journey.created", 0), ("template.used", 0), ("form.sent", 1), ("form.completed", 1)),
    *(("journey.email_sent", 1), ("journey.email_opened", 1)),
    *(("client.active", client) for client in range(2, 9)),
)
"""A supplier near or above 70 points, so that histories cross the levels both ways."""


def step_lists(longest: int) -> st.SearchStrategy[list[Any]]:
    """Short, middling and long lists alike (hypothesis alone prefers short ones)."""
    return st.one_of(
        st.lists(EVENTFUL, max_size=longest),
        st.lists(DISPUTED, max_size=longest // 2),
        st.lists(DISPUTED, min_size=longest // 3, max_size=longest // 2),
        st.lists(EVENTFUL, min_size=longest // 4, max_size=longest),
        st.lists(EVENTFUL, min_size=longest // 2, max_size=longest),
        st.lists(EVENTFUL, min_size=longest - 10, max_size=longest),
        st.builds(
            list.__add__,
            st.lists(BUSY, min_size=longest - 10, max_size=longest),
            st.lists(EVENTFUL, max_size=5),
        ),
    )


@st.composite
def histories(draw: st.DrawFn, longest: int = 60) -> list[Step]:
    """A list of steps; ids are short and repeated at times (`repeat`: the same event id and source again)."""
    times = [draw(st.sampled_from(STARTS))]
    opening = draw(st.sampled_from(((), SETTLED[:1], SETTLED, SETTLED)))
    events = [
        event(event_type, times[0], f"opening-{number}", "/tests", **data_of(event_type, pick))
        for number, (event_type, pick) in enumerate(opening)
    ]
    steps = [Step("apply", event=first) for first in events]
    for number, (kind, event_type, how, pick) in enumerate(draw(step_lists(longest))):
        if kind in {"snapshot", "store"}:
            steps.append(Step(kind))
            continue
        at = time_of(times, how)
        if kind == "advance":
            steps.append(Step(kind, to=at))
            continue
        again = events[pick % len(events)] if events and kind != "apply" else None
        event_id = again.id if again else f"e{number}"
        # a `twin` has another event's id but its own source, so it is an event of its own
        source = "/tests" if kind != "twin" else f"/tests/{number}"
        made = event(event_type, at, event_id, source, **data_of(event_type, pick))
        if kind != "repeat" or again is None:
            times.append(at)
        events.append(made)
        steps.append(Step("apply", event=made))
    return steps
