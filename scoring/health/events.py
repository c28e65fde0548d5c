"""What each kind of event does to the running metrics: one function a kind, one table as the map.

`compose` adds to it what rules make of the kind: key features, ratios, activity of clients. A handler returns the
components whose points may have changed. Facts that replace one another (plan, consent,
cancellation, a journey's activation) go by event time, so that a late event never overwrites a newer word;
counters count events; clients go by arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heappush
from typing import Any, Protocol, cast

from xxhash import xxh3_128_hexdigest

from scoring.health.churn import remember_login
from scoring.health.metrics import (
    ACTIVITY_WINDOW,
    CLIENTS,
    FEATURES,
    FORMS,
    JOURNEY_WINDOW_DAYS,
    JOURNEYS,
    LOGIN,
)
from scoring.health.state import State, expiry_heap, remove_client, set_client
from scoring.time import DAY, NEVER

EXPIRY = ACTIVITY_WINDOW + 1
"""A client stops being active 30 days and 1 ms after its last activity."""

STALE_ENTRIES_KEPT = 256

MOST_CLIENTS = 100_000
MOST_JOURNEYS = 10_000
"""What a supplier can have, so that all that is remembered of them fits into one message (16 MiB)."""
_CLIENTS_OF_ONE_EVENT = 10_001
_SHOWS_A_CLIENT_ACTIVE = frozenset({"client.active", "form.completed", "journey.email_opened"})
_SWITCHES = frozenset({"journey.activated", "journey.deactivated"})
LONGEST_KEPT_ID = 36
"""Ids of clients and journeys are kept up to this length, that of a UUID; of a longer one a digest is."""


class Event(Protocol):
    """One activity event, which nobody changes."""

    @property
    def type(self) -> str:
        """One of `HANDLERS`."""
        ...

    @property
    def at(self) -> int:
        """When, in ms."""
        ...

    @property
    def id(self) -> str:
        """Unique in its source."""
        ...

    @property
    def source(self) -> str:
        """Who said so."""
        ...

    @property
    def data(self) -> Any:
        """It has the fields of its type as attributes."""
        ...


Touched = tuple[int, ...]
Handler = Callable[[State, Any], Touched]
Bands = Sequence[tuple[int, float]]
NONE: Touched = ()
_LOGIN: Touched = (LOGIN,)
_CLIENTS: Touched = (CLIENTS,)


def _set_plan(state: State, plan: str | None, at: int) -> None:
    if plan is None or (state.plan_at is not None and at < state.plan_at):
        return
    state.plan, state.plan_at = plan, at


def _signed_up(state: State, event: Event) -> Touched:
    _set_plan(state, event.data.plan if event.data is not None else None, event.at)
    if state.signed_up_at is None:
        state.signed_up_at = event.at
    return NONE


def login_handler(bands: Bands) -> Handler:
    """What a login does, where these bands give its points."""

    def logged_in(state: State, event: Event) -> Touched:
        at = event.at
        remember_login(state, at)
        if state.last_login is not None and at <= state.last_login:
            return NONE
        state.last_login = at
        due = login_band_due(state, bands)
        state.due = min(state.due, due)
        return _LOGIN

    return logged_in


def login_band_due(state: State, bands: Bands) -> int:
    """When the last login's age next leaves a band, or NEVER."""
    if state.last_login is not None:
        for below, _ in bands:
            if state.last_login + below > state.clock:
                return state.last_login + below
    return NEVER


def _cancelled(state: State, event: Event) -> Touched:
    return _set_cancelled(state, event.at, cancelled=True)


def _reactivated(state: State, event: Event) -> Touched:
    return _set_cancelled(state, event.at, cancelled=False)


def _set_cancelled(state: State, at: int, *, cancelled: bool) -> Touched:
    if state.cancelled_at is None or at >= state.cancelled_at:
        state.cancelled, state.cancelled_at = cancelled, at
    return NONE


def kept_id(name: str) -> str:
    """How a client or a journey is remembered: by the id, or a digest of it if it is long."""
    return name if len(name) <= LONGEST_KEPT_ID else xxh3_128_hexdigest(name.encode())


def too_many(state: State, event: Event, client_events: frozenset[str]) -> str | None:
    """Why an event can't be applied, with a code to begin with: they would have more than can be remembered.

    To be asked before `machine.apply`, which has no limits, wherever the state is to be kept as a record.
    `client_events`: those of the rules that it is applied by.
    """
    clients, journeys = state.clients, state.journeys
    if len(clients) + _CLIENTS_OF_ONE_EVENT <= MOST_CLIENTS and len(journeys) < MOST_JOURNEYS:
        return None
    new_clients = {
        known for name in _clients_made_known(event, client_events) if (known := kept_id(name)) not in clients
    }
    if new_clients and len(clients) + len(new_clients) > MOST_CLIENTS:
        return f"too_many: a supplier can have {MOST_CLIENTS:,} clients; publish client.removed for those who left"
    switched = kept_id(event.data.journey_id) if event.type in _SWITCHES else None
    if switched is not None and switched not in journeys and len(journeys) >= MOST_JOURNEYS:
        return f"too_many: a supplier can have {MOST_JOURNEYS:,} journeys"
    return None


def _clients_made_known(event: Event, client_events: frozenset[str]) -> Iterable[str]:
    if event.type == "client.imported":
        return cast("Iterable[str]", event.data.client_ids)
    shows_one = event.type in client_events and event.type != "client.removed"
    client = event.data.client_id if shows_one else None
    return () if client is None else (client,)


def _client_active(state: State, name: str, at: int) -> None:
    """Make the client known; active too if `at` lies within 30 days of the clock."""
    client = kept_id(name)
    last = state.clients.get(client)
    if state.last_client_activity is None or at > state.last_client_activity:
        state.last_client_activity = at
    if at + ACTIVITY_WINDOW < state.clock:
        if last is None:
            set_client(state, client, None, 0)
        return
    if last:
        if at > last:
            set_client(state, client, last, at)  # their entry in the heap is moved on when its time comes
        return
    heap = expiry_heap(state)
    state.active_clients += 1
    set_client(state, client, last, at)
    heappush(heap, (at, client))
    if len(heap) > 2 * len(state.clients) + STALE_ENTRIES_KEPT:
        state.expiries = None  # mostly stale entries: built anew when next needed
    if at + EXPIRY < state.due:  # noqa: PLR1730 - to set an attribute costs ten times as much as to look at it
        state.due = at + EXPIRY


def _client_was_active(state: State, event: Event) -> Touched:
    _client_active(state, event.data.client_id, event.at)
    return _CLIENTS


def _client_imported(state: State, event: Event) -> Touched:
    clients = state.clients
    for name in event.data.client_ids:
        client = kept_id(name)
        if client not in clients:
            set_client(state, client, None, 0)
    return _CLIENTS


def _client_removed(state: State, event: Event) -> Touched:
    if remove_client(state, kept_id(event.data.client_id)):
        state.active_clients -= 1
    return _CLIENTS


def _journey_activated(state: State, event: Event) -> Touched:
    return _switch_journey(state, event, active=True)


def _journey_deactivated(state: State, event: Event) -> Touched:
    return _switch_journey(state, event, active=False)


def _switch_journey(state: State, event: Event, *, active: bool) -> Touched:
    journey = kept_id(event.data.journey_id)
    if event.at >= state.journeys.get(journey, (0, False))[0]:
        state.journeys[journey] = (event.at, active)
    return NONE


def _count_journey_email(state: State, at: int, sent: int, opened: int) -> None:
    day = at // DAY
    if day + JOURNEY_WINDOW_DAYS <= state.clock // DAY:
        return
    before = state.journey_days.get(day)
    if before is None:
        state.journey_days[day] = (sent, opened)
        state.due = min(state.due, (day + JOURNEY_WINDOW_DAYS) * DAY)
    else:
        state.journey_days[day] = (before[0] + sent, before[1] + opened)
    state.journey_sent += sent
    state.journey_opened += opened


def _plan_changed(state: State, event: Event) -> Touched:
    _set_plan(state, event.data.plan, event.at)
    return NONE


def _opted_out(state: State, event: Event) -> Touched:
    return _set_consent(state, event, opted_out=True)


def _opted_in(state: State, event: Event) -> Touched:
    return _set_consent(state, event, opted_out=False)


def _set_consent(state: State, event: Event, *, opted_out: bool) -> Touched:
    consent = state.email_consent if event.data.scope == "email" else state.all_consent
    if consent.at is None or event.at >= consent.at:
        consent.opted_out, consent.at = opted_out, event.at
    return NONE


_PLAIN: dict[str, Handler] = {
    "supplier.signed_up": _signed_up,
    "supplier.cancelled": _cancelled,
    "supplier.reactivated": _reactivated,
    "client.imported": _client_imported,
    "client.active": _client_was_active,
    "client.removed": _client_removed,
    "journey.activated": _journey_activated,
    "journey.deactivated": _journey_deactivated,
    "plan.changed": _plan_changed,
    "communication.opted_out": _opted_out,
    "communication.opted_in": _opted_in,
}
"""What an event does whatever the rules say; a login's points depend on their bands (`login_handler`)."""
_MAY_NAME_A_CLIENT = frozenset({"form.completed", "journey.email_opened"})

BUILT_IN = (
    "supplier.signed_up",
    "supplier.logged_in",
    "supplier.cancelled",
    "supplier.reactivated",
    "form.created",
    "form.sent",
    "form.completed",
    "client.imported",
    "client.active",
    "client.removed",
    "journey.created",
    "journey.activated",
    "journey.deactivated",
    "journey.email_sent",
    "journey.email_opened",
    "template.used",
    "payment.received",
    "plan.changed",
    "milestone.reported",
    "communication.opted_out",
    "communication.opted_in",
)
"""The event types that the product knows by itself (contract section 3)."""
GOALS = (
    "supplier.logged_in",
    "form.created",
    "form.sent",
    "form.completed",
    "client.imported",
    "client.active",
    "journey.created",
    "journey.activated",
    "template.used",
    "payment.received",
    "plan.changed",
)
"""Events of our own that a message may aim at; those that rules declare may be aimed at too."""
FACTS = frozenset(
    {
        "supplier.signed_up",
        "supplier.cancelled",
        "supplier.reactivated",
        "plan.changed",
        "communication.opted_out",
        "communication.opted_in",
    }
)
"""Events that say what plan, consent and cancellation are."""
CLIENT_EVENTS = frozenset({"client.imported", "client.removed"}) | _SHOWS_A_CLIENT_ACTIVE
"""Those that make clients known or active, or forget them."""


def compose(
    kind: str,
    *,
    features: int,
    form_count: bool,
    form_of: bool,
    journey_count: bool,
    journey_of: bool,
    client_activity: bool,
    login_bands: Bands,
) -> Handler:
    """The handler of a kind under rules: what the kind does, the features it shows, the ratios it counts in."""
    plain = login_handler(login_bands) if kind == "supplier.logged_in" else _PLAIN.get(kind)
    lines = ["def handler(state, event):"]
    moved = set()
    if features:
        lines.append(f"    state.features |= {features}")
        moved.add(FEATURES)
    if form_of or form_count:
        lines += ["    state.forms_sent += 1"] * form_of + ["    state.forms_completed += 1"] * form_count
        moved.add(FORMS)
    if journey_of or journey_count:
        lines.append(f"    count_journey_email(state, event.at, {int(journey_of)}, {int(journey_count)})")
        moved.add(JOURNEYS)
    if plain is not None:
        if not moved:
            return plain
        # in the order of the components: a login's before all, a client's among them
        first = set() if kind == "supplier.logged_in" else {each for each in moved if each < CLIENTS}
        lines.append(f"    return {_tuple(first)} + plain(state, event) + {_tuple(moved - first)}")
    else:
        if client_activity or kind in _MAY_NAME_A_CLIENT:
            lines += [
                "    client = event.data.client_id",
                "    if client is not None:",
                "        client_active(state, client, event.at)",
                f"        return {_tuple(moved | {CLIENTS})}",
            ]
        lines.append(f"    return {_tuple(moved)}")
    space: dict[str, Any] = {
        "plain": plain,
        "count_journey_email": _count_journey_email,
        "client_active": _client_active,
    }
    exec(compile("\n".join(lines), f"<rules: {kind}>", "exec"), space)  # noqa: S102 - source made of checked parts
    return cast("Handler", space["handler"])


def _tuple(components: set[int]) -> str:
    return repr(tuple(sorted(components)))
