"""The score and the level (contract section 5), at their boundaries."""

from __future__ import annotations

import pytest

from scoring.health.metrics import Level
from scoring.health.rules import SHIPPED
from scoring.health.silence import edges
from tests.reference.history import DAY
from tests.scoring.health.suppliers import Story, days


@pytest.mark.parametrize(
    ("silent", "points"),
    [
        *((0, 30), (3 * DAY - 1, 30), (3 * DAY, 20), (7 * DAY - 1, 20), (7 * DAY, 10)),
        *((14 * DAY - 1, 10), (14 * DAY, 5), (30 * DAY - 1, 5), (30 * DAY, 0)),
    ],
)
def test_login_points_change_at_exactly_3_7_14_and_30_days(story: Story, silent: int, points: int) -> None:
    story.happens("supplier.logged_in")
    story.silence(silent)
    assert story.now["breakdown"]["loginFrequency"] == points


def test_login_frequency_is_whole_days_rounded_down(story: Story) -> None:
    story.happens("supplier.logged_in")
    story.happens("supplier.cancelled", days(2) - 1)
    assert story.now["metrics"]["loginFrequency"] == 1


def test_login_frequency_is_999_if_never_and_at_most_999(story: Story) -> None:
    story.happens("supplier.signed_up")
    assert story.now["metrics"]["loginFrequency"] == 999
    story.happens("supplier.logged_in")
    story.happens("supplier.cancelled", days(1500))
    assert story.now["metrics"]["loginFrequency"] == 999


def test_each_key_feature_counts_once(story: Story) -> None:
    story.happens("form.created", times=3)
    assert story.now["breakdown"]["featureAdoption"] == 6.25
    story.imports(1)
    story.happens("journey.created")
    story.happens("template.used", times=2)
    assert story.now["breakdown"]["featureAdoption"] == 25
    assert story.now["features"] == [
        "clients_imported",
        "forms_created",
        "journeys_created",
        "templates_used",
    ]


def test_a_client_is_active_at_30_days_and_not_a_millisecond_later(story: Story) -> None:
    story.happens("client.active", client_id="c0")
    story.silence(days(30))
    assert story.now["breakdown"]["clientActivity"] == 25
    story.silence(days(30) + 1)
    now = story.now
    assert now["breakdown"]["clientActivity"] == 0
    assert now["calculated_at"] == "2026-02-04T09:00:00.001Z"


def test_importing_is_not_activity(story: Story) -> None:
    story.imports(4)
    assert story.now["clients"] == {"known": 4, "active": 0}
    story.active(1)
    assert story.now["breakdown"]["clientActivity"] == 6.25


def test_importing_an_active_client_again_leaves_it_active(story: Story) -> None:
    story.active(1)
    story.imports(1)
    assert story.now["clients"] == {"known": 1, "active": 1}


def test_removing_a_client_forgets_it_and_its_activity(story: Story) -> None:
    story.imports(2)
    story.active(1)
    story.happens("client.removed", 1, client_id="c0")
    assert story.now["clients"] == {"known": 1, "active": 0}
    story.imports(1, at=2)
    assert story.now["clients"] == {"known": 2, "active": 0}


def test_a_removed_client_that_returns_is_as_old_as_its_new_activity(story: Story) -> None:
    story.happens("client.active", days(5), client_id="c0")
    story.happens("client.removed", days(6), client_id="c0")
    story.happens("client.active", days(1), client_id="c0")  # late
    story.silence(days(31) + 1)
    assert story.now["clients"] == {"known": 1, "active": 0}


def test_removing_an_unknown_client_changes_nothing(story: Story) -> None:
    story.imports(1)
    story.happens("client.removed", client_id="nobody")
    assert story.now["clients"]["known"] == 1


@pytest.mark.parametrize("event_type", ["form.completed", "journey.email_opened"])
def test_what_a_client_does_is_its_activity(story: Story, event_type: str) -> None:
    story.happens(event_type, client_id="c0")
    assert story.now["clients"] == {"known": 1, "active": 1}


@pytest.mark.parametrize("event_type", ["form.completed", "journey.email_opened"])
def test_without_a_client_it_is_nobodys(story: Story, event_type: str) -> None:
    story.happens(event_type)
    assert story.now["clients"] == {"known": 0, "active": 0}


@pytest.mark.parametrize("event_type", ["form.sent", "journey.email_sent"])
def test_being_sent_something_is_no_activity(story: Story, event_type: str) -> None:
    story.happens(event_type, client_id="c0")
    assert story.now["clients"] == {"known": 0, "active": 0}


def test_form_completion_is_at_most_1_and_0_without_sends(story: Story) -> None:
    story.happens("form.completed", times=2)
    assert story.now["breakdown"]["formCompletion"] == 0
    story.happens("form.sent")
    assert story.now["breakdown"]["formCompletion"] == 10
    story.happens("form.sent", times=3)
    assert story.now["breakdown"]["formCompletion"] == 5


def test_journey_dates_leave_at_midnight_utc_after_30_dates(midnight_story: Story) -> None:
    story = midnight_story
    last_of_the_day = days(1) - 1
    story.happens("journey.email_sent", last_of_the_day)
    story.happens("journey.email_opened", last_of_the_day)
    story.silence(days(30) - 1)
    assert story.now["breakdown"]["journeyPerformance"] == 10
    story.silence(days(30))
    now = story.now
    assert now["breakdown"]["journeyPerformance"] == 0
    assert now["calculated_at"] == "2026-02-04T00:00:00.000Z"


def test_an_email_of_midnight_counts_for_the_day_that_begins(midnight_story: Story) -> None:
    story = midnight_story
    story.happens("journey.email_sent", days(1))
    story.happens("journey.email_opened", days(1))
    story.silence(days(30))
    assert story.now["breakdown"]["journeyPerformance"] == 10
    story.silence(days(31))
    assert story.now["breakdown"]["journeyPerformance"] == 0


def test_opens_and_sends_count_on_their_own_dates(midnight_story: Story) -> None:
    story = midnight_story
    story.happens("journey.email_sent", days(1) - 1)
    story.happens("journey.email_sent", days(2))
    story.happens("journey.email_opened", days(2))
    assert story.now["breakdown"]["journeyPerformance"] == 5
    story.silence(days(30))  # the first send's date leaves: one send, one open
    assert story.now["breakdown"]["journeyPerformance"] == 10


def test_39_6_shows_40_and_is_critical(story: Story) -> None:
    story.happens("supplier.logged_in")
    story.happens("form.completed", times=24)
    story.happens("form.sent", times=25)
    now = story.now
    assert (now["sum"], now["score"], now["level"]) == (39.6, 40, "critical")


def test_75_75_shows_76_and_is_healthy(story: Story) -> None:
    """The metrics of spec.md's unit test: the formula stands, the answer is 76."""
    story.happens("supplier.logged_in")
    story.imports(5)
    story.happens("form.created")
    story.happens("template.used")
    story.active(3)
    story.happens("form.sent", times=5)
    story.happens("form.completed", times=4)
    story.happens("journey.email_sent", times=5)
    story.happens("journey.email_opened", times=2)
    story.happens("supplier.cancelled", days(1))
    now = story.now
    assert now["sum"] == 30 + 18.75 + 15 + 8 + 4
    assert (now["sum"], now["score"], now["level"]) == (75.75, 76, "healthy")


def test_the_first_evaluation_takes_the_plain_level(story: Story) -> None:
    (change,) = story.happens("supplier.logged_in")
    assert (change.data["previous"], change.data["level"], change.data["score"]) == (None, "critical", 30)


def test_better_only_at_threshold_plus_3_critical_to_at_risk(story: Story) -> None:
    story.happens("supplier.logged_in")
    story.happens("form.created")
    story.happens("form.sent", times=40)
    story.happens("form.completed", times=26)
    assert (story.now["sum"], story.now["level"]) == (42.75, "critical")
    story.happens("form.completed")
    assert (story.now["sum"], story.now["level"]) == (43, "at_risk")


def test_worse_at_once_below_40_but_not_at_40(story: Story) -> None:
    story.happens("supplier.logged_in")
    story.happens("form.created")
    story.happens("form.completed", times=27)
    story.happens("form.sent", times=72)
    assert (story.now["sum"], story.now["level"]) == (40, "at_risk")
    story.happens("form.sent")
    assert story.now["sum"] == pytest.approx(30 + 6.25 + 270 / 73, abs=1e-9)
    assert story.now["level"] == "critical"


def test_better_only_at_threshold_plus_3_at_risk_to_healthy(story: Story) -> None:
    story.happens("supplier.logged_in")
    story.imports(5)
    story.uses_all_features()
    story.active(3)
    assert (story.now["sum"], story.now["level"]) == (70, "at_risk")
    story.happens("form.sent", times=10)
    story.happens("form.completed", times=2)
    assert (story.now["sum"], story.now["level"]) == (72, "at_risk")
    story.happens("form.completed")
    assert (story.now["sum"], story.now["level"]) == (73, "healthy")


def test_worse_at_once_below_70_but_not_at_70(story: Story) -> None:
    story.happens("supplier.logged_in")
    story.imports(1)
    story.uses_all_features()
    story.active(1)
    story.silence(days(3))
    assert (story.now["sum"], story.now["level"]) == (70, "healthy")
    story.silence(days(7) - 1)
    assert story.risk_changes()[-1][:2] == ("at_risk", "healthy")
    story.silence(days(7))
    assert story.risk_changes()[-1] == ("healthy", "at_risk", days(7))


def test_from_critical_71_is_at_risk_only(story: Story) -> None:
    """The better level is the one whose threshold plus 3 has been reached."""
    story.imports(5)
    story.uses_all_features()
    story.active(3)
    story.happens("form.sent", times=10)
    story.happens("form.completed", times=1)
    assert (story.now["sum"], story.now["level"]) == (41, "critical")
    story.happens("supplier.logged_in")
    assert (story.now["sum"], story.now["level"]) == (71, "at_risk")


def test_silence_is_forecast(story: Story) -> None:
    story.happens("supplier.logged_in")
    story.imports(1)
    story.uses_all_features()
    story.active(1)
    now = story.now
    assert now["next_change_at"] == "2026-01-08T09:00:00.000Z"
    assert (now["next_level_if_silent"], now["next_level_at"]) == ("at_risk", "2026-01-12T09:00:00.000Z")
    story.silence(days(31))
    now = story.now
    assert (now["next_change_at"], now["next_level_if_silent"], now["next_level_at"]) == (None, None, None)


@pytest.mark.parametrize("level", ["critical", "at_risk", "healthy"])
def test_the_forecasts_edges_are_those_of_the_level_itself(level: Level) -> None:
    low, high = edges(level, SHIPPED)
    for score_sum in [*range(101), 39.999999999, 42.999999999, 69.999999999, 72.999999999]:
        assert (low <= score_sum < high) == (SHIPPED.next_level(level, score_sum) == level)
