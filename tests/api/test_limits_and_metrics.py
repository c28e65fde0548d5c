"""How often one may ask, and what monitoring hears."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from httpx import ASGITransport, AsyncClient

from api import limits
from api.app import build_app
from api.auth import sign
from api.problems import Problem
from api.routes.metrics import Inside
from runtime.clock import ManualClock
from runtime.settings import Settings, SettingsError
from tests.agents.delivery.world import World
from tests.api.conftest import running
from tests.api.test_auth_and_problems import assert_problem

pytestmark = pytest.mark.stack


def limited(settings: Settings, clock: ManualClock, rule: str) -> Any:
    return running(build_app(settings.model_copy(update={"rate_limit": rule}), clock))


async def test_beyond_the_limit_the_answer_is_429_and_says_when_to_come_again(
    settings: Settings, clock: ManualClock, world: World, token
) -> None:
    supplier = await world.supplier()
    url = f"/api/health/score/{supplier}"
    async with limited(settings, clock, "3/hour") as client:
        for left in (2, 1, 0):
            answer = await client.get(url, headers=token("supplier", supplier))
            assert answer.status_code == 200
            assert answer.headers["ratelimit-limit"] == "3"
            assert answer.headers["ratelimit-remaining"] == str(left)
        refused = await client.get(url, headers=token("supplier", supplier, lifetime_s=60))
        assert_problem(refused, 429)
        assert refused.headers["ratelimit-remaining"] == "0"
        assert 0 < int(refused.headers["retry-after"]) <= 3600
        assert refused.headers["ratelimit-reset"] == refused.headers["retry-after"]
        assert refused.headers["ratelimit-policy"] == "3;w=3600"
        assert (await client.get(url, headers=token("agent"))).status_code == 200
        assert (await client.get("/healthz")).status_code == 200


async def test_the_default_is_generous_and_off_is_off(
    settings: Settings, clock: ManualClock, world: World, token
) -> None:
    supplier = await world.supplier()
    url = f"/api/health/score/{supplier}"
    async with limited(settings, clock, settings.rate_limit) as client:
        assert int((await client.get(url, headers=token("agent"))).headers["ratelimit-limit"]) >= 200 * 60
    async with limited(settings, clock, "off") as client:
        assert "ratelimit-limit" not in (await client.get(url, headers=token("agent"))).headers


def test_a_limit_that_is_none_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="SUCCESS_RATE_LIMIT"):
        Settings(rate_limit="a lot")


def value_of(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, f"{name} is not in\n{text}"
    return float(found[1])


async def test_metrics_count_requests_by_route_and_name_nobody(api: AsyncClient, world: World, token) -> None:
    supplier = await world.supplier()
    for _ in range(3):
        await api.get(f"/api/health/score/{supplier}", headers=token("agent"))
    await api.get(f"/api/health/score/{supplier}")
    await api.get("/no/such/page")
    answer = await api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.text
    labels = 'method="GET",route="/api/health/score/{supplierId}"'
    assert value_of(text, f'success_http_requests_total{{{labels},status="200"}}') == 3
    assert value_of(text, f'success_http_requests_total{{{labels},status="401"}}') == 1
    assert value_of(text, f"success_http_request_seconds_count{{{labels}}}") == 4
    assert value_of(text, 'success_http_requests_total{method="any",route="none",status="404"}') == 1
    assert supplier not in text


async def test_metrics_say_what_waits_in_the_database(api: AsyncClient, world: World) -> None:
    supplier = await world.supplier()
    await world.row(supplier, "low_client_adoption")
    text = (await api.get("/metrics")).text
    assert value_of(text, "success_database_up") == 1
    assert value_of(text, "success_interventions_due") == 1
    assert value_of(text, "success_outbox_waiting") == 0


async def test_metrics_answer_while_the_database_is_away(
    api: AsyncClient, settings: Settings, world: World
) -> None:
    del world
    name = settings.database_url.rpartition("/")[2]
    server = settings.database_url.rpartition("/")[0]
    async with await psycopg.AsyncConnection.connect(f"{server}/postgres", autocommit=True) as conn:
        await conn.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        answer = await api.get("/metrics")
        await conn.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert answer.status_code == 200
    assert value_of(answer.text, "success_database_up") == 0


async def test_bad_tokens_are_limited_by_address_and_good_ones_go_on(
    settings: Settings, clock: ManualClock, world: World, token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(limits.STRANGERS, "refused", "3/hour")
    supplier = await world.supplier()
    url = f"/api/health/score/{supplier}"
    async with limited(settings, clock, "1000/minute") as client:
        bad = [await client.get(url, headers={"Authorization": "Bearer x"}) for _ in range(5)]
        assert [answer.status_code for answer in bad] == [401, 401, 401, 429, 429]
        assert assert_problem(bad[4], 429)
        assert (await client.get(url, headers=token("supplier", supplier))).status_code == 200


async def test_sign_ins_and_links_are_limited_before_anybody_is_known(
    settings: Settings, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("sign_in", "same_link"):
        monkeypatch.setitem(limits.STRANGERS, kind, "2/hour")
    async with limited(settings, clock, "1000/minute") as client:
        tried = [await client.post("/dashboard/login", data={"token": "x"}) for _ in range(3)]
        assert [answer.status_code for answer in tried] == [401, 401, 429]
        links = [await client.get(f"/e/click/{which}") for which in "aaab"]
        assert [answer.status_code for answer in links] == [404, 404, 429, 404]
        assert links[2].headers["retry-after"] == "3600"


def test_a_caller_has_only_so_many_streams_open() -> None:
    counted = limits.Limits("off")
    with ExitStack() as streams:
        for _ in range(limits.MOST_STREAMS["supplier"]):
            counted.check_streams("supplier", "sarah")
            streams.enter_context(counted.stream("supplier", "sarah"))
        with pytest.raises(Problem) as refused:
            counted.check_streams("supplier", "sarah")
        assert refused.value.status == 429
        counted.check_streams("supplier", "emma")
    counted.check_streams("supplier", "sarah")


async def test_a_stream_ends_with_the_token_that_opened_it(
    settings: Settings, clock: ManualClock, world: World
) -> None:
    supplier = await world.supplier()
    soon = sign(settings, "supplier", supplier, -25, int(time.time()))  # within the leeway, for 5 s more
    app = build_app(settings, clock)
    async with running(app) as client:
        headers = {"Authorization": f"Bearer {soon}"}
        answer = await client.get(
            f"/api/coach/{supplier}/events", headers=headers
        )  # returns when it has ended
    assert answer.status_code == 200
    assert "text/event-stream" in answer.headers["content-type"]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3::7", "2001:db8:1:2::/64"),
        ("testclient", "None"),
    ],
)
def test_who_is_not_known_is_counted_by_their_network(address: str, network: str) -> None:
    assert limits.network_of({"client": (address, 1)}) == network


async def test_monitoring_has_a_port_of_its_own(settings: Settings, clock: ManualClock) -> None:
    app = build_app(settings.model_copy(update={"metrics_port": 9100}), clock)
    async with running(app) as public:
        assert_problem(await public.get("/metrics"), 404)
        transport = ASGITransport(Inside(app))
        async with AsyncClient(transport=transport, base_url="http://inside.test") as inside:
            for probe in ("/metrics", "/healthz", "/readyz"):
                assert (await inside.get(probe)).status_code == 200
            assert_problem(await inside.get("/coach.js"), 404)
