"""Milestones and conditions (contract section 6): when each is met, how often, and in which order."""

from __future__ import annotations

import pytest

from tests.reference.history import HOUR
from tests.scoring.health.suppliers import MONDAY_9, Story, days

# -- milestones ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event_type", "milestone"),
    [
        ("form.created", "first_form"),
        ("journey.activated", "first_automation"),
        ("payment.received", "first_payment"),
    ],
)
def test_the_first_of_its_kind_is_a_milestone_once(story: Story, event_type: str, milestone: str) -> None:
    data = {"journey_id": "j"} if event_type.startswith("journey") else {}
    signals = story.happens(event_type, 5, **data)
    assert [signal.data.get("milestone") for signal in signals][:1] == [milestone]
    assert signals[0].data["cause_type"] == event_type
    assert signals[0].at == MONDAY_9 + 5
    story.happens(event_type, 6, **data)
    assert len(story.of(milestone)) == 1


def test_ten_clients_at_the_tenth_known_client(story: Story) -> None:
    story.imports(9)
    assert not story.of("ten_clients")
    story.happens("form.completed", 1, client_id="c9")
    (signal,) = story.of("ten_clients")
    assert signal.data["cause_type"] == "form.completed"


def test_a_milestone_is_for_ever(story: Story) -> None:
    """Losing a client and reaching ten again awards nothing."""
    story.imports(10)
    story.happens("client.removed", 1, client_id="c0")
    story.imports(1, at=2)
    assert story.when("ten_clients") == [0]


@pytest.mark.parametrize("milestone", ["first_form", "ten_clients", "first_automation", "first_payment"])
def test_a_reported_milestone_is_awarded_like_the_event_it_stands_for(story: Story, milestone: str) -> None:
    story.happens("milestone.reported", milestone=milestone)
    story.happens("form.created", 1)
    story.happens("journey.activated", 1, journey_id="j")
    story.happens("payment.received", 1)
    story.imports(10, at=1)
    assert story.when(milestone) == [0]
    assert len([s for s in story.signals if s.type == "success.milestone.achieved"]) == 4


def test_a_reported_milestone_is_no_use_of_a_feature(story: Story) -> None:
    story.happens("milestone.reported", milestone="first_form")
    assert story.now["features"] == []
    assert story.now["forms"]["created"] == 0


def test_within_one_event_milestones_come_before_the_level_and_conditions_after(story: Story) -> None:
    story.happens("supplier.signed_up", plan="free")
    story.happens("supplier.logged_in")
    story.happens("form.created")
    story.happens("form.sent", times=2)
    story.happens("form.completed")
    signals = story.imports(20, at=1)
    assert [s.data.get("milestone") or s.data.get("condition") or s.data["level"] for s in signals] == [
        "ten_clients",
        "at_risk",
        "high_usage_free_tier",
    ]


# -- sign-up and onboarding ----------------------------------------------------------------------------


def test_signed_up_once_and_later_ones_only_set_the_plan(story: Story) -> None:
    story.happens("supplier.signed_up", plan="free")
    story.happens("supplier.signed_up", days(1), plan="starter")
    assert story.when("signed_up") == [0]
    now = story.now
    assert (now["plan"], now["signed_up_at"]) == ("starter", "2026-01-05T09:00:00.000Z")


def test_a_sign_up_without_a_plan_changes_none(story: Story) -> None:
    story.happens("plan.changed", plan="scale")
    story.happens("supplier.signed_up", 1)
    assert story.now["plan"] == "scale"


def test_zero_clients_72_hours_after_sign_up_three_times(story: Story) -> None:
    story.happens("supplier.signed_up")
    story.silence(days(60))
    assert story.when("zero_clients_imported") == [72 * HOUR, 144 * HOUR, 216 * HOUR]
    assert [s.data["occurrence"] for s in story.of("zero_clients_imported")] == [1, 2, 3]


def test_an_import_at_exactly_72_hours_comes_after_the_condition(story: Story) -> None:
    story.happens("supplier.signed_up")
    story.imports(1, at=72 * HOUR)
    story.silence(days(60))
    assert story.when("zero_clients_imported") == [72 * HOUR]


def test_an_import_before_prevents_it_even_when_the_client_is_removed(story: Story) -> None:
    story.happens("supplier.signed_up")
    story.imports(1, at=72 * HOUR - 1)
    story.happens("client.removed", 72 * HOUR - 1, client_id="c0")
    story.silence(days(60))
    assert story.when("zero_clients_imported") == []


def test_a_client_known_by_activity_alone_was_never_imported(story: Story) -> None:
    story.happens("supplier.signed_up")
    story.active(3)
    story.silence(72 * HOUR)
    assert story.when("zero_clients_imported") == [72 * HOUR]


@pytest.mark.parametrize(("features", "fires"), [(0, True), (1, True), (2, False)])
def test_stuck_7_days_after_sign_up_with_at_most_1_key_feature(
    story: Story, features: int, fires: bool
) -> None:
    story.happens("supplier.signed_up")
    for event_type in ("form.created", "template.used")[:features]:
        story.happens(event_type, 1)
    story.silence(days(60))
    assert story.when("stuck_onboarding") == ([days(7)] if fires else [])


@pytest.mark.parametrize(("clients", "fires"), [(0, False), (1, True), (9, True), (10, False)])
def test_low_adoption_14_days_after_sign_up_with_1_to_9_clients(
    story: Story, clients: int, fires: bool
) -> None:
    story.happens("supplier.signed_up")
    story.imports(clients, at=1)
    story.silence(days(60))
    assert story.when("low_client_adoption") == ([days(14)] if fires else [])


def test_what_does_not_hold_when_due_does_not_fire_later(story: Story) -> None:
    story.happens("supplier.signed_up")
    story.imports(10, at=1)
    story.silence(days(14))
    story.happens("client.removed", days(14), client_id="c0")
    story.silence(days(60))
    assert story.when("low_client_adoption") == []


def test_onboarding_ends_after_14_days_with_the_level_then(story: Story) -> None:
    story.happens("supplier.signed_up")
    story.imports(10)
    story.uses_all_features()
    story.active(10, at=days(13))
    story.happens("supplier.logged_in", days(13))
    story.silence(days(60))
    (signal,) = story.of("onboarding_ended")
    assert (signal.at - MONDAY_9, signal.data["level"]) == (days(14), "healthy")


def test_conditions_of_one_instant_come_in_their_order_after_the_level(story: Story) -> None:
    """Login band, reminder, low adoption and the end of onboarding all fall on day 14."""
    story.happens("supplier.signed_up")
    story.happens("supplier.logged_in")
    story.happens("form.created")
    story.imports(4)
    story.active(3)
    story.silence(days(14) - 1)
    signals = story.silence(days(14))
    assert [s.data.get("condition") or s.type for s in signals] == [
        "success.risk.changed",
        "no_login_7_days",
        "low_client_adoption",
        "onboarding_ended",
    ]
    assert [s.data["level"] for s in signals] == ["critical"] * 4


# -- the 7-day series ----------------------------------------------------------------------------------


def test_no_login_every_7_days_four_times(story: Story) -> None:
    story.happens("supplier.logged_in")
    story.silence(days(100))
    assert story.when("no_login_7_days") == [days(7), days(14), days(21), days(28)]


def test_no_login_counts_from_sign_up_if_never(story: Story) -> None:
    story.happens("supplier.signed_up")
    story.silence(days(100))
    assert story.when("no_login_7_days") == [days(7), days(14), days(21), days(28)]


def test_without_login_and_sign_up_there_is_no_series(story: Story) -> None:
    story.happens("form.created")
    story.silence(days(100))
    assert story.when("no_login_7_days") == []


def test_a_login_restarts_the_series_and_not_the_count(story: Story) -> None:
    story.happens("supplier.logged_in")
    story.silence(days(15))
    story.happens("supplier.logged_in", days(15))
    story.silence(days(100))
    assert story.when("no_login_7_days") == [days(n) for n in (7, 14, 22, 29, 36, 43)]
    assert [s.data["occurrence"] for s in story.of("no_login_7_days")] == [1, 2, 3, 4, 5, 6]


def test_a_login_at_exactly_7_days_comes_after_the_condition(story: Story) -> None:
    story.happens("supplier.logged_in")
    signals = story.happens("supplier.logged_in", days(7))
    assert signals[0].data["condition"] == "no_login_7_days"


def test_a_late_older_login_does_not_restart_the_series(story: Story) -> None:
    story.happens("supplier.logged_in", days(2))
    story.happens("supplier.logged_in", days(1))
    story.silence(days(9))
    assert story.when("no_login_7_days") == [days(9)]


def test_a_sign_up_after_a_login_does_not_restart_the_series(story: Story) -> None:
    story.happens("supplier.logged_in")
    story.happens("supplier.signed_up", days(5))
    story.silence(days(8))
    assert story.when("no_login_7_days") == [days(7)]


# -- the free plan's limits ----------------------------------------------------------------------------


def test_high_usage_at_20_clients(story: Story) -> None:
    story.happens("supplier.signed_up", plan="free")
    story.imports(19, at=1)
    assert not story.of("high_usage_free_tier")
    story.imports(1, at=2, first=19)
    assert story.when("high_usage_free_tier") == [2]


def test_high_usage_at_4_forms(story: Story) -> None:
    story.happens("supplier.signed_up", plan="free")
    story.happens("form.created", 1, times=3)
    assert not story.of("high_usage_free_tier")
    story.happens("form.created", 2, times=3)
    assert story.when("high_usage_free_tier") == [2]


def test_high_usage_is_for_the_free_plan_only(story: Story) -> None:
    story.happens("form.created", times=5)
    story.happens("plan.changed", 1, plan="starter")
    assert not story.of("high_usage_free_tier")


def test_high_usage_already_reached_when_the_plan_begins_and_once_per_stay(story: Story) -> None:
    story.happens("form.created", times=4)
    story.happens("plan.changed", 1, plan="free")
    story.happens("plan.changed", 2, plan="free")
    story.happens("plan.changed", 3, plan="starter")
    story.happens("plan.changed", 4, plan="free")
    assert story.when("high_usage_free_tier") == [1, 4]
    assert [s.data["occurrence"] for s in story.of("high_usage_free_tier")] == [1, 2]


def test_a_late_older_plan_ends_no_stay(story: Story) -> None:
    story.happens("form.created", times=4)
    story.happens("plan.changed", 5, plan="free")
    story.happens("plan.changed", 4, plan="starter")
    story.happens("form.created", 6)
    assert story.now["plan"] == "free"
    assert story.when("high_usage_free_tier") == [5]
