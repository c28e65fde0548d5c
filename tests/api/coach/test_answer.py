"""What the coach says of what is known: rules without a database."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.letters.render import ours
from api.coach.answer import CELEBRATED_SINCE_MS, NEWS_MS, NOT_AGAIN_MS, NOT_NOW_MS, coach_of, tip_ids
from api.coach.models import Coach
from api.coach.stream import what_is_new
from scoring.advice.book import book_of
from scoring.advice.milestones import milestones
from scoring.decisions.policy import Policy
from scoring.health.rules import SHIPPED
from scoring.time import DAY
from store.people.coach import Look, Memory, Message, Reached
from topics.time import format_time, parse_time

NOW = parse_time("2026-01-19T09:00:00Z")
CALLS = Policy.load().calls


def snapshot(**parts: Any) -> dict[str, Any]:
    """Two weeks in: five clients, one form, nothing sent yet."""
    return {
        "level": "at_risk",
        "score": 40,
        "sum": 40.0,
        "breakdown": {},
        "features": ["clients_imported", "forms_created"],
        "clients": {"known": 5, "active": 2},
        "forms": {"created": 1, "sent": 0, "completed": 0},
        "journeys": {"active": 0, "sent": 0, "opened": 0},
        "metrics": {"loginFrequency": 1},
        "last_goals": {},
        "plan": "free",
        "cancelled": False,
    } | parts


def look(**parts: Any) -> Look:
    """A photographer named Sarah; keywords replace what is known of them."""
    known: dict[str, Any] = {
        "first_name": "Sarah",
        "vendor_type": "photographer",
        "zone": "Europe/London",
        "all_opt_out": False,
        "paused_until": None,
        "snapshot": snapshot(),
        "milestones": (),
        "messages": (),
        "call_id": None,
        "call_at": None,
        "waits_for_a_time": False,
        "memory": {},
    }
    return Look(**known | parts)


def said(page: str | None = None, **parts: Any) -> Coach:
    """What the coach says of `look(**parts)`."""
    return coach_of(look(**parts), page, NOW, CALLS)


def memory(item: str, what: str, *, ago_ms: int = 0, times: int = 1) -> dict[tuple[str, str], Memory]:
    return {(item, what): Memory(NOW - ago_ms, times)}


def test_a_page_without_a_tip_of_its_own_gets_the_action_that_adds_most():
    tip = said("/reports").tip
    assert tip is not None
    assert tip.id == "send_form"


@pytest.mark.parametrize(
    ("ago_ms", "times", "is_away"),
    [
        (NOT_NOW_MS - 1, 1, True),
        (NOT_NOW_MS, 1, False),
        (NOT_AGAIN_MS - 1, 2, True),
        (NOT_AGAIN_MS, 2, False),
    ],
)
def test_not_now_lasts_a_week_and_then_a_month(ago_ms, times, is_away):
    tip = said("/forms").tip
    assert tip is not None
    later = said("/forms", memory=memory(f"tip:{tip.id}", "dismissed", ago_ms=ago_ms, times=times)).tip
    assert (later is None or later.id != tip.id) == is_away


def test_a_button_never_leads_to_the_page_that_they_are_on():
    here = said(
        "/forms/new/",
        snapshot=snapshot(features=["clients_imported"], forms={"created": 0, "sent": 0, "completed": 0}),
    )
    assert here.tip is not None
    assert here.tip.action is None
    assert "/forms/new" not in [each.action.url for each in here.quick_actions]


def test_quick_actions_leave_out_what_the_tip_says_already():
    everything = said("/journeys")
    assert everything.tip is not None
    assert everything.tip.action is not None
    assert everything.tip.action.url not in [each.action.url for each in everything.quick_actions]


def test_advanced_features_come_once_the_basics_are_familiar():
    beginner = said(
        snapshot=snapshot(features=["clients_imported"], forms={"created": 0, "sent": 0, "completed": 0})
    )
    assert "create_journey" not in [each.id for each in beginner.quick_actions]
    assert "create_journey" in [each.id for each in said("/reports").quick_actions]


def test_setup_counts_steps_not_points():
    setup = said().setup
    assert (setup.done, setup.total, setup.percent) == (3, 7, 42)
    assert said(snapshot=None).setup.done == 1, "an account they have"
    assert said(snapshot=snapshot(score=99, sum=99.0)).setup == setup


@pytest.mark.parametrize(("level", "is_offered"), [("critical", True), ("at_risk", True), ("healthy", False)])
def test_a_call_is_offered_whenever_the_level_is_not_healthy(level, is_offered):
    offer = said(snapshot=snapshot(level=level)).call_offer
    assert (offer is not None) == is_offered


@pytest.mark.parametrize(
    ("age_ms", "conditions", "is_offered"),
    [
        (14 * DAY - 1, {}, False),
        (14 * DAY - 1, {"signed_up": 1}, False),
        (3 * DAY, {"zero_clients_imported": 1}, True),
        (7 * DAY, {"stuck_onboarding": 1}, True),
        (14 * DAY, {}, True),
    ],
)
def test_in_the_first_14_days_the_offer_waits_under_help_until_they_are_stuck(age_ms, conditions, is_offered):
    coach = said(
        snapshot=snapshot(level="critical", signed_up_at=format_time(NOW - age_ms), conditions=conditions)
    )
    assert (coach.call_offer is not None, coach.help is not None) == (is_offered, not is_offered)
    healthy = said(snapshot=snapshot(level="healthy", signed_up_at=format_time(NOW - age_ms)))
    assert (healthy.call_offer, healthy.help) == (None, None)


def test_nobody_is_offered_a_call_twice():
    booked = said(call_id="11111111-1111-4111-8111-111111111111", call_at=NOW + DAY)
    assert (booked.call_offer, booked.call and booked.call.starts_at) == (None, "2026-01-20T09:00:00.000Z")
    assert said(waits_for_a_time=True).call_offer is None


@pytest.mark.parametrize(
    "parts", [{"all_opt_out": True}, {"paused_until": NOW + 1}, {"snapshot": snapshot(cancelled=True)}]
)
def test_who_wants_no_words_gets_none(parts):
    news = {
        "milestones": (Reached("first_form", NOW, celebrated=False),),
        "messages": (Message("11111111-1111-4111-8111-111111111111", "in_app_notification", "welcome"),),
    }
    coach = said("/forms", **news | parts)
    assert coach.state in {"opted_out", "paused", "quiet"}
    assert (coach.tip, coach.quick_actions, coach.celebrations, coach.messages, coach.call_offer) == (
        None,
        [],
        [],
        [],
        None,
    )


def test_a_pause_ends():
    assert said(paused_until=NOW).state == "ready"


@pytest.mark.parametrize(
    ("reached", "memories", "is_celebrated"),
    [
        (Reached("first_form", NOW - 900 * DAY, celebrated=False), {}, True),
        (Reached("first_form", NOW - CELEBRATED_SINCE_MS + 1, celebrated=True), {}, True),
        (Reached("first_form", NOW - CELEBRATED_SINCE_MS, celebrated=True), {}, False),
        (Reached("first_form", NOW, celebrated=True), memory("milestone:first_form", "celebrated"), False),
    ],
)
def test_each_milestone_is_celebrated_once_in_the_coach(reached, memories, is_celebrated):
    """An email that was faster does not take the celebration away, one from long ago does."""
    assert bool(said(milestones=(reached,), memory=memories).celebrations) == is_celebrated


@pytest.mark.parametrize(("known_ms", "is_celebrated"), [(NEWS_MS - 1, True), (NEWS_MS, False)])
def test_what_has_been_old_news_for_a_month_is_not_celebrated_any_more(known_ms, is_celebrated):
    """They open the coach for the first time after a quarter: a modal about their first form would look silly."""
    reached = Reached("first_form", NOW - 900 * DAY, celebrated=False, known_at=NOW - known_ms)
    coach = said(milestones=(reached,))
    assert bool(coach.celebrations) == is_celebrated
    assert [each.type for each in coach.milestones if each.achieved] == ["first_form"]


def test_every_tip_and_action_that_the_coach_shows_may_be_spoken_of():
    coach = said("/forms")
    shown = {each.id for each in coach.quick_actions} | ({coach.tip.id} if coach.tip else set())
    assert len(shown) > 1
    assert shown <= tip_ids(SHIPPED)
    assert "no_such_tip" not in tip_ids(SHIPPED)


def test_a_message_whose_template_is_gone_is_left_out():
    row = Message("11111111-1111-4111-8111-111111111111", "in_app_notification", "nothing_of_the_kind")
    assert said(messages=(row,)).messages == []


def test_the_button_of_a_message_is_its_last_line():
    row = Message("11111111-1111-4111-8111-111111111111", "in_app_notification", "welcome")
    (message,) = said(messages=(row,), snapshot=snapshot(features=[])).messages
    assert message.subject == "Welcome, Sarah"
    assert message.action is not None
    assert (message.action.text, message.action.url) == ("Bring your clients in", "/clients/import")
    assert "http" not in message.text
    assert "/clients/import" not in message.text


def test_the_same_state_has_the_same_cursor_and_another_has_another():
    assert said("/forms").cursor == said("/forms").cursor
    assert said("/forms").cursor != said("/clients").cursor


def test_from_any_cursor_all_news_is_told_once():
    """Whatever a page knows already, following the ids of what it hears brings it to the present state."""
    now = said(
        milestones=(
            Reached("first_form", NOW - 2, celebrated=False),
            Reached("ten_clients", NOW - 1, celebrated=False),
        )
    )
    for start, expected in [
        (None, ["first_form", "ten_clients"]),
        ("nonsense", ["first_form", "ten_clients"]),
        ("0123.first_form", ["ten_clients"]),
        (now.cursor, []),
    ]:
        heard: list[str] = []
        cursor = start
        for _ in range(5):  # more often than there is anything to tell
            news = list(what_is_new(now, cursor))
            if not news:
                break
            if news[0].event == "milestone":  # the line breaks after each event
                heard.append(json.loads(str(news[0].data))["type"])
            cursor = str(news[0].id)
        assert not news, "there is always something new"
        assert heard == expected


@pytest.mark.parametrize(
    ("milestone", "parts", "progress"),
    [
        ("first_form", {"forms": {"created": 0, "sent": 0, "completed": 0}}, 0),
        ("ten_clients", {"clients": {"known": 7, "active": 0}}, 70),
        ("ten_clients", {"clients": {"known": 12, "active": 0}}, 99),
        ("first_automation", {"features": ["journeys_created"]}, 50),
        ("first_payment", {}, 0),
    ],
)
def test_progress_of_a_milestone_is_steps_done(milestone, parts, progress):
    found = {each.type: each for each in milestones(snapshot(**parts), ())}
    assert found[milestone].progress == progress
    assert milestones(snapshot(**parts), (milestone,))[list(found).index(milestone)].progress == 100


def test_the_coach_speaks_the_readers_language() -> None:
    german = said("/forms/new", locale="de-AT", snapshot=snapshot(level="critical"))
    english = said("/forms/new", snapshot=snapshot(level="critical"))
    assert (german.lang, english.lang) == ("de-AT", "en-GB")

    def texts(coach: Coach) -> list[str]:
        return [
            coach.call_offer.text if coach.call_offer else "",
            *(each.title for each in coach.setup.steps),
            *(each.title for each in coach.quick_actions),
            *(each.next_step for each in coach.milestones),
            coach.tip.text if coach.tip else "",
        ]

    assert "" not in texts(german)
    assert len(texts(german)) == len(texts(english))
    assert not set(texts(german)) & set(texts(english))


def test_every_word_of_the_coach_is_there_in_german() -> None:
    letters, book = ours(), book_of(SHIPPED)
    assert letters.data("coaching.toml", "de").keys() == {tip.id for tip in book.tips}
    assert letters.data("recommendations.toml", "de").keys() == book.action_ids
    assert letters.data("milestones.toml", "de").keys() == {each.type for each in milestones(None, ())}
    for entry in book.tips:
        words = letters.data("coaching.toml", "de")[entry.id]
        assert set(words.get("by_vendor", {})) == set(entry.by_vendor), entry.id
    base, german = letters.data("vendors.toml", "en-GB"), letters.data("vendors.toml", "de")
    assert base.keys() == german.keys()
