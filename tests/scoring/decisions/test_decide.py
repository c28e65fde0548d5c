"""Each rule of contract section 7 by itself, at its exact boundary."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from scoring.decisions.decide import decide
from scoring.decisions.hours import next_open
from scoring.decisions.policy import Policy
from scoring.time import MINUTE
from scoring.zones import zone_named
from tests.scoring.decisions.cases import (
    DAY,
    HOUR,
    NINE,
    POLICY,
    decide_one,
    health,
    outcome,
    row,
    sent,
    supplier,
)


def local(text: str, zone: str) -> int:
    """Milliseconds of a wall time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=zone_named(zone)).timestamp()) * 1000


def test_what_nothing_stands_against_is_sent() -> None:
    for trigger in POLICY.triggers:
        facts = supplier(health=health(level="critical")) if trigger.name == "became_critical" else supplier()
        assert outcome(decide_one(row(trigger.name), facts=facts)) == "send", trigger.name


def test_every_decision_says_why_and_on_what() -> None:
    decision = decide_one(row("no_login_7_days"))
    assert decision.why
    assert decision.inputs["health_score"] == 48
    assert decision.inputs["risk_level"] == "at_risk"
    assert decision.inputs["seq"] == 10
    assert decision.inputs["decided_at"] == NINE
    assert decision.inputs["has_address"] is True
    assert decision.inputs["timezone"] == "UTC"
    assert decision.inputs["last_email_at"] is None


def test_what_was_opted_out_of_is_noted_with_the_decision_and_no_address_ever() -> None:
    decision = decide_one(row("no_login_7_days"), facts=supplier(email_opt_out=True))
    assert decision.inputs["email_opt_out"] is True
    assert "example.com" not in str(decision.inputs)


# consent and standing


@pytest.mark.parametrize(
    ("facts", "email", "in_app", "call"),
    [
        ({"email_opt_out": True}, "opted_out", "send", "send"),
        ({"all_opt_out": True}, "opted_out", "opted_out", "opted_out"),
        ({"bounced": True}, "bounced", "send", "send"),
        ({"complained": True}, "complained", "send", "send"),
        ({"held": True}, "held", "held", "held"),
        ({"paused": True}, "paused", "paused", "paused"),
        ({"erased": True}, "erased", "erased", "erased"),
        ({"email": None}, "wait:address", "send", "send"),
        ({"health": health(level="critical", cancelled=True)}, *["cancelled_supplier"] * 3),
    ],
)
def test_who_gets_what(facts: dict[str, Any], email: str, in_app: str, call: str) -> None:
    who = supplier(**{"health": health(level="critical")} | facts)
    got = [
        outcome(decide_one(row(name), facts=who))
        for name in ("no_login_7_days", "signed_up", "became_critical")
    ]
    assert got == [email, in_app, call]


def test_a_rescue_for_a_healthy_supplier_is_not_needed_but_a_celebration_is_fine() -> None:
    well = supplier(health=health(level="healthy", score=80))
    assert outcome(decide_one(row("low_client_adoption"), facts=well)) == "healthy"
    assert outcome(decide_one(row("became_critical"), facts=well)) == "healthy"
    assert outcome(decide_one(row("first_form_created"), facts=well)) == "send"


@pytest.mark.parametrize(
    ("trigger", "now_known"),
    [
        ("no_login_7_days", {"last_login": NINE - 7 * DAY + 1}),
        ("zero_clients_imported", {"features": frozenset({"clients_imported"})}),
        ("stuck_onboarding", {"features": frozenset({"clients_imported", "forms_created"})}),
        ("low_client_adoption", {"known_clients": 10}),
        ("low_client_adoption", {"known_clients": 0}),
        ("high_usage_free_tier", {"plan": "starter"}),
        ("high_usage_free_tier", {"forms_created": 3, "known_clients": 19}),
        ("became_critical", {"level": "at_risk"}),
    ],
)
def test_what_no_longer_holds_is_resolved(trigger: str, now_known: dict[str, Any]) -> None:
    assert outcome(decide_one(row(trigger), facts=supplier(health=health(**now_known)))) == "resolved"


@pytest.mark.parametrize(
    ("trigger", "now_known"),
    [
        ("no_login_7_days", {"last_login": NINE - 7 * DAY}),
        ("no_login_7_days", {"last_login": None, "signed_up_at": NINE - 7 * DAY}),
        ("stuck_onboarding", {"features": frozenset({"clients_imported"})}),
        ("low_client_adoption", {"known_clients": 9}),
        ("high_usage_free_tier", {"forms_created": 0, "known_clients": 20}),
        ("became_at_risk", {"level": "critical"}),
    ],
)
def test_what_still_holds_is_sent(trigger: str, now_known: dict[str, Any]) -> None:
    assert outcome(decide_one(row(trigger), facts=supplier(health=health(**now_known)))) == "send"


def test_a_trigger_that_the_policy_has_no_more_is_paused() -> None:
    smaller = POLICY.model_copy(update={"triggers": POLICY.triggers[1:]})
    [decision] = decide(supplier(), [row("signed_up")], [], NINE, smaller)
    assert (decision.action, decision.reason) == ("suppress", "paused")


# knowledge and time


def test_health_older_than_the_signal_is_waited_for_until_the_row_expires() -> None:
    behind = row("no_login_7_days", seq=11)
    decision = decide_one(behind)
    assert (outcome(decision), decision.until) == ("wait:health", NINE + 72 * HOUR)
    assert outcome(decide_one(behind, now=NINE + 72 * HOUR - 1)) == "wait:health"
    assert outcome(decide_one(behind, now=NINE + 72 * HOUR)) == "expired"
    assert outcome(decide_one(behind, facts=supplier(health=None))) == "wait:health"


def test_an_address_is_waited_for_72_hours() -> None:
    nowhere = supplier(email=None)
    waiting = row("no_login_7_days")
    assert decide_one(waiting, facts=nowhere).until == NINE + 72 * HOUR
    assert outcome(decide_one(waiting, facts=nowhere, now=NINE + 72 * HOUR - 1)) == "wait:address"
    assert outcome(decide_one(waiting, facts=nowhere, now=NINE + 72 * HOUR)) == "no_address"


def test_an_old_message_is_not_sent_late() -> None:
    old = row("no_login_7_days")
    assert outcome(decide_one(old, now=NINE + 72 * HOUR - 1)) == "send"
    assert outcome(decide_one(old, now=NINE + 72 * HOUR)) == "expired"


# caps


def test_three_in_seven_days_and_the_fourth_when_the_first_is_seven_days_old() -> None:
    history = [
        sent("stuck_onboarding", NINE - 7 * DAY),
        sent("signed_up", NINE - 6 * DAY),
        sent("became_critical", NINE - 5 * DAY),
    ]
    due = row("low_client_adoption", NINE - 1)
    assert outcome(decide_one(due, *history, now=NINE - 1)) == "weekly_cap"
    assert outcome(decide_one(due, *history, now=NINE)) == "send"


@pytest.mark.parametrize("status", ["sending", "sent", "unknown"])
def test_what_may_have_been_sent_counts(status: str) -> None:
    history = [sent("signed_up", NINE - day * DAY, status=status) for day in (1, 2, 3)]
    assert outcome(decide_one(row("low_client_adoption"), *history)) == "weekly_cap"


@pytest.mark.parametrize("status", ["scheduled", "suppressed", "failed"])
def test_what_was_not_sent_does_not_count(status: str) -> None:
    history = [sent("signed_up", NINE - day * DAY, status=status) for day in (1, 2, 3)]
    assert outcome(decide_one(row("low_client_adoption"), *history)) == "send"


def test_two_positive_ones_a_week_but_a_rescue_still_goes() -> None:
    history = [sent("signed_up", NINE - 3 * DAY), sent("first_form_created", NINE - 2 * DAY)]
    assert outcome(decide_one(row("high_usage_free_tier"), *history)) == "weekly_cap"
    assert outcome(decide_one(row("low_client_adoption"), *history)) == "send"


def test_a_triggers_own_number_counts_signal_times_not_sending_times() -> None:
    # their first reminder was sent two days late; a week lies between the signals, not between the emails
    late = sent("no_login_7_days", NINE - 7 * DAY, claimed_at=NINE - 5 * DAY)
    assert outcome(decide_one(row("no_login_7_days", NINE), late)) == "send"
    assert outcome(decide_one(row("no_login_7_days", NINE - 1), late, now=NINE)) == "trigger_cap"


def test_two_guides_a_week_and_no_third() -> None:
    history = [sent("zero_clients_imported", NINE - day * DAY) for day in (3, 6)]
    assert outcome(decide_one(row("zero_clients_imported"), history[0])) == "send"
    assert outcome(decide_one(row("zero_clients_imported"), *history)) == "trigger_cap"


def test_a_cap_suppresses_at_once_also_at_night() -> None:
    night = NINE + 14 * HOUR
    history = [sent("signed_up", night - day * DAY) for day in (1, 2, 3)]
    assert outcome(decide_one(row("low_client_adoption", night), *history, now=night)) == "weekly_cap"


def test_quick_win_yields_to_another_rescue_email_for_72_hours() -> None:
    other = sent("low_client_adoption", NINE - 72 * HOUR)
    assert outcome(decide_one(row("became_at_risk", NINE - 1), other, now=NINE - 1)) == "superseded"
    assert outcome(decide_one(row("became_at_risk"), other)) == "send"
    assert outcome(decide_one(row("became_at_risk"), sent("became_critical", NINE - HOUR))) == "send"
    assert outcome(decide_one(row("became_at_risk"), sent("high_usage_free_tier", NINE - DAY))) == "send"


# spacing and celebrations


def test_twenty_hours_lie_between_two_emails() -> None:
    other = sent("low_client_adoption", NINE)
    decision = decide_one(row("stuck_onboarding"), other, now=NINE + MINUTE)
    assert (outcome(decision), decision.until) == (
        "wait:spacing",
        NINE + 23 * HOUR,
    )  # five in the morning: eight
    noon = sent("low_client_adoption", NINE + 3 * HOUR)
    again = NINE + 23 * HOUR
    assert decide_one(row("stuck_onboarding"), noon, now=again - 1).until == again
    assert outcome(decide_one(row("stuck_onboarding"), noon, now=again)) == "send"


def test_an_in_app_message_or_a_call_is_no_email() -> None:
    critical = supplier(health=health(level="critical"))
    history = [sent("signed_up", NINE), sent("became_critical", NINE)]
    assert outcome(decide_one(row("low_client_adoption"), *history, facts=critical)) == "send"


def test_a_celebration_neither_waits_for_nor_delays_another_email() -> None:
    assert outcome(decide_one(row("first_form_created"), sent("low_client_adoption", NINE - HOUR))) == "send"
    assert outcome(decide_one(row("low_client_adoption"), sent("first_form_created", NINE - HOUR))) == "send"


def test_one_celebration_a_day_and_the_others_are_capped() -> None:
    first = sent("first_form_created", NINE - 24 * HOUR)
    assert outcome(decide_one(row("ten_clients_reached", NINE - 1), first, now=NINE - 1)) == "trigger_cap"
    assert outcome(decide_one(row("ten_clients_reached"), first)) == "send"


def test_of_two_celebrations_due_together_the_earlier_one_goes() -> None:
    later, earlier = row("first_form_created", NINE), row("ten_clients_reached", NINE - MINUTE)
    decisions = decide(supplier(), [later, earlier], [], NINE, POLICY)
    assert [(each.row_id, outcome(each)) for each in decisions] == [
        (earlier.id, "send"),
        (later.id, "trigger_cap"),
    ]


def test_the_lower_priority_waits() -> None:
    decisions = decide(
        supplier(),
        [row("no_login_7_days"), row("high_usage_free_tier"), row("low_client_adoption")],
        [],
        NINE,
        POLICY,
    )
    assert [outcome(each) for each in decisions] == ["send", "wait:spacing", "wait:spacing"]


# hours


def test_emails_leave_from_eight_to_twenty() -> None:
    day = NINE - 9 * HOUR
    for now, expected in [
        (day + 8 * HOUR - 1, "wait:hours"),
        (day + 8 * HOUR, "send"),
        (day + 20 * HOUR - 1, "send"),
        (day + 20 * HOUR, "wait:hours"),
    ]:
        assert outcome(decide_one(row("low_client_adoption", now - HOUR), now=now)) == expected
    assert decide_one(row("low_client_adoption", day), now=day + 20 * HOUR).until == day + 32 * HOUR


@pytest.mark.parametrize(
    ("zone", "now", "opens"),
    [
        ("America/New_York", "2026-03-07T22:00", "2026-03-08T08:00"),  # the clock goes forward in between
        ("America/New_York", "2026-10-31T22:00", "2026-11-01T08:00"),  # and back
        ("Europe/London", "2026-03-28T20:00", "2026-03-29T08:00"),
        ("Europe/London", "2026-10-24T20:00", "2026-10-25T08:00"),
        ("Europe/London", "2026-03-29T00:59", "2026-03-29T08:00"),  # the minute before it goes forward
        ("Australia/Lord_Howe", "2026-04-04T23:00", "2026-04-05T08:00"),  # back by half an hour
        ("Africa/Cairo", "2026-04-23T21:00", "2026-04-24T08:00"),  # midnight itself is left out
        ("Asia/Kathmandu", "2026-01-19T07:59", "2026-01-19T08:00"),
        ("Pacific/Apia", "2011-12-29T21:00", "2011-12-31T08:00"),  # the 30th was left out
    ],
)
def test_the_morning_comes_by_their_own_clock(zone: str, now: str, opens: str) -> None:
    at = local(now, zone)
    due = row("zero_clients_imported", at)
    facts = supplier(zone=zone, health=health(signed_up_at=at - 30 * DAY))
    decision = decide_one(due, now=at, facts=facts)
    assert (outcome(decision), decision.until) == ("wait:hours", local(opens, zone))


def test_the_night_in_which_the_clock_changes_is_an_hour_shorter_or_longer() -> None:
    zone = "Europe/London"
    for eve, length in (("2026-03-28T20:00", 11), ("2026-10-24T20:00", 13), ("2026-06-01T20:00", 12)):
        at = local(eve, zone)
        decision = decide_one(row("low_client_adoption", at), now=at, facts=supplier(zone=zone))
        assert decision.until == at + length * HOUR, eve


@pytest.mark.parametrize(
    ("morning", "sent_at"), [("2026-03-29", "2026-03-28T12:00"), ("2026-10-25", "2026-10-24T12:00")]
)
def test_twenty_hours_between_emails_are_hours_that_pass_not_hours_on_their_wall(
    morning: str, sent_at: str
) -> None:
    zone = "Europe/London"
    before = local(sent_at, zone)
    decision = decide_one(
        row("stuck_onboarding", before),
        sent("low_client_adoption", before),
        now=before + HOUR,
        facts=supplier(zone=zone),
    )
    # noon and twenty hours is eight or, where the clock went forward, nine; where it went back, seven: eight
    assert decision.until == max(before + 20 * HOUR, local(f"{morning}T08:00", zone))


@pytest.mark.parametrize(
    ("zone", "opening", "now", "opens_after_minutes"),
    [
        ("Europe/London", 90, "2026-10-25T01:10+01:00", 20),  # 01:30 comes twice: the first
        ("Europe/London", 90, "2026-10-25T01:10+00:00", 20),  # … and the second, when the first is over
        ("Europe/London", 90, "2026-03-29T00:50+00:00", 40),  # 01:30 is left out: 02:30 by the new clock
    ],
)
def test_an_opening_in_the_hour_that_changes_is_never_in_the_past(
    zone: str, opening: int, now: str, opens_after_minutes: int
) -> None:
    at = int(datetime.fromisoformat(now).timestamp()) * 1000
    assert next_open(at, zone, "UTC", opening, 20 * 60) == at + opens_after_minutes * MINUTE


@pytest.mark.parametrize("zone", [None, "Nowhere/Land", ""])
def test_without_a_zone_it_is_utc(zone: str | None) -> None:
    night = NINE + 12 * HOUR
    assert (
        decide_one(row("low_client_adoption", night), now=night, facts=supplier(zone=zone)).until
        == NINE + 23 * HOUR
    )


@pytest.mark.parametrize(
    ("trigger", "cause", "age", "expected"),
    [
        ("first_form_created", "form.created", HOUR - 1, "send"),
        ("first_form_created", "form.created", HOUR, "wait:hours"),
        ("first_form_created", "milestone.reported", 0, "send"),
        ("first_automation_live", "journey.activated", 0, "send"),
        ("ten_clients_reached", "client.imported", 0, "send"),
        ("ten_clients_reached", "client.active", 0, "wait:hours"),
        ("first_payment_received", "payment.received", 0, "wait:hours"),
        ("first_payment_received", "milestone.reported", 0, "wait:hours"),
    ],
)
def test_a_celebration_of_their_own_act_leaves_at_once(
    trigger: str, cause: str, age: int, expected: str
) -> None:
    night = NINE + 14 * HOUR
    due = row(trigger, night - age, cause_type=cause)
    assert outcome(decide_one(due, now=night)) == expected


def test_another_policy_decides_differently() -> None:
    strict = Policy.load().model_copy(update={"caps": POLICY.caps.model_copy(update={"total": 0})})
    [decision] = decide(supplier(), [row("low_client_adoption")], [], NINE, strict)
    assert decision.reason == "weekly_cap"
