"""The score, its history and what explains it, as the API tells them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from httpx import AsyncClient

from embedded.registry import Addresses
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.health.metrics import COMPONENTS, displayed
from scoring.time import DAY, HOUR
from tests.agents.delivery.world import NOW, World
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


def busy_month(world: World) -> Life:
    """Sarah: signs up, works, and falls silent for eight days."""
    life = Life(world, vendor_type="photographer", timezone="Europe/London")
    life.happens("supplier.signed_up", 30 * DAY, plan="free")
    life.happens("supplier.logged_in", 30 * DAY - HOUR)
    life.happens("client.imported", 29 * DAY, client_ids=["a", "b", "c"])
    life.happens("form.created", 28 * DAY, form_id="f")
    life.happens("form.sent", 27 * DAY, times=3, form_id="f", client_id="a")
    life.happens("form.completed", 26 * DAY, form_id="f", client_id="a")
    life.happens("supplier.logged_in", 8 * DAY)
    life.happens("journey.email_sent", 8 * DAY - HOUR, times=3, journey_id="j", message_id="m")
    life.happens("journey.email_opened", 8 * DAY - 2 * HOUR, journey_id="j", message_id="m", client_id="b")
    life.passes()
    return life


async def get(api: AsyncClient, what: str, supplier: str, headers: dict[str, str], **query: Any) -> Any:
    answer = await api.get(f"/api/health/{what}/{supplier}", headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_score_is_exactly_the_specifications_interface(
    api: AsyncClient, world: World, token
) -> None:
    life = busy_month(world)
    supplier = await life.stored()
    said = await get(api, "score", supplier, token("supplier", supplier))
    assert said == {
        "score": life.state.score,
        "riskLevel": life.state.level,
        "breakdown": dict(zip(COMPONENTS, life.state.points, strict=True)),
        "trend": "declining",
        "lastCalculated": format_time(life.state.clock),
    }


async def test_the_breakdown_is_points_that_add_up_to_the_unrounded_score(
    api: AsyncClient, world: World, token
) -> None:
    life = busy_month(world)
    supplier = await life.stored()
    said = await get(api, "score", supplier, token("agent"))
    assert round(sum(said["breakdown"].values()), 9) == life.state.sum
    assert said["score"] == displayed(life.state.sum) != life.state.sum


@pytest.mark.parametrize(
    ("now", "then", "trend"),
    [
        (48, 43, "improving"),
        (48, 44, "stable"),
        (48, 53, "declining"),
        (48, 52, "stable"),
        (48, 48, "stable"),
    ],
)
async def test_the_trend_compares_with_the_displayed_score_of_a_week_ago(
    api: AsyncClient, world: World, token, now: int, then: int, trend: str
) -> None:
    supplier = await world.supplier()
    await world.health(supplier, score=now)
    history = "INSERT INTO health_history VALUES (gen_random_uuid(), %s, %s, %s, %s, 'at_risk')"
    for seq, at, score in ((1, NOW - 20 * DAY, 99), (2, NOW - 7 * DAY, then), (3, NOW - 7 * DAY + 1, 1)):
        await world.query(history, supplier, seq, format_time(at), score)
    assert (await get(api, "score", supplier, token("agent")))["trend"] == trend


async def test_a_younger_supplier_is_compared_with_their_oldest_score(
    api: AsyncClient, world: World, token
) -> None:
    life = Life(world)
    life.happens("supplier.signed_up", 2 * DAY, plan="free")
    life.happens("supplier.logged_in", DAY)
    supplier = await life.stored()
    assert (await get(api, "score", supplier, token("agent")))["trend"] == "improving"


async def test_without_events_there_is_no_score_yet(api: AsyncClient, world: World, token) -> None:
    supplier = await Life(world).stored()
    theirs = token("supplier", supplier)
    refused = await api.get(f"/api/health/score/{supplier}", headers=theirs)
    assert "no score yet" in assert_problem(refused, 404)["detail"]
    assert (await get(api, "history", supplier, theirs))["history"] == []
    assert (await get(api, "explain", supplier, token("agent")))["changes"] == []


async def test_an_answer_that_holds_is_not_sent_again(api: AsyncClient, world: World, token) -> None:
    supplier = await world.supplier()
    url, agent = f"/api/health/score/{supplier}", token("agent")
    first = await api.get(url, headers=agent)
    assert first.headers["cache-control"] == "private, no-store"
    asked = agent | {"If-None-Match": first.headers["etag"]}
    again = await api.get(url, headers=asked)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    await world.health(supplier, score=49)
    assert (await api.get(url, headers=asked)).json()["score"] == 49


async def test_the_history_has_every_change_and_how_they_stood_before(
    api: AsyncClient, world: World, token
) -> None:
    life = busy_month(world)
    supplier = await life.stored()
    changes = [change for each in life.snapshots for change in each["changes"]]
    everything = await get(api, "history", supplier, token("supplier", supplier), days=60)
    assert everything["before"] is None
    assert everything["history"] == [
        {"at": change["at"], "score": change["score"], "riskLevel": change["level"]} for change in changes
    ]
    lately = await get(api, "history", supplier, token("supplier", supplier), days=10)
    assert lately["since"] == format_time(NOW - 10 * DAY)
    assert [lately["before"], *lately["history"]] == everything["history"][-len(lately["history"]) - 1 :]


async def test_pages_follow_one_another_without_gap_or_repetition(
    api: AsyncClient, world: World, token
) -> None:
    supplier = await busy_month(world).stored()
    agent = token("agent")
    for what, key in (("history", "history"), ("explain", "changes")):
        whole = (await get(api, what, supplier, agent))[key]
        url, found = f"/api/health/{what}/{supplier}?limit=2", []
        while url:
            answer = await api.get(url, headers=agent)
            found += answer.json()[key]
            url = answer.links.get("next", {}).get("url", "")
            assert bool(url) == (answer.json()["nextCursor"] is not None)
        assert found == whole


async def test_causes_add_up_to_each_change_and_to_the_score(api: AsyncClient, world: World, token) -> None:
    life = busy_month(world)
    supplier = await life.stored()
    changes = (await get(api, "explain", supplier, token("service"), days=60))["changes"]
    assert len(changes) > 5
    reached = 0.0
    before = None
    for change in changes:
        assert change["points"] == pytest.approx(sum(each["points"] for each in change["causes"]), abs=1e-9)
        reached += change["points"]
        assert change["unroundedScore"] == round(reached, 9)
        assert displayed(change["unroundedScore"]) == change["score"]
        assert (change["previousScore"], change["previousLevel"]) == (before or (None, None))
        before = change["score"], change["riskLevel"]
    assert round(reached, 9) == life.state.sum
    assert {"time", "e2"} <= {cause["event"] for change in changes for cause in change["causes"]}


async def test_a_window_does_not_cut_what_adds_up(api: AsyncClient, world: World, token) -> None:
    supplier = await busy_month(world).stored()
    agent = token("agent")
    whole = (await get(api, "explain", supplier, agent))["changes"]
    lately = (await get(api, "explain", supplier, agent, days=9))["changes"]
    assert lately == whole[-len(lately) :]
    assert 0 < len(lately) < len(whole)


@pytest.mark.parametrize(
    "query", ["days=0", "days=401", "days=x", "limit=0", "limit=1001", "cursor=x", "cursor=-1"]
)
async def test_a_wrong_window_says_what_is_wrong(api: AsyncClient, world: World, token, query: str) -> None:
    supplier = await world.supplier()
    answer = await api.get(f"/api/health/history/{supplier}?{query}", headers=token("agent"))
    assert assert_problem(answer, 422)["errors"][0]["field"] == query.partition("=")[0]


async def test_the_clock_moves_the_window(api: AsyncClient, world: World, token, clock: ManualClock) -> None:
    supplier = await busy_month(world).stored()
    clock.advance_to(NOW + 40 * DAY)
    said = await get(api, "history", supplier, token("agent"))
    assert said["history"] == []
    assert said["before"]["score"] == (await get(api, "score", supplier, token("agent")))["score"]
