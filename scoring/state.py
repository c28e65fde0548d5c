"""Everything that is remembered of one supplier, and its compact bytes."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify

import msgspec

from scoring.causes import Causes, Movement
from scoring.clients import FEW_CLIENTS, ManyClients
from scoring.metrics import Level
from scoring.time import NEVER

REMEMBERED_EVENTS = 256
DIGEST_BYTES = 8


class Consent(msgspec.Struct, array_like=True, gc=False):
    """One scope's opt-out and the event time of the newest word on it."""

    opted_out: bool = False
    at: int | None = None


class Change(msgspec.Struct, array_like=True, gc=False):
    """A change of the displayed score or level, as the next snapshot will tell of it.

    Many are made and few are alive at once in JSON's shape: they are put into it when a snapshot is taken.
    """

    id: str
    at: int
    seq: int
    score: int
    level: Level
    causes: list[Movement]


class State(msgspec.Struct, array_like=True, gc=False):
    """One supplier's running metrics. Instants in ms.

    Fields are encoded by position: new ones go to the end, with a default.
    """

    clock: int = 0
    seq: int = 0
    """Evaluations so far; 0 before the first event."""
    due: int = NEVER
    """A lower bound of the next due time; `scoring.machine.next_due` makes it exact."""
    dirty: bool = False
    """An event was applied or time changed a metric since the last snapshot."""

    evaluated_at: int = 0
    points: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0, 0.0, 0.0, 0.0])
    sum: float = 0.0
    score: int = 0
    level: Level | None = None
    change_causes: Causes = msgspec.field(default_factory=Causes)
    risk_causes: Causes = msgspec.field(default_factory=Causes)
    changes: list[Change] = []
    """Changes since the last snapshot."""

    signed_up_at: int | None = None
    plan: str | None = None
    plan_at: int | None = None
    limit_reported: bool = False
    """`high_usage_free_tier` has fired during this stay on the free plan."""
    last_login: int | None = None
    features: int = 0
    """Key features ever used, one bit each in the order of `metrics.KEY_FEATURES`."""
    clients: dict[str, int] = {}
    """Known clients: the last activity while it is within 30 days of the clock, else 0."""
    active_clients: int = 0
    forms_created: int = 0
    forms_sent: int = 0
    forms_completed: int = 0
    journeys: dict[str, tuple[int, bool]] = {}
    """When each journey was last switched, and whether on."""
    journey_days: dict[int, tuple[int, int]] = {}
    """UTC day number → (sent, opened) journey emails, last 30 dates only."""
    journey_sent: int = 0
    journey_opened: int = 0

    milestones: int = 0
    """Milestones awarded, one bit each in the order of `signals.MILESTONES`."""
    occurrences: dict[str, int] = {}
    """How often each condition was met, for life."""
    login_reminder: int = 0
    """The next of the four 7-day steps since the last login, 0 when none is to come."""
    import_reminder: int = 0
    """The next of the three 72-hour steps since sign-up, 0 when none is to come."""
    onboarding: int = 0
    """Bits of the once-only checks after sign-up still to come (see `conditions.py`)."""

    email_consent: Consent = msgspec.field(default_factory=Consent)
    all_consent: Consent = msgspec.field(default_factory=Consent)
    cancelled: bool = False
    cancelled_at: int | None = None
    """Event time of the newest cancellation or reactivation."""
    last_goals: dict[str, int] = {}
    recent: bytes = b""
    """Digests of the last 256 events' (source, id), 8 bytes each."""

    expiries: list[tuple[int, str]] | None = None
    """Heap of (activity, client), one at or before the last of each active client; built on demand, never encoded."""

    login_day: int = 0
    """UTC day number of the newest login."""
    login_days: int = 0
    """Bit i: a login on the UTC date i days before `login_day`; 63 days."""
    usual: list[float] = []
    """What is usual for her: the points at each UTC day's end, a day's weight halving in 14 days; none at first."""
    usual_day: int = 0
    """UTC day number that `usual` has been brought up to; 0 before the first evaluation."""
    login_count: int = 0
    """UTC dates with a login, ever."""
    first_login_day: int = 0
    """UTC day number of the oldest login."""
    client_pages: int = 0
    """In what `encode_paged` wrote: how many pages hold her clients. 0 in memory, and where `clients` is whole."""
    many: ManyClients | None = None
    """An index of `clients` once there are many; never encoded."""


TRANSIENT = frozenset({"changes", "due", "dirty", "expiries", "client_pages", "many"})
"""Fields that follow from the others, or depend on when the last snapshot was taken: states that agree in all others
are the same."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(State)
_page_decoder = msgspec.msgpack.Decoder(dict[str, int])


def encode(state: State) -> bytes:
    """The whole state as compact bytes (MessagePack, fields by position)."""
    expiries, state.expiries = state.expiries, None
    many = state.many
    if many is not None:
        state.many = None
    encoded = _encoder.encode(state)
    state.expiries = expiries
    if many is not None:
        state.many = many
    return encoded


def encode_paged(state: State) -> tuple[bytes, list[tuple[int, bytes]]]:
    """The state of a supplier with many clients without them, and (number, bytes) of the pages that have changed.

    What has changed is forgotten: the next call gives the pages that changed after this one.
    """
    many, clients = state.many, state.clients
    if many is None:
        raise ValueError("a supplier with few clients is encoded whole")
    state.clients, state.client_pages = {}, len(many.pages)
    encoded = encode(state)
    state.clients, state.client_pages = clients, 0
    pages = [
        (number, _encoder.encode({client: clients[client] for client in many.pages[number]}))
        for number in sorted(many.touched)
    ]
    many.touched.clear()
    return encoded, pages


def decode(encoded: bytes) -> State:
    """The state that `encode` wrote, or `encode_paged` without its clients: `put_pages` adds them.

    Raises `msgspec.DecodeError` or `msgspec.ValidationError` when the bytes are not such a state.
    """
    return _decoder.decode(encoded)


def put_pages(state: State, encoded: Sequence[bytes]) -> None:
    """Give a decoded state its clients: the `client_pages` pages that `encode_paged` wrote, in order."""
    pages = [_page_decoder.decode(page) for page in encoded]
    for page in pages:
        state.clients.update(page)
    state.client_pages = 0
    state.many = ManyClients(state.clients, [list(page) for page in pages])


def set_client(state: State, client: str, before: int | None, after: int) -> None:
    """Set a client's last activity (0: not active); `before` is what it was, None if she was not known."""
    state.clients[client] = after
    many = state.many
    if many is not None:
        many.changed(client, before, after)
        if before is None:
            many.grow(len(state.clients))
    elif before is None and len(state.clients) > FEW_CLIENTS:
        state.many = ManyClients(state.clients)


def remove_client(state: State, client: str) -> int | None:
    """Forget a client; what her last activity was, None if she was not known."""
    before = state.clients.pop(client, None)
    if before is not None and state.many is not None:
        state.many.changed(client, before, None)
    return before


def expiry_heap(state: State) -> list[tuple[int, str]]:
    """The heap of (last activity, client) of active clients; entries may be stale."""
    if state.expiries is None:
        state.expiries = [(last, client) for client, last in state.clients.items() if last]
        heapify(state.expiries)
    return state.expiries
