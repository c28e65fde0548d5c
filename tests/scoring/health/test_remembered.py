"""Which events are known again: the last 256, for 7 days of the clock, exactly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scoring.health.machine import advance, apply
from scoring.health.state import State, decode, encode
from tests.reference.compare import difference, plain
from tests.reference.events import event
from tests.reference.history import DAY
from tests.reference.naive import NaiveSupplier
from tests.scoring.health.suppliers import MONDAY_9, SUPPLIER
from tests.scoring.health.test_machine_equals_naive import profile

WEEK = 7 * DAY
IDS = ("a", "b", "c")
moments = st.builds(
    lambda day, off: max(0, day * DAY + off),
    st.integers(0, 80),
    st.sampled_from((-1, 0, 1)) | st.integers(0, DAY),
)
kinds = st.sampled_from(("supplier.signed_up", "supplier.logged_in", "journey.email_sent", "template.used"))
events = st.tuples(st.sampled_from(IDS), kinds, moments)


@profile
@given(st.lists(events, max_size=12), st.booleans())
def test_ids_are_known_again_as_a_naive_reading_of_the_contract_says(
    told: list[tuple[str, str, int]], in_order: bool
) -> None:
    state, naive = State(), NaiveSupplier(SUPPLIER)
    for identity, kind, after in sorted(told, key=lambda each: each[2]) if in_order else told:
        one = event(kind, MONDAY_9 + after, identity)
        state = decode(encode(state))
        assert difference(plain(apply(state, SUPPLIER, one)), plain(naive.apply(one))) is None
        assert (state.seq, state.clock) == (naive._seq(), naive.clock)


def applied(state: State, identity: str, at: int) -> bool:
    """Whether an email of this id is counted."""
    before = state.counts.get("journey.email_sent", 0)
    apply(state, SUPPLIER, event("journey.email_sent", at, identity))
    return state.counts["journey.email_sent"] > before


def test_an_event_is_known_until_the_clock_is_seven_days_past_where_it_stood() -> None:
    for gap, again in ((WEEK - 1, False), (WEEK, True)):
        state = State()
        assert applied(state, "same", MONDAY_9)
        assert applied(state, "other", MONDAY_9 + gap)
        assert applied(state, "same", MONDAY_9) is again


def test_an_event_is_known_until_256_later_ones_were_applied() -> None:
    for later, again in ((255, False), (256, True)):
        state = State()
        assert applied(state, "same", MONDAY_9)
        assert all(applied(state, f"e{number}", MONDAY_9 + number) for number in range(later))
        assert applied(state, "same", MONDAY_9) is again


def test_what_a_tick_has_fired_makes_no_difference_to_an_id_that_is_used_again() -> None:
    """The clock counts as the event finds it, whether it was fired before or is fired for the event."""
    outcomes = set()
    for ticked in (True, False):
        state = State()
        apply(state, SUPPLIER, event("supplier.logged_in", MONDAY_9, "same"))
        if ticked:
            advance(state, SUPPLIER, MONDAY_9 + WEEK)
        apply(state, SUPPLIER, event("supplier.logged_in", MONDAY_9 + WEEK + 1, "same"))
        outcomes.add((state.seq, state.clock, state.last_login))
    assert len(outcomes) == 1
    assert {last for _, _, last in outcomes} == {MONDAY_9 + WEEK + 1}


def test_a_quiet_supplier_is_stored_with_few_ids_and_a_long_silence_forgets_all() -> None:
    state = State()
    for number in range(300):
        apply(state, SUPPLIER, event("journey.email_sent", MONDAY_9 + number * DAY, f"e{number}"))
    assert len(state.recent) == 8 * 7
    assert len(state.recent_at) == 4 * 7
    apply(state, SUPPLIER, event("journey.email_sent", MONDAY_9 + 300 * DAY + (1 << 32), "later"))
    assert len(state.recent) == 8


def test_ids_of_records_of_before_times_were_kept_are_known_for_seven_more_days() -> None:
    state = State()
    apply(state, SUPPLIER, event("journey.email_sent", MONDAY_9, "same"))
    state.recent_at = b""
    state = decode(encode(state))
    assert not applied(state, "same", MONDAY_9)
    assert applied(state, "other", MONDAY_9 + WEEK)
    assert applied(state, "same", MONDAY_9)
