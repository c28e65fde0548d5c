"""Who may ask, and what is said to whom something is refused."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Annotated, Any

import jwt
import psycopg
import pytest
from fastapi import FastAPI, Query
from httpx import AsyncClient, Client, Response

from api.app import build_app
from api.auth import AnyCaller, OwnSupplier, ServiceOnly, Staff
from api.problems import install
from api.services import InServices
from runtime.settings import Settings, SettingsError
from tests.api.conftest import running
from tests.browser.serving import free_ports, serving

pytestmark = pytest.mark.stack

FAR = 4_000_000_000
SARAH, EMMA = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def add_routes(app: FastAPI) -> None:
    """Routes as other modules write them."""

    @app.get("/test/suppliers/{supplierId}")
    async def of_supplier(
        supplier_id: OwnSupplier, caller: AnyCaller, services: InServices
    ) -> dict[str, list[str]]:
        del supplier_id
        async with services.transaction(caller) as conn:
            found = await conn.execute("SELECT id::text FROM suppliers ORDER BY id")
            return {"sees": [row[0] for row in await found.fetchall()]}

    @app.get("/test/staff")
    async def staff(caller: Staff) -> str:
        return caller.subject

    @app.get("/test/service")
    async def service(caller: ServiceOnly, days: Annotated[int, Query(ge=1)] = 1) -> str:
        return f"{caller.role} {days}"

    app.get("/test/broken")(broken)


def broken() -> None:
    """A handler with a mistake in it."""
    raise RuntimeError("the password is hunter2")


@pytest.fixture
async def api(settings: Settings, clock) -> AsyncIterator[AsyncClient]:
    app = build_app(settings, clock)
    add_routes(app)
    async with running(app) as client:
        yield client


def bearer(settings: Settings, **claims: Any) -> dict[str, str]:
    """Headers with these claims, signed with our own secret."""
    signed = jwt.encode(claims, settings.secret("jwt_secret"), algorithm="HS256")
    return {"Authorization": f"Bearer {signed}"}


def assert_problem(answer: Response, status: int) -> dict:
    """The answer is a problem of this status; returns its members."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body


@pytest.mark.parametrize("header", [None, "Bearer", "Basic c2FyYWg6eA==", "Bearer not.a.token", "Bearer "])
async def test_without_a_good_token_the_answer_is_401(api: AsyncClient, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = await api.get("/test/staff", headers=headers)
    assert_problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_an_expired_token_says_so(api: AsyncClient, token) -> None:
    answer = await api.get("/test/staff", headers=token("agent", lifetime_s=-3600))
    assert "expired" in assert_problem(answer, 401)["detail"]


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"role": "supplier"},
        {"role": "supplier", "sub": "sarah"},
        {"role": ["agent"]},
        {"role": "agent", "sub": "a\0b"},
        {"role": "agent", "sub": "\ud800"},
        {"role": "agent", "sub": "x" * 201},
    ],
)
async def test_a_token_without_a_known_role_or_supplier_is_401(
    api: AsyncClient, settings: Settings, claims: dict
) -> None:
    assert_problem(await api.get("/test/staff", headers=bearer(settings, **claims, exp=FAR)), 401)


async def test_a_token_without_an_end_is_401(api: AsyncClient, settings: Settings) -> None:
    endless = await api.get("/test/staff", headers=bearer(settings, role="agent", sub="Kim"))
    assert "`exp`" in assert_problem(endless, 401)["detail"]


async def test_a_good_token_whose_role_may_nothing_here_is_403(api: AsyncClient, settings: Settings) -> None:
    for role in ("admin", "anon", "authenticated"):
        assert_problem(await api.get("/test/staff", headers=bearer(settings, role=role, exp=FAR)), 403)


@pytest.mark.parametrize("header", [b"[" * 6000, b'{"alg":["HS256"]}', b'{"alg":"HS256","kid":{}}', b"\xff"])
async def test_a_token_with_an_odd_header_is_401(api: AsyncClient, header: bytes) -> None:
    odd = b".".join([base64.urlsafe_b64encode(header).rstrip(b"="), b"e30", b"eA"]).decode()
    assert_problem(await api.get("/test/staff", headers={"Authorization": f"Bearer {odd}"}), 401)


async def test_a_token_of_another_key_or_of_none_is_401(api: AsyncClient) -> None:
    for signed in (
        jwt.encode({"role": "service", "exp": FAR}, "another secret of thirty-two bytes", algorithm="HS256"),
        jwt.encode({"role": "service", "exp": FAR}, None, algorithm="none"),
    ):
        assert_problem(await api.get("/test/staff", headers={"Authorization": f"Bearer {signed}"}), 401)


async def test_a_role_that_may_not_is_403(api: AsyncClient, token) -> None:
    assert_problem(await api.get("/test/staff", headers=token("supplier", SARAH)), 403)
    assert_problem(await api.get("/test/service", headers=token("agent")), 403)
    assert (await api.get("/test/service", headers=token("service"))).json() == "service 1"


async def test_another_supplier_is_404_and_row_level_security_agrees(api: AsyncClient, token, world) -> None:
    for who in (SARAH, EMMA):
        await world.query("INSERT INTO suppliers (id) VALUES (%s)", who)
    theirs = await api.get(f"/test/suppliers/{SARAH}", headers=token("supplier", SARAH))
    assert theirs.json() == {"sees": [SARAH]}
    assert_problem(await api.get(f"/test/suppliers/{EMMA}", headers=token("supplier", SARAH)), 404)
    agents = await api.get(f"/test/suppliers/{SARAH.upper()}", headers=token("agent"))
    assert agents.json() == {"sees": [SARAH, EMMA]}


async def test_a_missing_token_is_said_before_a_wrong_id(api: AsyncClient, token) -> None:
    assert_problem(await api.get("/test/suppliers/sarah"), 401)
    assert_problem(await api.get("/test/suppliers/sarah", headers=token("agent")), 422)


async def test_a_body_without_end_is_413_everywhere(api: AsyncClient, token) -> None:
    body = b'{"supplierId": "' + b"x" * 3_000_000 + b'"}'
    for path in ("/api/success/milestone", "/api/support/schedule-call", "/webhooks/mail"):
        headers = token("agent") | {"Content-Type": "application/json"}
        assert_problem(await api.post(path, content=body, headers=headers), 413)

        async def in_parts(parts: int = 30) -> AsyncIterator[bytes]:
            for _ in range(parts):
                yield b" " * 100_000

        assert_problem(await api.post(path, content=in_parts(), headers=headers), 413)


async def test_every_error_is_a_problem(api: AsyncClient, token) -> None:
    assert_problem(await api.get("/nothing/here"), 404)
    refused = await api.post("/healthz")
    assert_problem(refused, 405)
    assert refused.headers["allow"] == "GET, HEAD"
    other = await api.delete(f"/api/suppliers/{SARAH}/consent")
    assert other.headers["allow"] == "GET, PUT"
    unreadable = await api.post(
        "/api/success/milestone",
        content=b"\xff\xfe",
        headers={**token("agent"), "Content-Type": "application/json"},
    )
    assert_problem(unreadable, 422)
    torn = await api.post(
        "/api/success/milestone",
        content=b'{"supplierId": ',
        headers={**token("agent"), "Content-Type": "application/json"},
    )
    assert assert_problem(torn, 422)["errors"] == [
        {"field": "body", "detail": "not JSON, from character 16 on"}
    ]
    wrong = await api.get("/test/service", params={"days": "none"}, headers=token("service"))
    assert assert_problem(wrong, 422)["errors"][0]["field"] == "days"
    broken = assert_problem(await api.get("/test/broken"), 500)
    assert "hunter2" not in str(broken)


def test_nobody_uses_a_connection_again_that_the_server_leaves_after_an_unexpected_error() -> None:
    app = FastAPI()
    install(app)
    app.get("/test/broken")(broken)
    [port] = free_ports(1)
    with serving(app, port) as url, Client(base_url=url) as client:
        for _ in range(20):  # a connection that is kept is reset under one of them
            assert assert_problem(client.get("/test/broken"), 500)


async def test_openapi_says_what_problems_look_like(api: AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.")
    assert "application/problem+json" in str(document["paths"]["/readyz"]["get"]["responses"]["503"])


async def test_probes(api: AsyncClient, settings: Settings) -> None:
    assert (await api.get("/healthz")).json() == {"status": "ok"}
    assert (await api.get("/readyz")).json() == {"status": "ready"}
    for probe in ("/healthz", "/readyz", "/metrics"):  # many a load balancer asks with HEAD
        assert (await api.head(probe)).status_code == 200
    async with await psycopg.AsyncConnection.connect(settings.database_url) as conn:
        await conn.execute("DROP TABLE suppliers CASCADE")
    assert "lacks the table suppliers" in assert_problem(await api.get("/readyz"), 503)["detail"]
    async with await psycopg.AsyncConnection.connect(settings.database_url) as conn:
        await conn.execute("DELETE FROM schema_migrations WHERE name LIKE '0019%'")
    assert "success migrate" in assert_problem(await api.get("/readyz"), 503)["detail"]


def test_nothing_connects_before_the_lifespan(settings: Settings, clock) -> None:
    away = {"kafka": "127.0.0.1:1", "database_url": "postgresql://nobody@127.0.0.1:1/none"}
    build_app(settings.model_copy(update=away), clock)


def test_a_missing_secret_stops_the_start(settings: Settings) -> None:
    away = {"kafka": "kafka.example:9092", "database_url": "postgresql://u@db.example/success"}
    with pytest.raises(SettingsError, match="SUCCESS_WEBHOOK_SECRET"):
        build_app(settings.model_copy(update={**away, "webhook_secret": None}))


async def test_pages_of_listed_origins_may_call(settings: Settings, clock) -> None:
    allowing = settings.model_copy(update={"cors_origins": "https://app.example, https://other.example"})
    async with running(build_app(allowing, clock)) as client:
        asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
        answer = await client.options("/healthz", headers=asked)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        stranger = await client.get("/healthz", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in stranger.headers
