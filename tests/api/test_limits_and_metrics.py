"""How often one may ask, and what monitoring hears."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest
from httpx import AsyncClient

from api.app import build_app
from runtime.clock import ManualClock
from runtime.settings import Settings, SettingsError
from tests.api.conftest import running
from tests.api.test_auth_and_problems import assert_problem
from tests.delivery.world import World

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
