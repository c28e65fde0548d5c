"""Everything that is remembered of one supplier, and its compact bytes."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify

import msgspec

from scoring.health.causes import Causes, Movement
from scoring.health.clients import FEW_CLIENTS, ManyClients
from scoring.health.metrics import Level
from scoring.time import NEVER

REMEMBERED_EVENTS = 256
DIGEST_BYTES = 8
CLOCK_BYTES = 4
CLOCK_MASK = (1 << 8 * CLOCK_BYTES) - 1


class Consent(msgspec.Struct, array_like=True, gc=False):
    """One scope's opt-out and the event time of the newest word on it."""

    opted_out: bool = False
    at: int | None = None


class Change(msgspec.Struct, array_like=True, gc=False):
    """A change of the displayed score or level, as the next snapshot will tell of it.

    Many are made and few are alive at once in JSON's shape: they are put into it when a snapshot is taken.
    """

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
    """A lower bound of the next due time; `scoring.health.machine.next_due` makes it exact."""
    dirty: bool = False
    """An event was applied or time moved the clock since the last snapshot: another one is owed."""

    retired_4: int = 0
    """When older programs last evaluated them; the clock says it now."""
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
    reached: int | bool = 0
    """Conditions by reaching that are met and not re-armed yet, one bit each by their number."""
    last_login: int | None = None
    features: int = 0
    """Key features ever used, one bit each by their number."""
    clients: dict[str, int] = {}
    """Known clients: the last activity while it is within 30 days of the clock, else 0."""
    active_clients: int = 0
    retired_0: int = 0
    """A number of states before rules were data, that of forms created."""
    forms_sent: int = 0
    """What the ratio of forms is of, and what it counts (`rules.toml`, components.formCompletion)."""
    forms_completed: int = 0
    journeys: dict[str, tuple[int, bool]] = {}
    """When each journey was last switched, and whether on."""
    journey_days: dict[int, tuple[int, int]] = {}
    """UTC day number → (sent, opened) journey emails, last 30 dates only."""
    journey_sent: int = 0
    journey_opened: int = 0

    milestones: int = 0
    """Milestones awarded, one bit each by their number."""
    occurrences: dict[str, int] = {}
    """How often each condition was met, for life."""
    retired_1: int = 0
    retired_2: int = 0
    retired_3: int = 0
    """Three more; due times follow from the other fields."""

    email_consent: Consent = msgspec.field(default_factory=Consent)
    all_consent: Consent = msgspec.field(default_factory=Consent)
    cancelled: bool = False
    cancelled_at: int | None = None
    """Event time of the newest cancellation or reactivation."""
    last_goals: dict[str, int] = {}
    """Event type → the greatest time of its events."""
    recent: bytes = b""
    """Digests of the (source, id) of events that are remembered, 8 bytes each, the oldest first."""

    expiries: list[tuple[int, str]] | None = None
    """Heap of (activity, client), one at or before the last of each active client; built on demand, never encoded."""

    login_day: int = 0
    """UTC day number of the newest login."""
    login_days: int = 0
    """Bit i: a login on the UTC date i days before `login_day`; 63 days."""
    usual: list[float] = []
    """What is usual for them: the points at each UTC day's end, a day's weight halving in 14 days; none at first."""
    usual_day: int = 0
    """UTC day number that `usual` has been brought up to; 0 before the first evaluation."""
    login_count: int = 0
    """UTC dates with a login, ever."""
    first_login_day: int = 0
    """UTC day number of the oldest login."""
    client_pages: int = 0
    """In what `encode_paged` wrote: how many pages hold their clients. 0 in memory, and where `clients` is whole."""
    many: ManyClients | None = None
    """An index of `clients` once there are many; never encoded."""
    counts: dict[str, int] = {}
    """Event type → how many of its events were applied."""
    last_client_activity: int | None = None
    """The greatest time at which any client was active."""
    holding: int = 0
    """Conditions by reaching whose expression was true when it was last looked at, while they could be met."""
    rules: int = -1
    """The configuration version whose rules it was last evaluated by; -1 before rules were data."""
    goals: list[tuple[str, int]] = []
    """(type, time) of the goal events since the last snapshot."""
    visible: bool = False
    """The next flush owes a snapshot: a signal was brought, or something changed that others act on."""
    owed_since: int = 0
    """The worker's clock at the flush from which on a snapshot is owed that may wait; 0 if none is."""
    recent_at: bytes = b""
    """Where the clock stood when each event of `recent` was applied, modulo 2**32, 4 bytes each."""
    forget_at: int = -NEVER
    """A lower bound of the clock at which the oldest of them is forgotten."""


TRANSIENT = frozenset(
    {
        "changes",
        "due",
        "dirty",
        "retired_4",
        "expiries",
        "client_pages",
        "many",
        "goals",
        "visible",
        "owed_since",
    }
)
"""Fields that follow from the others, or depend on when the last snapshot was taken: states that agree in all others
are the same."""


class Beginning(msgspec.Struct, array_like=True, gc=False):
    """The first fields of an encoded state, for a look at very many of them."""

    clock: int
    seq: int
    due: int
    dirty: bool


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(State)
_peeker = msgspec.msgpack.Decoder(Beginning)
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
    state = _decoder.decode(encoded)
    if state.rules < 0:
        _bring_up(state)
    if len(state.recent) != 2 * len(state.recent_at):  # older programs did not know when: at the latest now
        state.recent_at = clock_bytes(state.clock) * (len(state.recent) // DIGEST_BYTES)
        state.forget_at = state.clock
    return state


def _bring_up(state: State) -> None:
    """What older records say in other words: they knew only the shipped rules, by their numbers there."""
    state.rules = 0
    for kind, count in (
        ("form.created", state.retired_0),
        ("form.sent", state.forms_sent),
        ("form.completed", state.forms_completed),
    ):
        if count:
            state.counts[kind] = count
    reported_limit, signed_up = 1 << 4, 1 << 5
    state.reached = (reported_limit if state.reached else 0) | (
        signed_up if state.signed_up_at is not None else 0
    )
    state.retired_0 = state.retired_1 = state.retired_2 = state.retired_3 = 0
    state.last_client_activity = max(state.clients.values(), default=0) or None


def owed_since(encoded: bytes | memoryview) -> int | None:
    """Since when, on the worker's clock, a snapshot of an encoded state is owed; None if none is."""
    return decode(bytes(encoded)).owed_since if _peeker.decode(encoded).dirty else None


def clock_bytes(clock: int) -> bytes:
    """An entry of `recent_at`."""
    return (clock & CLOCK_MASK).to_bytes(CLOCK_BYTES, "big")


def forget_told(state: State) -> None:
    """What a snapshot has told, or nobody is told, is not owed any more."""
    state.changes, state.goals, state.owed_since = [], [], 0
    state.dirty = state.visible = False


def put_pages(state: State, encoded: Sequence[bytes]) -> None:
    """Give a decoded state its clients: the `client_pages` pages that `encode_paged` wrote, in order."""
    pages = [_page_decoder.decode(page) for page in encoded]
    for page in pages:
        state.clients.update(page)
    state.client_pages = 0
    state.many = ManyClients(state.clients, [list(page) for page in pages])
    if state.last_client_activity is None:
        state.last_client_activity = max(state.clients.values(), default=0) or None


def set_client(state: State, client: str, before: int | None, after: int) -> None:
    """Set a client's last activity (0: not active); `before` is what it was, None if they were not known."""
    state.clients[client] = after
    if before is None and not state.visible:
        state.visible = True
    many = state.many
    if many is not None:
        many.changed(client, before, after)
        if before is None:
            many.grow(len(state.clients))
    elif before is None and len(state.clients) > FEW_CLIENTS:
        state.many = ManyClients(state.clients)


def remove_client(state: State, client: str) -> int | None:
    """Forget a client; what their last activity was, None if they were not known."""
    before = state.clients.pop(client, None)
    if before is not None:
        state.visible = True
    if before is not None and state.many is not None:
        state.many.changed(client, before, None)
    return before


def expiry_heap(state: State) -> list[tuple[int, str]]:
    """The heap of (last activity, client) of active clients; entries may be stale."""
    if state.expiries is None:
        state.expiries = [(last, client) for client, last in state.clients.items() if last]
        heapify(state.expiries)
    return state.expiries
