"""Random suppliers with weeks of messages: the decisions are those of the naive restatement, and never too many."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.decisions.decide import Decision, Row, SupplierFacts, decide
from scoring.decisions.resolved import Health
from tests.forms import examples
from tests.scoring.decisions import naive
from tests.scoring.decisions.cases import DAY, HOUR, NINE, POLICY, outcome, row

ZONES = (None, "Europe/London", "America/New_York", "Pacific/Auckland", "Asia/Kathmandu")
CAUSES = {
    "first_form": ["form.created", "milestone.reported"],
    "ten_clients": ["client.imported", "client.active", "milestone.reported"],
    "first_automation": ["journey.activated", "milestone.reported"],
    "first_payment": ["payment.received", "milestone.reported"],
}
# near the boundaries more often than between them
STEPS = st.one_of(
    st.sampled_from(
        [0, 1, HOUR - 1, HOUR, 20 * HOUR - 1, 20 * HOUR, 24 * HOUR, 72 * HOUR - 1, 72 * HOUR, 7 * DAY]
    ),
    st.integers(0, 3 * DAY),
)


@st.composite
def healths(draw: st.DrawFn) -> Health | None:
    if draw(st.integers(0, 9)) == 0:
        return None
    features = draw(
        st.sets(st.sampled_from(["clients_imported", "forms_created", "templates_used"]), max_size=2)
    )
    return Health(
        seq=draw(st.sampled_from([9, 10, 10, 10])),
        level=draw(st.sampled_from(["healthy", "at_risk", "at_risk", "critical"])),
        score=50,
        cancelled=draw(st.integers(0, 9)) == 0,
        features=frozenset(features),
        known_clients=draw(st.sampled_from([0, 1, 9, 10, 20])),
        forms_created=draw(st.sampled_from([0, 3, 4])),
        last_login=draw(st.sampled_from([None, NINE - 7 * DAY, NINE - 20 * DAY, NINE + 2 * DAY])),
        signed_up_at=draw(st.sampled_from([None, NINE - 30 * DAY])),
        plan=draw(st.sampled_from(["free", "free", "starter"])),
    )


@st.composite
def suppliers(draw: st.DrawFn) -> SupplierFacts:
    return SupplierFacts(
        "s",
        email=draw(st.sampled_from([None, "a@example.com", "a@example.com", "a@example.com"])),
        zone=draw(st.sampled_from(ZONES)),
        email_opt_out=draw(st.integers(0, 9)) == 0,
        all_opt_out=draw(st.integers(0, 14)) == 0,
        health=draw(healths()),
    )


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Up to 25 rows whose signals come one after the other."""
    at, made = NINE, []
    for step in draw(st.lists(STEPS, min_size=1, max_size=25)):
        at += step
        trigger = draw(st.sampled_from(POLICY.triggers))
        one = row(trigger.name, at)
        if one.milestone:
            one = replace(one, cause_type=draw(st.sampled_from(CAUSES[one.milestone])))
        made.append(one)
    return made


eager = SupplierFacts(
    "s",
    email="a@example.com",
    zone="America/New_York",
    health=Health(
        seq=10,
        level="critical",
        score=30,
        known_clients=5,
        forms_created=4,
        last_login=NINE - 90 * DAY,
        signed_up_at=NINE - 99 * DAY,
        plan="free",
    ),
)


def play(
    who: SupplierFacts, scheduled: list[Row]
) -> tuple[list[tuple[Row, int]], list[tuple[Row, Decision]]]:
    """Deliver from due time to due time as delivery does; (what was sent and when, every decision)."""
    waiting = {one.id: (one, one.due_at) for one in scheduled}
    past: list[Row] = []
    log: list[tuple[Row, Decision]] = []
    while waiting:
        now = min(not_before for _, not_before in waiting.values())
        due = [one for one, not_before in waiting.values() if not_before <= now]
        for decision in decide(who, due, past, now, POLICY):
            one, _ = waiting.pop(decision.row_id)
            before = [(other, other.claimed_at or 0) for other in past]
            asked = naive.expected(one, who, before, now)
            got = "wait" if decision.action == "wait" else outcome(decision)
            assert got == asked, (one, now, decision)
            log.append((one, decision))
            if decision.action == "wait":
                assert decision.until is not None
                assert decision.until > now
                waiting[one.id] = (one, decision.until)
            elif decision.action == "send":
                past.append(replace(one, status="sending", claimed_at=now))
    return [(one, one.claimed_at or 0) for one in past], log


@given(suppliers(), rows())
@settings(max_examples=examples(200))
def test_every_decision_is_the_naive_one_and_none_is_without_a_reason(
    who: SupplierFacts, scheduled: list[Row]
) -> None:
    _, log = play(who, scheduled)
    last = {one.id: decision for one, decision in log}
    assert len(last) == len(scheduled)
    for decision in last.values():
        assert decision.action in {"send", "suppress"}
        assert (decision.reason is not None) == (decision.action == "suppress")
        assert decision.why
        assert decision.inputs


@given(rows())
@settings(max_examples=examples(200))
def test_never_a_fourth_in_a_week_a_third_positive_or_two_emails_in_twenty_hours(
    scheduled: list[Row],
) -> None:
    past, _ = play(eager, scheduled)
    for _, start in past:
        week = [one for one, at in past if start <= at < start + 7 * DAY]
        assert len(week) <= 3
        assert sum(one.trigger in naive.POSITIVE for one in week) <= 2
    emails = sorted(
        at for one, at in past if one.channel == "email" and one.trigger not in naive.CELEBRATIONS
    )
    assert all(second - first >= 20 * HOUR for first, second in itertools.pairwise(emails))
    parties = sorted(at for one, at in past if one.trigger in naive.CELEBRATIONS)
    assert all(second - first >= 24 * HOUR for first, second in itertools.pairwise(parties))


@given(rows())
@settings(max_examples=examples(200))
def test_emails_leave_by_day_and_within_72_hours(scheduled: list[Row]) -> None:
    past, _ = play(eager, scheduled)
    for one, at in past:
        assert one.due_at <= at < one.due_at + 72 * HOUR
        if one.channel == "email" and one.trigger not in naive.CELEBRATIONS:
            assert naive.daytime(at, eager.zone)


@given(rows())
@settings(max_examples=examples(100))
def test_after_an_opt_out_nothing_leaves(scheduled: list[Row]) -> None:
    past, log = play(replace(eager, all_opt_out=True), scheduled)
    assert past == []
    assert {decision.reason for _, decision in log} == {"opted_out"}


@given(rows(), st.sampled_from(ZONES))
@settings(max_examples=examples(150))
def test_a_wait_for_the_morning_ends_with_the_first_minute_of_day(
    scheduled: list[Row], zone: str | None
) -> None:
    _, log = play(replace(eager, zone=zone), scheduled)
    for one, decision in log:
        if decision.waiting == "hours":
            now = decision.inputs["decided_at"]
            assert decision.until == min(naive.first_daytime(now, zone), one.due_at + 72 * HOUR)


@given(rows(), st.randoms(use_true_random=False))
@settings(max_examples=examples(150))
def test_the_order_in_which_rows_are_handed_over_does_not_matter(
    scheduled: list[Row], random: object
) -> None:
    now = max(one.due_at for one in scheduled)
    shuffled = list(scheduled)
    random.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis' Random
    assert decide(eager, scheduled, [], now, POLICY) == decide(eager, shuffled, [], now, POLICY)


@given(st.integers(0, 400 * DAY), st.integers(0, 3 * DAY), st.sampled_from(ZONES))
@settings(max_examples=examples(150))
def test_an_at_risk_supplier_hears_from_us_within_24_hours(start: int, later: int, zone: str | None) -> None:
    """Whatever went out before: 25 hours only over the night in which the clock goes back."""
    who = replace(eager, zone=zone)
    first = naive.first_daytime(NINE + start, zone)
    other = row("high_usage_free_tier", first)
    at_risk = row("became_at_risk", first + later)
    past, _ = play(who, [other, at_risk])
    [left] = [at for one, at in past if one.trigger == "became_at_risk"]
    assert left - at_risk.due_at <= 25 * HOUR
    if zone in {None, "Asia/Kathmandu"}:
        assert left - at_risk.due_at <= 24 * HOUR
