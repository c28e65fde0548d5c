"""The scoring machine gives the naive implementation's answers: every signal, id, time and snapshot.

`SUCCESS_LONG_TESTS=1` looks at many more histories, and at others each time.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoring.health import machine
from scoring.health.snapshot import snapshot
from scoring.health.state import State, decode, encode
from tests.forms import LONG
from tests.reference.compare import difference, plain
from tests.reference.histories import Step, histories
from tests.reference.history import DAY
from tests.reference.naive import NaiveSupplier

profile = settings(
    max_examples=20_000 if LONG else 50,
    derandomize=not LONG,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SUPPLIER = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"


class Pair:
    """The two implementations side by side; every step asserts that they agree."""

    def __init__(self) -> None:
        self.state = State()
        self.naive = NaiveSupplier(SUPPLIER)

    def take(self, step: Step) -> None:
        """Do one step to both."""
        if step.event is not None:
            signals = machine.apply(self.state, SUPPLIER, step.event)
            self._agree(plain(signals), plain(self.naive.apply(step.event)), f"apply {step.event}")
        elif step.kind == "advance":
            signals = machine.advance(self.state, SUPPLIER, step.to)
            self._agree(plain(signals), plain(self.naive.advance(step.to)), f"advance to {step.to}")
        elif step.kind == "store":
            self.state = decode(encode(self.state))
        elif self.naive.evaluations:
            self._agree(snapshot(self.state, supplier_id=SUPPLIER), self.naive.snapshot(), "snapshot")

    def _agree(self, of_machine: object, of_naive: object, after: str) -> None:
        found = difference(of_machine, of_naive)
        assert found is None, f"{after}: machine and naive differ at {found}"


def run_both(steps: list[Step]) -> None:
    """All steps, then silence until nothing is left to fall due, with a snapshot before and after."""
    pair = Pair()
    for step in steps:
        pair.take(step)
    last = max((step.event.at for step in steps if step.event is not None), default=0)
    for step in (Step("snapshot"), Step("advance", to=last + 80 * DAY), Step("snapshot")):
        pair.take(step)


@profile
@given(histories())
def test_machine_equals_naive_on_any_history(steps: list[Step]) -> None:
    run_both(steps)


@profile
@given(histories(longest=30), st.lists(st.integers(0, 80 * DAY), max_size=6))
def test_silence_may_be_told_in_any_number_of_pieces(steps: list[Step], pieces: list[int]) -> None:
    """Advancing in pieces fires what advancing at once fires."""
    at_once, in_pieces = State(), State()
    for step in steps:
        if step.event is not None:
            machine.apply(at_once, SUPPLIER, step.event)
            machine.apply(in_pieces, SUPPLIER, step.event)
    start = max((step.event.at for step in steps if step.event is not None), default=0)
    told = [
        signal
        for piece in [*sorted(pieces), 80 * DAY]
        for signal in machine.advance(in_pieces, SUPPLIER, start + piece)
    ]
    assert plain(told) == plain(machine.advance(at_once, SUPPLIER, start + 80 * DAY))
    assert encode(in_pieces) == encode(at_once)


@profile
@given(histories(longest=30))
def test_a_state_that_was_stored_and_read_goes_on_the_same(steps: list[Step]) -> None:
    """Encoding and decoding before every step changes nothing."""
    kept, stored = State(), State()
    for step in steps:
        if step.event is None:
            continue
        stored = decode(encode(stored))
        expected = machine.apply(kept, SUPPLIER, step.event)
        assert plain(machine.apply(stored, SUPPLIER, step.event)) == plain(expected)
    assert encode(stored) == encode(kept)
