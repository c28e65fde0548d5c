"""A supplier with very many clients is scored as anyone, however their clients are kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.health import stored_supplier as supplier_records
from agents.health.state_codec import StateHeader
from scoring.health import clients, machine, state
from scoring.health.clients import CLIENTS_A_PAGE, FEW_CLIENTS, ManyClients
from scoring.health.snapshot import snapshot
from scoring.health.state import State, decode, encode, encode_paged
from tests.forms import examples
from tests.reference.compare import plain
from tests.reference.events import event
from tests.reference.histories import Step, histories
from tests.reference.history import DAY

SUPPLIER = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"
KEY = SUPPLIER.encode()
T0 = 1_767_603_600_000

profile = settings(max_examples=examples(300), suppress_health_check=[HealthCheck.too_slow])
names = st.integers(0, 40).map(lambda number: f"c{number}")
lasts = st.integers(0, 5)


@contextmanager
def two_are_many() -> Iterator[None]:
    """Three clients are many, and two fill a page."""
    with patch.object(state, "FEW_CLIENTS", 2), patch.object(clients, "CLIENTS_A_PAGE", 2):
        yield


class Stored:
    """A supplier as the state topic keeps them: a record, and pages once there are many clients."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def read(self) -> State:
        return supplier_records.read(self.values, KEY) or State()

    def write(self, changed: State) -> None:
        self.values.update(supplier_records.write(KEY, changed, StateHeader(0, 0, 0, 0)))


@profile
@given(histories(longest=40))
def test_scores_signals_and_forecasts_are_the_same_however_clients_are_kept(steps: list[Step]) -> None:
    few, stored = State(), Stored()
    for step in steps:
        if step.kind not in {"apply", "advance"}:
            continue
        with two_are_many():
            many = stored.read()
            if step.event is not None:
                told = machine.apply(many, SUPPLIER, step.event)
            else:
                told = machine.advance(many, SUPPLIER, step.to)
            forecast = snapshot(many) if many.seq else None
            stored.write(many)
        if step.event is not None:
            expected = machine.apply(few, SUPPLIER, step.event)
        else:
            expected = machine.advance(few, SUPPLIER, step.to)
        assert plain(told) == plain(expected)
        assert forecast == (snapshot(few) if few.seq else None)
    assert stored.read().clients == few.clients


@profile
@given(st.dictionaries(names, lasts), st.lists(st.tuples(names, st.none() | lasts), max_size=60))
def test_the_index_is_that_of_the_clients_after_any_changes(
    known: dict[str, int], changes: list[tuple[str, int | None]]
) -> None:
    with two_are_many():
        held = State(clients=dict(known))
        held.many = ManyClients(held.clients)
        for client, last in changes:
            if last is None:
                state.remove_client(held, client)
            else:
                state.set_client(held, client, held.clients.get(client), last)
        assert held.many.active == sorted(last for last in held.clients.values() if last)
        assert sorted(client for page in held.many.pages for client in page) == sorted(held.clients)
        anew = ManyClients(held.clients, [[] for _ in held.many.pages])
        assert all(
            anew._page_of(client) == number for number, page in enumerate(held.many.pages) for client in page
        )


@profile
@given(st.integers(0, 2_000))
def test_a_new_client_splits_one_page_at_most(already: int) -> None:
    held = State(clients={f"c{number}": T0 + number for number in range(already)})
    held.many = ManyClients(held.clients)
    held.many.touched.clear()
    state.set_client(held, "new", None, T0)
    assert len(held.many.touched) <= 3
    assert max(map(len, held.many.pages)) <= 4 * CLIENTS_A_PAGE


def test_an_event_of_a_supplier_with_ten_thousand_clients_writes_one_page_and_a_record_as_short_as_anyones() -> (
    None
):
    held = State()
    for number in range(10_000):
        machine.apply(
            held, SUPPLIER, event("client.active", T0 + number, f"e{number}", client_id=f"c{number}")
        )
    encode_paged(held)
    machine.apply(held, SUPPLIER, event("client.active", T0 + DAY, "again", client_id="c77"))
    state.forget_told(held)
    record, pages = encode_paged(held)
    few = State()
    machine.apply(few, SUPPLIER, event("client.active", T0, "e", client_id="c"))
    assert len(record) <= len(encode(few)) + 256 * (8 + 4) + 100
    [(_, page)] = pages
    assert len(page) < 4 * CLIENTS_A_PAGE * 12


def test_a_record_that_was_written_whole_is_paged_once_a_client_more_is_known() -> None:
    held = decode(encode(State(clients={f"c{number}": 0 for number in range(FEW_CLIENTS * 2)})))
    assert held.many is None
    machine.apply(held, SUPPLIER, event("client.active", T0, "e", client_id="new"))
    stored = Stored()
    stored.write(held)
    assert sum(map(supplier_records.is_page, stored.values)) > 1
    assert stored.read().clients == held.clients
