"""The coach's endpoints over real HTTP: who may ask, what is cached, what a stream tells and what it costs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio
from httpx import AsyncClient, Response, TransportError

from api.coach import stream as coach_stream
from runtime.settings import Settings
from tests.agents.delivery.world import World
from tests.browser.coach_page import CONGRATULATIONS, HEALTHY, remembered, told, until
from tests.browser.serving import PATIENCE_S, free_ports
from tests.browser.test_coach import reach
from tests.cli.services.test_deliver import success
from topics.signals import InterventionChanged

SOON_S = 20
LISTENERS = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND query = 'LISTEN success_coach'"


@pytest_asyncio.fixture(loop_scope="session")
async def client(api_url: str) -> AsyncIterator[AsyncClient]:
    """Asks the API."""
    async with AsyncClient(base_url=api_url, timeout=SOON_S) as made:
        yield made


@pytest.fixture
def signed(token: Callable[..., str]) -> Callable[..., dict[str, str]]:
    """Headers with a token."""
    return lambda role, subject=None: {"Authorization": f"Bearer {token(role, subject)}"}


class Stream:
    """An open stream: `await stream.next()` is its next event."""

    def __init__(self, response: Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def line(self) -> str:
        return await asyncio.wait_for(anext(self._lines), SOON_S)

    async def next(self) -> tuple[str, str, dict[str, Any]]:
        """Type, id and data."""
        fields: dict[str, str] = {}
        while True:
            line = await self.line()
            if not line and "data" in fields:
                return fields["event"], fields["id"], json.loads(fields["data"])
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value


@asynccontextmanager
async def listening(client: AsyncClient, supplier: str, headers: dict[str, str]) -> AsyncIterator[Stream]:
    async with client.stream("GET", f"/api/coach/{supplier}/events", headers=headers) as response:
        yield Stream(response)


# who may ask -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/events", "/call-times"])
async def test_a_coach_is_theirs_and_the_staffs(
    client: AsyncClient, world: World, signed: Callable[..., dict[str, str]], path: str
) -> None:
    owner, other = await world.supplier(), await world.supplier()

    async def status(headers: dict[str, str], supplier: str = owner) -> int:
        async with client.stream("GET", f"/api/coach/{supplier}{path}", headers=headers) as response:
            return response.status_code

    assert await status({}) == 401
    assert await status({"Authorization": "Bearer nonsense"}) == 401
    assert await status(signed("supplier", other)) == 404
    assert await status(signed("supplier", owner)) == 200
    assert await status(signed("agent")) == 200
    assert await status(signed("agent"), str(uuid4())) == 404
    assert await status(signed("supplier", owner), "nobody") == 422


async def test_who_has_only_just_signed_up_has_a_coach(
    client: AsyncClient, signed: Callable[..., dict[str, str]]
) -> None:
    """Their token says that they exist, before anything of them has come through; there is nothing to remember yet."""
    owner = str(uuid4())
    answer = await client.get(f"/api/coach/{owner}", headers=signed("supplier", owner))
    assert (answer.status_code, answer.json()["state"], answer.json()["setup"]["done"]) == (200, "quiet", 1)
    async with listening(client, owner, signed("supplier", owner)) as stream:
        assert (await stream.next())[0] == "coach"
    said = {"kind": "tip_shown", "id": "one_short_journey"}
    answer = await client.post(f"/api/coach/{owner}/feedback", json=said, headers=signed("supplier", owner))
    assert answer.status_code == 404


async def test_only_they_say_what_they_did(
    client: AsyncClient, world: World, signed: Callable[..., dict[str, str]]
) -> None:
    owner, other = await world.supplier(), await world.supplier()
    said = {"kind": "tip_shown", "id": "one_short_journey"}
    path = f"/api/coach/{owner}/feedback"

    assert (await client.post(path, json=said)).status_code == 401
    assert (await client.post(path, json=said, headers=signed("agent"))).status_code == 403
    assert (await client.post(path, json=said, headers=signed("supplier", other))).status_code == 404
    assert (await client.post(path, json=said, headers=signed("supplier", owner))).status_code == 204


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"kind": "tip_eaten", "id": "x"}, 422),
        ({"kind": "tip_shown", "id": "<script>"}, 422),
        ({"kind": "message_opened", "id": "not-a-uuid"}, 422),
        ({"kind": "message_opened", "id": str(uuid4())}, 404),
        ({"kind": "milestone_celebrated", "id": "ten_clients"}, 404),
        ({"kind": "tip_shown", "id": "x", "mood": "good"}, 422),
        ({"kind": "tip_dismissed", "id": "no_such_tip"}, 404),
        ({"kind": "milestone_shared", "id": "no_such_milestone"}, 404),
    ],
)
async def test_what_makes_no_sense_is_refused(
    client: AsyncClient,
    world: World,
    signed: Callable[..., dict[str, str]],
    said: dict[str, str],
    status: int,
) -> None:
    owner = await world.supplier()
    answer = await client.post(f"/api/coach/{owner}/feedback", json=said, headers=signed("supplier", owner))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_feedback_is_told_once_without_anything_personal(
    client: AsyncClient, world: World, signed: Callable[..., dict[str, str]]
) -> None:
    owner = await world.supplier()
    await reach(world, owner, "first_form")
    for said in [
        {
            "kind": "tip_shown",
            "id": "one_short_journey",
            "page": "/clients/anna-and-tom?email=anna@example.com",
        },
        {"kind": "tip_shown", "id": "one_short_journey", "page": "/clients"},
        {"kind": "milestone_celebrated", "id": "first_form"},
        {"kind": "milestone_celebrated", "id": "first_form"},
    ]:
        answer = await client.post(
            f"/api/coach/{owner}/feedback", json=said, headers=signed("supplier", owner)
        )
        assert answer.status_code == 204

    assert await told(world, owner) == ["tip_shown", "milestone_celebrated"]
    events = [each for each in await world.events() if each["subject"] == owner]
    assert [InterventionChanged.model_validate_json(json.dumps(each)).type for each in events]
    assert events[0]["data"] == {
        "channel": "in_app_notification",
        "item": "one_short_journey",
        "page": "clients",
    }
    assert await remembered(world, owner) == {
        "tip:one_short_journey shown",
        "milestone:first_form celebrated",
    }


# answers -----------------------------------------------------------------------------------------------


async def test_an_answer_that_they_have_already_is_not_sent_again(
    client: AsyncClient, world: World, signed: Callable[..., dict[str, str]]
) -> None:
    owner = await world.supplier()
    first = await client.get(f"/api/coach/{owner}?page=/forms", headers=signed("supplier", owner))
    assert first.headers["cache-control"] == "private, no-store"
    assert first.headers["etag"] == f'"{first.json()["cursor"]}"'

    headers = signed("supplier", owner) | {"If-None-Match": first.headers["etag"]}
    again = await client.get(f"/api/coach/{owner}?page=/forms", headers=headers)
    assert (again.status_code, again.content) == (304, b"")

    await world.health(owner, **HEALTHY)
    assert (await client.get(f"/api/coach/{owner}?page=/forms", headers=headers)).status_code == 200


async def test_the_scripts_are_kept_as_long_as_they_are_good(client: AsyncClient) -> None:
    loader = await client.get("/coach.js")
    assert loader.headers["content-type"].startswith("text/javascript")
    assert loader.headers["access-control-allow-origin"] == "*"
    assert "max-age=300" in loader.headers["cache-control"]
    version = loader.text.partition('const version = "')[2].partition('"')[0]
    fresh = await client.get("/coach.js", headers={"If-None-Match": loader.headers["etag"]})
    assert (fresh.status_code, fresh.content) == (304, b"")

    module = await client.get(f"/coach/{version}/main.js")
    assert "immutable" in module.headers["cache-control"]
    assert (await client.get("/coach/latest/main.js")).headers["cache-control"] == "no-cache"
    assert (await client.get(f"/coach/{version}/../../app.py")).status_code == 404
    assert (await client.get(f"/coach/{version}/confetti.LICENSE")).status_code == 404
    assert (await client.head("/demo/host/forms/new")).status_code == 200


# streams -----------------------------------------------------------------------------------------------


async def test_a_stream_tells_a_milestone_and_the_new_state(
    client: AsyncClient, world: World, signed: Callable[..., dict[str, str]]
) -> None:
    owner = await world.supplier()
    async with listening(client, owner, signed("supplier", owner)) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        kind, _, state = await stream.next()
        assert (kind, state["celebrations"]) == ("coach", [])

        await reach(world, owner, "first_form")

        kind, _, celebration = await stream.next()
        assert (kind, celebration["type"], celebration["message"]) == (
            "milestone",
            "first_form",
            CONGRATULATIONS,
        )
        kind, cursor, state = await stream.next()
        assert (kind, cursor) == ("coach", state["cursor"])
        assert state["milestones"][0] | {"achieved": True} == state["milestones"][0]


async def test_a_stream_is_taken_up_where_it_broke(
    client: AsyncClient, world: World, signed: Callable[..., dict[str, str]]
) -> None:
    """What came in between comes, in order, and what was told does not come again."""
    owner = await world.supplier()
    cursor = (await client.get(f"/api/coach/{owner}", headers=signed("supplier", owner))).json()["cursor"]
    await reach(world, owner, "first_form", days_ago=1)
    await reach(world, owner, "ten_clients")

    async with listening(client, owner, signed("supplier", owner) | {"Last-Event-ID": cursor}) as stream:
        first = await stream.next()
    async with listening(client, owner, signed("supplier", owner) | {"Last-Event-ID": first[1]}) as stream:
        second, third = await stream.next(), await stream.next()
    async with listening(client, owner, signed("supplier", owner) | {"Last-Event-ID": third[1]}) as stream:
        await world.health(owner, **HEALTHY)
        fourth = await stream.next()

    assert [(each[0], each[2].get("type")) for each in (first, second, third, fourth)] == [
        ("milestone", "first_form"),
        ("milestone", "ten_clients"),
        ("coach", None),
        ("coach", None),
    ]
    assert fourth[2]["callOffer"] is None


async def test_a_stranger_to_the_stream_hears_everything(
    client: AsyncClient, world: World, signed: Callable[..., dict[str, str]]
) -> None:
    owner = await world.supplier()
    await reach(world, owner, "first_form")
    async with listening(client, owner, signed("supplier", owner) | {"Last-Event-ID": "whatever"}) as stream:
        assert (await stream.next())[2]["type"] == "first_form"


async def test_other_peoples_news_wakes_nobody(
    client: AsyncClient, world: World, signed: Callable[..., dict[str, str]]
) -> None:
    owner, other = await world.supplier(), await world.supplier()
    async with listening(client, owner, signed("supplier", owner)) as stream:
        await stream.next()
        await reach(world, other, "ten_clients")
        await reach(world, owner, "first_form")
        assert (await stream.next())[2]["type"] == "first_form"


async def test_a_silent_stream_shows_that_it_lives(
    client: AsyncClient, world: World, signed: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.coach.routes.HEARTBEAT_S", 0.1)
    owner = await world.supplier()
    async with listening(client, owner, signed("supplier", owner)) as stream:
        await stream.next()
        lines = [await stream.line() for _ in range(4)]
    assert [line for line in lines if line.startswith(": ping")]


async def test_a_stream_ends_after_a_while_so_that_tokens_do_not_live_for_ever(
    client: AsyncClient, world: World, signed: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coach_stream, "LIFETIME_S", 0.3)
    owner = await world.supplier()
    async with listening(client, owner, signed("supplier", owner)) as stream:
        await stream.next()
        with pytest.raises(StopAsyncIteration):
            await stream.next()


async def test_many_streams_share_one_connection_which_goes_with_the_last(
    client: AsyncClient, world: World, signed: Callable[..., dict[str, str]], browser_settings: Settings
) -> None:
    suppliers = [await world.supplier() for _ in range(5)]
    async with asyncio.TaskGroup() as group:
        everybody_listens, enough = asyncio.Barrier(11), asyncio.Event()

        async def listen(supplier: str) -> None:
            async with listening(client, supplier, signed("supplier", supplier)) as stream:
                await stream.next()
                await everybody_listens.wait()
                await enough.wait()

        for supplier in suppliers * 2:
            group.create_task(listen(supplier))
        await everybody_listens.wait()
        assert len(await listeners(browser_settings)) == 1
        enough.set()

    await until(lambda: _no_listener(browser_settings))


async def test_a_lost_connection_to_postgres_loses_no_news(
    client: AsyncClient, world: World, signed: Callable[..., dict[str, str]], browser_settings: Settings
) -> None:
    owner = await world.supplier()
    async with listening(client, owner, signed("supplier", owner)) as stream:
        await stream.next()
        async with await psycopg.AsyncConnection.connect(browser_settings.database_url) as conn:
            for pid in await listeners(browser_settings):
                await conn.execute("SELECT pg_terminate_backend(%s)", (pid,))
        await reach(world, owner, "first_form")
        assert (await stream.next())[2]["type"] == "first_form"


async def test_a_server_that_is_told_to_stop_does_not_wait_for_its_streams(
    world: World, signed: Callable[..., dict[str, str]], browser_settings: Settings
) -> None:
    owner = await world.supplier()
    (port,) = free_ports(1)
    process = await success(browser_settings, "api", "--port", str(port))
    async with AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SOON_S) as client:
        await until(lambda: _answers(client), PATIENCE_S)
        async with listening(client, owner, signed("supplier", owner)) as stream:
            await stream.next()
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 9) == 0, "uvicorn's own patience is 10 s"


async def _answers(client: AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).status_code == 200
    except TransportError:
        return False


async def listeners(settings: Settings) -> list[int]:
    """The processes of Postgres that listen for coaches."""
    async with await psycopg.AsyncConnection.connect(settings.database_url) as conn:
        rows = await conn.execute(LISTENERS, (settings.database_url.rpartition("/")[2],))
        return [row[0] for row in await rows.fetchall()]


async def _no_listener(settings: Settings) -> bool:
    return not await listeners(settings)


# rows --------------------------------------------------------------------------------------------------


async def test_their_memory_is_theirs_alone(world: World, browser_settings: Settings) -> None:
    owner, other = await world.supplier(), await world.supplier()
    for supplier in (owner, other):
        await world.query(
            "INSERT INTO coach_memory (supplier_id, item, what, at) VALUES (%s, 'tip:x', 'shown', now())",
            supplier,
        )
    async with await psycopg.AsyncConnection.connect(browser_settings.database_url) as conn:
        await conn.execute("SET ROLE success_api")
        await conn.execute(
            "SELECT set_config('request.jwt.claims', %s, true)",
            (json.dumps({"role": "supplier", "sub": owner}),),
        )
        seen = await (await conn.execute("SELECT supplier_id::text FROM coach_memory")).fetchall()
        assert seen == [(owner,)]
        changed = await conn.execute(
            "UPDATE success_milestones SET celebrated = true WHERE supplier_id = %s", (other,)
        )
        assert changed.rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await conn.execute(
                "INSERT INTO coach_memory (supplier_id, item, what, at) VALUES (%s, 'tip:y', 'shown', now())",
                (other,),
            )
