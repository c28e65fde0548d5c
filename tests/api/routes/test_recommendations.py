"""Recommendations and churn over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp

import pytest
from httpx import AsyncClient

from embedded.registry import Addresses
from runtime.settings import Settings
from scoring.advice.coaching import tips
from scoring.advice.recommend import recommend, way_up
from scoring.health.churn import churn_probability
from scoring.health.rules import SHIPPED
from scoring.time import DAY, HOUR
from tests.agents.delivery.world import World
from tests.api.lives import Life
from tests.api.test_auth_and_problems import assert_problem
from tests.conftest import own_settings
from topics.time import format_time

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def settings(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Shared by the tests of this module, each of which asks about its own suppliers."""
    with own_settings(stack, tmp_path_factory.mktemp("shared") / "state") as own:
        yield own


RECOMMENDATION = {
    "id",
    "type",
    "title",
    "description",
    "actionText",
    "actionUrl",
    "priority",
    "estimatedImpact",
    "points",
    "minutes",
}


def quiet_photographer(world: World) -> Life:
    """At risk: clients are in, one of two forms came back, and they have been away for a week."""
    life = Life(world, vendor_type="photographer", timezone="Europe/London")
    life.happens("supplier.signed_up", 30 * DAY, plan="free")
    life.happens("client.imported", 29 * DAY, client_ids=list("abcde"))
    life.happens("form.created", 28 * DAY, form_id="f")
    life.happens("form.sent", 28 * DAY, times=2, form_id="f", client_id="a")
    life.happens("form.completed", 10 * DAY, form_id="f", client_id="a")
    life.happens("supplier.logged_in", 8 * DAY)
    life.passes(HOUR)
    return life


async def test_recommendations_have_the_specifications_interface_and_computed_points(
    api: AsyncClient, world: World, token
) -> None:
    life = quiet_photographer(world)
    supplier = await life.stored()
    answer = await api.get(f"/api/success/recommendations/{supplier}", headers=token("supplier", supplier))
    said = answer.json()
    expected = recommend(life.snapshots[-1])
    assert [each["id"] for each in said["recommendations"]] == [each.id for each in expected]
    assert all(set(each) == RECOMMENDATION for each in said["recommendations"])
    impact = {each["id"]: each["estimatedImpact"] for each in said["recommendations"]}
    assert impact["use_template"] == "+6 points"
    # 10 x (2/2 - 1/2) for the form, and the second of five clients becomes active
    assert impact["remind_about_form"] == "+10 points"
    worth = [each["points"] / each["minutes"] for each in said["recommendations"]]
    assert worth == sorted(worth, reverse=True)


async def test_the_cheapest_way_to_the_next_level_is_shown(api: AsyncClient, world: World, token) -> None:
    life = quiet_photographer(world)
    supplier = await life.stored()
    answer = await api.get(f"/api/success/recommendations/{supplier}", headers=token("agent"))
    way = way_up(life.snapshots[-1])
    assert way is not None
    said = answer.json()["pathToNextLevel"]
    assert said["level"] == way.reaches == "at_risk"
    assert [step["id"] for step in said["steps"]] == [step.id for step in way.steps]
    assert sum(step["points"] for step in said["steps"]) == pytest.approx(said["points"])
    assert sum(step["minutes"] for step in said["steps"]) == said["minutes"]


async def test_tips_follow_page_and_trade(api: AsyncClient, world: World, token) -> None:
    life = quiet_photographer(world)
    supplier = await life.stored()
    url = f"/api/success/recommendations/{supplier}"
    everywhere = (await api.get(url, headers=token("agent"))).json()["coachingTips"]
    on_journeys = (await api.get(url, headers=token("agent"), params={"page": "/journeys/new"})).json()
    assert on_journeys["coachingTips"] != everywhere
    expected = tips(life.snapshots[-1], "/journeys/new", "photographer")
    assert [each["tip"] for each in on_journeys["coachingTips"]] == [each.tip for each in expected]
    assert "timeline questionnaire" in str(on_journeys["coachingTips"])
    assert {each["category"] for each in everywhere} <= {"onboarding", "engagement", "growth"}


async def test_before_the_first_event_the_first_steps_are_recommended(
    api: AsyncClient, world: World, token
) -> None:
    supplier = await Life(world).stored()
    answer = await api.get(f"/api/success/recommendations/{supplier}", headers=token("supplier", supplier))
    said = answer.json()
    assert "import_clients" in {each["id"] for each in said["recommendations"]}
    assert {each["category"] for each in said["coachingTips"]} == {"onboarding"}
    assert said["pathToNextLevel"]["steps"][0]["id"] == "log_in"


async def test_churn_is_the_sum_of_its_signals(api: AsyncClient, world: World, token) -> None:
    life = quiet_photographer(world)
    supplier = await life.stored()
    answer = await api.get(f"/api/success/churn/{supplier}", headers=token("service"))
    assert answer.status_code == 200
    said = answer.json()
    assert said["probability"] == churn_probability(life.state, SHIPPED.weights)
    logit = said["model"]["intercept"] + sum(each["contribution"] for each in said["signals"])
    assert said["probability"] == pytest.approx(1 / (1 + exp(-logit)), abs=1e-4)
    for each in said["signals"]:
        assert each["contribution"] == pytest.approx(each["value"] * each["weight"])
    contributions = [each["contribution"] for each in said["signals"]]
    assert contributions == sorted(contributions, reverse=True)
    assert said["lastCalculated"] == format_time(life.state.clock)


async def test_the_forecast_says_what_silence_will_do_in_words(api: AsyncClient, world: World, token) -> None:
    life = Life(world, timezone="Europe/London")
    life.happens("supplier.signed_up", 20 * DAY, plan="free")
    life.happens("client.imported", 19 * DAY, client_ids=["a"])
    life.happens("client.active", 2 * DAY, client_id="a")
    life.happens("form.created", 2 * DAY, form_id="f")
    life.happens("supplier.logged_in", HOUR)
    supplier = await life.stored()
    assert (life.state.level, life.state.points[0]) == ("at_risk", 30)
    answer = await api.get(f"/api/success/churn/{supplier}", headers=token("agent"))
    silence = answer.json()["silence"]
    # 30 + 12.5 + 25 = 67.5; the bands at 3, 7 and 14 days leave 57.5, 47.5, 42.5; the client expires after 30
    assert silence["nextLevel"] == "critical"
    assert silence["nextChangeAt"] < silence["nextLevelAt"]
    assert silence["summary"] == "critical on Monday 16 February if nothing happens"


async def test_who_has_nothing_to_lose_stays_as_they_are(api: AsyncClient, world: World, token) -> None:
    life = Life(world)
    life.happens("supplier.signed_up", DAY, plan="free")
    supplier = await life.stored()
    silence = (await api.get(f"/api/success/churn/{supplier}", headers=token("agent"))).json()["silence"]
    assert silence == {
        "nextChangeAt": None,
        "nextLevel": None,
        "nextLevelAt": None,
        "summary": "stays critical if nothing happens",
    }


async def test_without_events_there_is_no_estimate_yet(api: AsyncClient, world: World, token) -> None:
    supplier = await Life(world).stored()
    answer = await api.get(f"/api/success/churn/{supplier}", headers=token("agent"))
    assert "no estimate yet" in assert_problem(answer, 404)["detail"]
