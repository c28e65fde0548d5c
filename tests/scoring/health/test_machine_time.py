"""The supplier's clock (contract section 4), ids, causes and what a snapshot owes."""

from __future__ import annotations

import itertools
from uuid import NAMESPACE_URL, uuid5

import pytest

from tests.reference.events import event
from tests.reference.naive import change_id
from tests.scoring.health.suppliers import MONDAY_9, SUPPLIER, Story, days

NAMESPACE = uuid5(NAMESPACE_URL, "https://wedsync.example/success")

# -- the clock -----------------------------------------------------------------------------------------


def test_nothing_happens_before_the_first_event(story: Story) -> None:
    assert story.silence(days(400)) == []


def test_a_tick_does_not_move_the_clock(story: Story) -> None:
    """Only events and what falls due do: an event before the tick is not late."""
    story.happens("supplier.logged_in")
    story.silence(days(2))
    story.happens("form.created", days(1))
    assert story.now["calculated_at"] == "2026-01-06T09:00:00.000Z"


def test_what_falls_due_moves_the_clock(story: Story) -> None:
    story.happens("supplier.logged_in")
    story.silence(days(3))
    story.happens("form.created", days(1))  # late now
    assert story.now["calculated_at"] == "2026-01-08T09:00:00.000Z"


def test_a_condition_that_does_not_hold_when_due_moves_no_clock(story: Story) -> None:
    """Seven days after sign-up with two key features used, nothing falls due."""
    story.happens("supplier.signed_up")
    story.imports(1)
    story.happens("form.created")
    story.happens("supplier.logged_in", 1)
    story.silence(days(7))
    story.happens("template.used", days(6))
    assert story.now["calculated_at"] == "2026-01-11T09:00:00.000Z"


def test_an_event_first_fires_what_is_due_each_at_its_own_time(story: Story) -> None:
    story.happens("supplier.signed_up")
    story.happens("supplier.logged_in")
    signals = story.happens("supplier.logged_in", days(40))
    fired = [s for s in signals if s.at < MONDAY_9 + days(40)]
    assert [s.at for s in fired] == sorted(s.at for s in fired)
    assert story.when("onboarding_ended") == [days(14)]
    assert signals.index(fired[-1]) == len(fired) - 1


def test_in_pieces_or_at_once_silence_is_the_same(story: Story) -> None:
    other = Story("machine")
    for told in (story, other):
        told.happens("supplier.signed_up", plan="free")
        told.happens("supplier.logged_in")
    story.silence(days(40))
    for day in range(41):
        other.silence(days(day))
    assert [(s.id, s.at) for s in story.signals] == [(s.id, s.at) for s in other.signals]


def test_a_late_event_counts_and_is_evaluated_at_the_clock(story: Story) -> None:
    story.happens("supplier.signed_up", days(10))
    signals = story.happens("form.created", days(1))
    assert signals[0].at == MONDAY_9 + days(1)
    now = story.now
    assert now["calculated_at"] == "2026-01-15T09:00:00.000Z"
    assert now["breakdown"]["featureAdoption"] == 6.25


def test_a_late_login_leaves_the_greatest_in_place(story: Story) -> None:
    story.happens("supplier.logged_in", days(2))
    story.happens("supplier.logged_in", days(1))
    assert story.now["last_login"] == "2026-01-07T09:00:00.000Z"


def test_a_first_login_that_is_late_is_judged_at_the_clock(story: Story) -> None:
    story.happens("form.created", days(10))
    story.happens("supplier.logged_in", days(5))
    assert story.now["breakdown"]["loginFrequency"] == 20
    story.silence(days(12))
    assert story.now["breakdown"]["loginFrequency"] == 10


def test_late_activity_is_no_older_than_what_is_known(story: Story) -> None:
    story.happens("client.active", days(20), client_id="c0")
    story.happens("client.active", days(1), client_id="c0")
    story.silence(days(50))
    assert story.now["clients"]["active"] == 1


@pytest.mark.parametrize(("late_at", "active"), [(days(10), 1), (days(10) - 1, 0)])
def test_late_activity_counts_if_it_is_no_older_than_30_days(story: Story, late_at: int, active: int) -> None:
    story.happens("supplier.cancelled", days(40))
    story.happens("client.active", late_at, client_id="c0")
    assert story.now["clients"] == {"known": 1, "active": active}


def test_a_late_journey_email_counts_only_within_the_window(midnight_story: Story) -> None:
    story = midnight_story
    story.happens("supplier.cancelled", days(40))  # dates 11 to 40 count
    story.happens("journey.email_sent", days(11) - 1)
    assert story.now["journeys"]["sent"] == 0
    story.happens("journey.email_sent", days(11))
    assert story.now["journeys"]["sent"] == 1


def test_due_at_or_behind_the_clock_when_its_cause_arrives_does_not_fire(story: Story) -> None:
    story.happens("form.created", days(7))
    story.happens("supplier.signed_up", 0)  # late: seven days are over just now
    story.silence(days(60))
    assert story.when("stuck_onboarding") == []
    assert story.when("no_login_7_days") == [days(14), days(21), days(28)]
    assert story.when("zero_clients_imported") == [days(9)]
    assert story.when("onboarding_ended") == [days(14)]


# -- facts that replace one another -----------------------------------------------------------------------


def test_of_two_plans_the_newer_event_holds_whatever_arrives_last(story: Story) -> None:
    story.happens("plan.changed", 5, plan="scale")
    story.happens("plan.changed", 4, plan="starter")
    assert story.now["plan"] == "scale"
    story.happens("plan.changed", 5, plan="professional")  # same time: the later arrival
    assert story.now["plan"] == "professional"


def test_consent_goes_by_scope_and_by_event_time(story: Story) -> None:
    story.happens("communication.opted_out", 5, scope="email")
    story.happens("communication.opted_in", 4, scope="email")
    story.happens("communication.opted_in", 6, scope="all")
    assert story.now["consent"] == {
        "email_opt_out": True,
        "email_at": "2026-01-05T09:00:00.005Z",
        "all_opt_out": False,
        "all_at": "2026-01-05T09:00:00.006Z",
    }


def test_of_two_consents_of_one_millisecond_the_later_arrival_holds(story: Story) -> None:
    for said, opted_out in (("communication.opted_out", True), ("communication.opted_in", False)):
        story.happens(said, scope="all")
        assert story.now["consent"]["all_opt_out"] is opted_out


def test_a_cancellation_holds_until_a_newer_reactivation(story: Story) -> None:
    story.happens("supplier.cancelled", 5)
    story.happens("supplier.reactivated", 4)
    now = story.now
    assert (now["cancelled"], now["cancelled_at"]) == (True, "2026-01-05T09:00:00.005Z")
    story.happens("supplier.reactivated", 5)
    now = story.now
    assert (now["cancelled"], now["cancelled_at"]) == (False, None)


def test_a_journey_is_active_by_its_newest_switch(story: Story) -> None:
    story.happens("journey.activated", 1, journey_id="a")
    story.happens("journey.activated", 1, journey_id="b")
    story.happens("journey.deactivated", 3, journey_id="a")
    story.happens("journey.activated", 2, journey_id="a")  # late
    assert story.now["journeys"]["active"] == 1


# -- repeated events ---------------------------------------------------------------------------------------


def test_a_repeated_event_is_ignored_and_fires_nothing(story: Story) -> None:
    story.arrives(event("form.created", MONDAY_9, "same"))
    before = story.now
    assert story.arrives(event("supplier.logged_in", MONDAY_9 + days(20), "same")) == []
    told = {"changes": [], "goals": {}}
    assert story.now | told == before | told


def test_the_same_id_of_another_source_is_another_event(story: Story) -> None:
    story.arrives(event("form.created", MONDAY_9, "same", "/a"))
    story.arrives(event("form.created", MONDAY_9, "same", "/b"))
    assert story.now["forms"]["created"] == 2


def test_the_last_256_events_are_remembered(story: Story) -> None:
    first = event("form.created", MONDAY_9, "first")
    story.arrives(first)
    story.happens("form.sent", 1, times=255)
    story.arrives(first)
    assert story.now["forms"]["created"] == 1


# -- ids ------------------------------------------------------------------------------------------------------


def test_ids_follow_from_supplier_type_name_and_cause(story: Story) -> None:
    story.arrives(event("form.created", MONDAY_9, "e-1", "/forms"))
    story.happens("supplier.logged_in", 1)
    story.silence(days(7) + 1)
    ids = {s.data.get("milestone") or s.data.get("condition") or s.data["level"]: s.id for s in story.signals}
    expected = {
        "first_form": "success.milestone.achieved|first_form|",
        "critical": "success.risk.changed|critical|/forms|e-1",
        "no_login_7_days": "success.condition.met|no_login_7_days|time:2026-01-12T09:00:00.001Z",
    }
    story_ids = {name: str(uuid5(NAMESPACE, f"{SUPPLIER}|{rest}")) for name, rest in expected.items()}
    assert {name: ids[name] for name in expected} == story_ids


# -- seq, causes, changes ------------------------------------------------------------------------------------


def test_seq_counts_events_and_changes_of_the_sum_by_time(story: Story) -> None:
    story.happens("supplier.signed_up")
    story.happens("supplier.logged_in")
    assert story.now["seq"] == 2
    story.silence(days(3))
    assert story.now["seq"] == 3
    story.silence(days(14))  # 7 and 14 days; the other conditions change no sum
    assert story.now["seq"] == 5
    assert [s.data["seq"] for s in story.of("onboarding_ended")] == [5]


def test_causes_of_risk_changes_add_up(story: Story) -> None:
    """From one risk change to the next, each component's deltas lead from breakdown to breakdown."""
    story.happens("supplier.logged_in")
    story.imports(4)
    story.uses_all_features()
    story.active(4, at=1)
    story.happens("client.removed", 2, client_id="c0")
    story.silence(days(40))
    changes = [s.data for s in story.signals if s.type == "success.risk.changed"]
    assert [change["level"] for change in changes] == [
        "critical",
        "at_risk",
        "healthy",
        "at_risk",
        "critical",
    ]
    before = dict.fromkeys(changes[0]["breakdown"], 0.0)
    for change in changes:
        after = {
            name: before[name]
            + sum(c["after"] - c["before"] for c in change["causes"] if c["component"] == name)
            for name in before
        }
        assert after == pytest.approx(change["breakdown"], abs=1e-9)
        before = change["breakdown"]


def test_causes_beyond_20_merge_into_earlier_ones(story: Story) -> None:
    story.happens("supplier.logged_in")
    story.happens("form.sent", 1)
    for _ in range(15):
        story.happens("form.completed", 2)
        story.happens("form.sent", 2, times=2)
    story.imports(30, at=3)
    story.uses_all_features(at=3)
    (change,) = [s for s in story.signals if s.data.get("level") == "at_risk"]
    causes = change.data["causes"]
    assert len(causes) == 20
    assert causes[0]["event"] == "earlier"
    for component in {cause["component"] for cause in causes}:
        chain = [cause for cause in causes if cause["component"] == component]
        assert all(a["after"] == b["before"] for a, b in itertools.pairwise(chain))
        assert chain[-1]["after"] == change.data["breakdown"][component]


def test_a_snapshot_owes_each_change_once(story: Story) -> None:
    story.happens("supplier.logged_in")
    story.happens("form.created", 1)
    story.happens("form.created", 2)  # changes nothing that shows
    first = story.now["changes"]
    assert [(change["seq"], change["score"], change["level"]) for change in first] == [
        (1, 30, "critical"),
        (2, 36, "critical"),
    ]
    assert story.now["changes"] == []
    story.silence(days(3))
    (change,) = story.now["changes"]
    assert (change["at"], change["score"]) == ("2026-01-08T09:00:00.000Z", 26)
    assert change["causes"] == [{"component": "loginFrequency", "before": 30, "after": 20, "event": "time"}]
    assert change["id"] == change_id(SUPPLIER, 4)
