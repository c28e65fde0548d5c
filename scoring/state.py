"""Everything that is remembered of one supplier, and its compact bytes."""

from __future__ import annotations

from heapq import heapify

import msgspec

from scoring.causes import Causes, Movement
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


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(State)


def encode(state: State) -> bytes:
    """The state as compact bytes (MessagePack, fields by position)."""
    expiries, state.expiries = state.expiries, None
    encoded = _encoder.encode(state)
    state.expiries = expiries
    return encoded


def decode(encoded: bytes) -> State:
    """The state that `encode` wrote.

    Raises `msgspec.DecodeError` or `msgspec.ValidationError` when the bytes are not such a state.
    """
    return _decoder.decode(encoded)


def expiry_heap(state: State) -> list[tuple[int, str]]:
    """The heap of (last activity, client) of active clients; entries may be stale."""
    if state.expiries is None:
        state.expiries = [(last, client) for client, last in state.clients.items() if last]
        heapify(state.expiries)
    return state.expiries
