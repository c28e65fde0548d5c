"""Coaching tips: chosen by page, stage and vendor type; all of the data file is sound."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from scoring.advice.book import COACHING, Book, book_of, shipped
from scoring.advice.coaching import page_name, stage, tips
from scoring.health.rules import SHIPPED, Rules

PAGES = ("dashboard", "clients", "forms", "journeys", "templates", "payments", "settings")
VENDORS = ("photographer", "venue", "florist", "caterer", "planner", "dj", "band", "cake_maker", None)


def snapshot(**given: Any) -> dict[str, Any]:
    return {
        "level": "at_risk",
        "breakdown": {"loginFrequency": 30.0},
        "features": ["clients_imported", "forms_created", "journeys_created"],
        "clients": {"known": 12, "active": 3},
        "forms": {"created": 1, "sent": 4, "completed": 2},
        "journeys": {"active": 0, "sent": 3, "opened": 1},
        "plan": "free",
        "last_goals": {},
    } | given


NEW = snapshot(
    features=[],
    clients={"known": 0, "active": 0},
    forms={"created": 0, "sent": 0, "completed": 0},
    journeys={"active": 0, "sent": 0, "opened": 0},
)
THRIVING = snapshot(
    level="healthy",
    features=["clients_imported", "forms_created", "journeys_created", "templates_used"],
    clients={"known": 12, "active": 12},
    forms={"created": 1, "sent": 4, "completed": 4},
    journeys={"active": 1, "sent": 3, "opened": 3},
)
STAGES = {"onboarding": NEW, "engagement": snapshot(), "growth": THRIVING}


@pytest.mark.parametrize(("expected", "health"), STAGES.items())
def test_the_stage_follows_set_up_and_health(expected: str, health: dict[str, Any]) -> None:
    assert stage(health) == expected
    assert {each.category for each in tips(health)} == {expected}


def test_many_clients_without_set_up_are_still_onboarding() -> None:
    assert stage(snapshot(features=["clients_imported"], level="healthy")) == "onboarding"


@pytest.mark.parametrize(("health", "page"), list(product(STAGES.values(), PAGES)))
def test_there_is_something_to_say_on_every_page(health: dict[str, Any], page: str) -> None:
    if health is THRIVING or page not in {"payments", "settings", "templates"}:
        assert tips(health, page)


def test_the_pages_own_tips_come_first_and_no_other_pages() -> None:
    entries = {entry.id: entry for entry in book_of(SHIPPED).tips}
    for health in STAGES.values():
        found = [entries[each.id] for each in tips(health, "/forms/new")]
        here = ["forms" in entry.pages for entry in found]
        assert here == sorted(here, reverse=True)
        assert all("forms" in entry.pages or not entry.pages for entry in found)


def test_what_adds_most_points_comes_first_within_a_stage() -> None:
    found = [each.points for each in tips(snapshot()) if each.category == "engagement"]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0


def test_a_tip_leads_to_its_recommendation() -> None:
    tip = next(each for each in tips(snapshot(), "forms") if each.id == "nudge_one_couple")
    assert tip.recommendation is not None
    assert tip.recommendation.id == "remind_about_form"
    assert tip.points == tip.recommendation.points > 0


def test_a_tip_whose_action_makes_no_sense_is_not_given() -> None:
    done = snapshot(forms={"created": 1, "sent": 2, "completed": 2})
    assert "nudge_one_couple" not in {each.id for each in tips(done, "forms")}


@pytest.mark.parametrize("written", ["photographer", "Photographer", " PHOTOGRAPHER "])
def test_a_tip_speaks_of_their_trade(written: str) -> None:
    said = {each.id: each.tip for each in tips(NEW, "clients", written)}
    assert "gallery" in said["start_with_next_date"]
    assert (
        "gallery"
        not in {each.id: each.tip for each in tips(NEW, "clients", "florist")}["start_with_next_date"]
    )
    cakes = {each.id: each.tip for each in tips(NEW, "clients", "cake-maker")}["start_with_next_date"]
    assert cakes == {each.id: each.tip for each in tips(NEW, "clients", "Cake maker")}["start_with_next_date"]
    assert "tasting" in cakes


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("/forms/new?from=coach#top", "forms"),
        ("forms", "forms"),
        ("Forms", "forms"),
        ("https://app.example/forms/new", "forms"),
        ("https://app.example", "dashboard"),
        ("/", "dashboard"),
        ("", "dashboard"),
        (None, None),
    ],
)
def test_a_page_is_named_by_the_first_part_of_its_path(page: str | None, name: str | None) -> None:
    assert page_name(page) == name


def test_a_page_that_nobody_knows_gets_what_fits_everywhere() -> None:
    assert [each.id for each in tips(THRIVING, "/galleries")] == ["keep_the_rhythm"]


def test_every_circumstance_and_every_entry_is_used() -> None:
    for health, page, vendor in product(STAGES.values(), PAGES, VENDORS):
        for each in tips(health, page, vendor):
            assert each.tip.endswith((".", "?"))
            assert "!" not in each.tip
    raw = shipped(COACHING)["tip"]
    assert len({entry["id"] for entry in raw}) == len(raw)
    assert {page for entry in raw for page in entry.get("pages", ())} <= set(PAGES)


@pytest.mark.parametrize(
    ("line", "place", "said"),
    [
        ({"requires": ["rich >= 1"]}, "requires", "there is no 'rich'"),
        ({"requires": ["clients_known"]}, "requires", "clients_known >= 1"),
        ({"action": "buy_a_boat"}, "action", "buy_a_boat"),
        ({"colour": "red"}, 0, "colour"),
    ],
)
def test_a_tip_that_names_what_there_is_not_is_left_out_and_said(
    line: dict[str, Any], place: str | int, said: str
) -> None:
    good = {"id": "two", "category": "growth", "tip": "Hello."}
    bad = {"id": "one", "category": "growth", "tip": "Hello."} | line
    book = Book(Rules(SHIPPED.file, advice={COACHING: {"tip": [bad, good]}}))
    assert [tip.id for tip in book.tips] == ["two"]
    (problem,) = book.problems
    assert (problem.file, problem.place[-1]) == (COACHING, place)
    assert said in problem.said


def test_all_that_ships_is_about_what_ships() -> None:
    assert book_of(SHIPPED).problems == []
    assert set(book_of(SHIPPED).milestones) == set(SHIPPED.milestones)
