"""What each kind of event does to the running metrics: one function a kind, one table as the map.

A handler returns the components whose points may have changed. Facts that replace one another (plan, consent,
cancellation, a journey's activation) go by event time, so that a late event never overwrites a newer word;
counters count events; clients go by arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappush
from typing import Any, Literal, Protocol, cast, get_args

from xxhash import xxh3_128_hexdigest

from scoring.churn import remember_login
from scoring.conditions import FREE_PLAN, restart_login_series, start_onboarding
from scoring.metrics import (
    ACTIVITY_WINDOW,
    CLIENTS,
    FEATURES,
    FORMS,
    JOURNEY_WINDOW_DAYS,
    JOURNEYS,
    KEY_FEATURES,
    LOGIN,
    LOGIN_BANDS,
)
from scoring.signals import MILESTONES
from scoring.state import State, expiry_heap, remove_client, set_client
from scoring.time import DAY, NEVER

EXPIRY = ACTIVITY_WINDOW + 1
"""A client stops being active 30 days and 1 ms after its last activity."""

STALE_ENTRIES_KEPT = 256

MOST_CLIENTS = 100_000
MOST_JOURNEYS = 10_000
"""What a supplier can have, so that all that is remembered of her fits into one message (16 MiB of `state_record`)."""
_CLIENTS_OF_ONE_EVENT = 10_001
_SHOWS_A_CLIENT_ACTIVE = frozenset({"client.active", "form.completed", "journey.email_opened"})
_SWITCHES = frozenset({"journey.activated", "journey.deactivated"})
LONGEST_KEPT_ID = 36
"""Ids of clients and journeys are kept up to this length, that of a UUID; of a longer one a digest is."""

FORMS_CREATED, CLIENTS_IMPORTED, JOURNEYS_CREATED, TEMPLATES_USED = (1 << i for i in range(len(KEY_FEATURES)))


Goal = Literal[
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
]
"""An event that an intervention may aim at."""


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
NONE: Touched = ()
_LOGIN: Touched = (LOGIN,)
_FEATURES: Touched = (FEATURES,)
_CLIENTS: Touched = (CLIENTS,)
_FORMS: Touched = (FORMS,)
_FORMS_AND_CLIENTS: Touched = (CLIENTS, FORMS)
_FEATURES_AND_CLIENTS: Touched = (FEATURES, CLIENTS)
_JOURNEYS: Touched = (JOURNEYS,)
_JOURNEYS_AND_CLIENTS: Touched = (CLIENTS, JOURNEYS)


def _set_plan(state: State, plan: str | None, at: int) -> None:
    if plan is None or (state.plan_at is not None and at < state.plan_at):
        return
    if plan != FREE_PLAN:
        state.limit_reported = False
    state.plan, state.plan_at = plan, at


def _signed_up(state: State, event: Event) -> Touched:
    _set_plan(state, event.data.plan if event.data is not None else None, event.at)
    if state.signed_up_at is None:
        state.signed_up_at = event.at
        start_onboarding(state)
    return NONE


def _logged_in(state: State, event: Event) -> Touched:
    at = event.at
    remember_login(state, at)
    if state.last_login is not None and at <= state.last_login:
        return NONE
    state.last_login = at
    state.due = min(state.due, login_band_due(state))
    restart_login_series(state)
    return _LOGIN


def login_band_due(state: State) -> int:
    """When the last login's age next leaves a band, or NEVER."""
    if state.last_login is not None:
        for below, _ in LOGIN_BANDS:
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


def too_many(state: State, event: Event) -> str | None:
    """Why an event can't be applied, with a code to begin with: she would have more than can be remembered.

    To be asked before `machine.apply`, which has no limits, wherever the state is to be kept as a record.
    """
    clients, journeys = state.clients, state.journeys
    if len(clients) + _CLIENTS_OF_ONE_EVENT <= MOST_CLIENTS and len(journeys) < MOST_JOURNEYS:
        return None
    new_clients = {known for name in _clients_made_known(event) if (known := kept_id(name)) not in clients}
    if new_clients and len(clients) + len(new_clients) > MOST_CLIENTS:
        return f"too_many: a supplier can have {MOST_CLIENTS:,} clients; publish client.removed for those who left"
    switched = kept_id(event.data.journey_id) if event.type in _SWITCHES else None
    if switched is not None and switched not in journeys and len(journeys) >= MOST_JOURNEYS:
        return f"too_many: a supplier can have {MOST_JOURNEYS:,} journeys"
    return None


def _clients_made_known(event: Event) -> Iterable[str]:
    if event.type == "client.imported":
        return cast("Iterable[str]", event.data.client_ids)
    client = event.data.client_id if event.type in _SHOWS_A_CLIENT_ACTIVE else None
    return () if client is None else (client,)


def _client_active(state: State, name: str, at: int) -> None:
    """Make the client known; active too if `at` lies within 30 days of the clock."""
    client = kept_id(name)
    last = state.clients.get(client)
    if at + ACTIVITY_WINDOW < state.clock:
        if last is None:
            set_client(state, client, None, 0)
        return
    if last:
        if at > last:
            set_client(state, client, last, at)  # her entry in the heap is moved on when its time comes
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
    state.features |= CLIENTS_IMPORTED
    return _FEATURES_AND_CLIENTS


def _client_removed(state: State, event: Event) -> Touched:
    if remove_client(state, kept_id(event.data.client_id)):
        state.active_clients -= 1
    return _CLIENTS


def _form_created(state: State, _event: Event) -> Touched:
    state.forms_created += 1
    state.features |= FORMS_CREATED
    return _FEATURES


def _form_sent(state: State, _event: Event) -> Touched:
    state.forms_sent += 1
    return _FORMS


def _form_completed(state: State, event: Event) -> Touched:
    state.forms_completed += 1
    if event.data.client_id is None:
        return _FORMS
    _client_active(state, event.data.client_id, event.at)
    return _FORMS_AND_CLIENTS


def _journey_created(state: State, _event: Event) -> Touched:
    state.features |= JOURNEYS_CREATED
    return _FEATURES


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


def _journey_email_sent(state: State, event: Event) -> Touched:
    _count_journey_email(state, event.at, 1, 0)
    return _JOURNEYS


def _journey_email_opened(state: State, event: Event) -> Touched:
    _count_journey_email(state, event.at, 0, 1)
    if event.data.client_id is None:
        return _JOURNEYS
    _client_active(state, event.data.client_id, event.at)
    return _JOURNEYS_AND_CLIENTS


def _template_used(state: State, _event: Event) -> Touched:
    state.features |= TEMPLATES_USED
    return _FEATURES


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


def _nothing(_state: State, _event: Event) -> Touched:
    return NONE


HANDLERS: dict[str, Callable[[State, Any], Touched]] = {
    "supplier.signed_up": _signed_up,
    "supplier.logged_in": _logged_in,
    "supplier.cancelled": _cancelled,
    "supplier.reactivated": _reactivated,
    "form.created": _form_created,
    "form.sent": _form_sent,
    "form.completed": _form_completed,
    "client.imported": _client_imported,
    "client.active": _client_was_active,
    "client.removed": _client_removed,
    "journey.created": _journey_created,
    "journey.activated": _journey_activated,
    "journey.deactivated": _journey_deactivated,
    "journey.email_sent": _journey_email_sent,
    "journey.email_opened": _journey_email_opened,
    "template.used": _template_used,
    "payment.received": _nothing,
    "plan.changed": _plan_changed,
    "milestone.reported": _nothing,
    "communication.opted_out": _opted_out,
    "communication.opted_in": _opted_in,
}

MILESTONE_OF: dict[str, str] = {
    "form.created": "first_form",
    "journey.activated": "first_automation",
    "payment.received": "first_payment",
}

MILESTONE_BIT: dict[str, int] = {milestone: 1 << bit for bit, milestone in enumerate(MILESTONES)}

MILESTONE_BIT_OF: dict[str, int] = {kind: MILESTONE_BIT[name] for kind, name in MILESTONE_OF.items()}

GOALS = frozenset(get_args(Goal))
"""Events whose newest time a snapshot carries."""
