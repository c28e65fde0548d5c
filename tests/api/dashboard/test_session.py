"""The dashboard's login: who gets a session, what the cookie is like, and what another site can't do."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse
from httpx import AsyncClient
from httpx import Response as Answer
from starlette.responses import Response

from api.app import build_app
from api.auth import Role, sign
from api.dashboard.session import (
    CheckedCsrf,
    SignedIn,
    check_same_origin,
    csrf_token,
    safe_next,
    sign_in,
    sign_out,
)
from api.dashboard.sign_in import SignInError, accept, login_link
from api.services import InServices
from embedded.registry import Addresses
from runtime.clock import ManualClock
from runtime.settings import Settings
from tests.api.conftest import running
from tests.api.test_auth_and_problems import assert_problem
from tests.conftest import own_settings

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def settings(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Shared by the tests of this module, each of which asks about its own suppliers."""
    with own_settings(stack, tmp_path_factory.mktemp("shared") / "state") as own:
        yield own


@pytest.fixture
def token(settings: Settings) -> Callable[..., dict[str, str]]:
    """Headers with a token, as tests of the API have them."""

    def made(role: Role, subject: str | None = None, lifetime_s: int = 3600) -> dict[str, str]:
        signed = sign(settings, role, subject or f"the {role}", lifetime_s, int(time.time()))
        return {"Authorization": f"Bearer {signed}"}

    return made


SARAH = "11111111-1111-4111-8111-111111111111"


def add_pages(app: FastAPI) -> None:
    """Pages as the dashboard has them, before its own page for whatever else there might be."""
    routes = app.router.routes
    already = len(routes)

    @app.post("/dashboard/test/login", dependencies=[Depends(check_same_origin)])
    async def login(request: Request) -> Response:
        form = await request.form()
        try:
            agent = await accept(request, str(form["token"]))
        except SignInError as error:
            return JSONResponse({"error": str(error)}, 401)
        response = RedirectResponse(safe_next(str(form.get("next", ""))), 303)
        await sign_in(request, response, agent)
        return response

    @app.get("/dashboard/test/page")
    async def page(agent: SignedIn, request: Request, services: InServices) -> dict[str, str]:
        async with services.transaction(agent) as conn:
            found = await (await conn.execute("SELECT count(*) FROM suppliers")).fetchone()
        return {"agent": agent.subject, "role": agent.role, "csrf": csrf_token(request), "sees": str(found)}

    @app.post("/dashboard/test/act", dependencies=[CheckedCsrf])
    async def act(agent: SignedIn) -> str:
        return f"done by {agent.subject}"

    @app.post("/dashboard/test/out", dependencies=[CheckedCsrf])
    async def out(request: Request) -> Response:
        response = RedirectResponse("/dashboard/login", 303)
        form = await request.form()
        await sign_out(request, response, everywhere="everywhere" in form)
        return response

    routes[:] = routes[already:] + routes[:already]


@pytest.fixture
async def pages(settings: Settings, clock: ManualClock) -> AsyncIterator[AsyncClient]:
    app = build_app(settings, clock)
    add_pages(app)
    async with running(app) as client:
        yield client


async def sign_in_as(client: AsyncClient, token: str, **headers: str) -> Answer:
    return await client.post("/dashboard/test/login", data={"token": token}, headers=headers)


def cookie_of(answer: Answer) -> SimpleCookie:
    return SimpleCookie(answer.headers["set-cookie"])


async def test_an_agents_token_opens_a_session(pages: AsyncClient, token, world) -> None:
    bearer = token("agent", "Kim")["Authorization"]
    for shown in (bearer, bearer.removeprefix("Bearer "), f"  {bearer}\n"):
        pages.cookies.clear()
        assert (await sign_in_as(pages, shown)).status_code == 303
        seen = (await pages.get("/dashboard/test/page")).json()
        assert (seen["agent"], seen["role"]) == ("Kim", "agent")
    logged = await world.query("SELECT actor, action FROM audit_log WHERE actor = 'Kim'")
    assert {(row["actor"], row["action"]) for row in logged} == {("Kim", "dashboard.sign_in")}


async def test_the_cookie_is_hidden_from_scripts_and_other_sites(pages: AsyncClient, token) -> None:
    cookie = cookie_of(await sign_in_as(pages, token("agent")["Authorization"]))["success_session"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "lax"
    assert not cookie["secure"]
    assert int(cookie["max-age"]) == 12 * 3600


async def test_over_https_the_cookie_is_secure_and_bound_to_the_host(
    settings: Settings, clock: ManualClock, token
) -> None:
    app = build_app(settings.model_copy(update={"public_url": "https://success.example"}), clock)
    add_pages(app)
    async with running(app) as client:
        client.base_url = "https://success.example"
        cookie = cookie_of(await sign_in_as(client, token("agent")["Authorization"]))
        assert cookie["__Host-success_session"]["secure"]
        assert (await client.get("/dashboard/test/page")).status_code == 200


@pytest.mark.parametrize("role", ["supplier", "service"])
async def test_only_agents_get_in(pages: AsyncClient, token, role: str) -> None:
    refused = await sign_in_as(pages, token(role, SARAH)["Authorization"])
    assert refused.status_code == 401
    assert "agent" in refused.json()["error"]
    assert "set-cookie" not in refused.headers


async def test_what_is_no_token_or_expired_says_why(pages: AsyncClient, token) -> None:
    assert "not valid" in (await sign_in_as(pages, "hello")).json()["error"]
    old = token("agent", lifetime_s=-3600)["Authorization"]
    assert "expired" in (await sign_in_as(pages, old)).json()["error"]


async def test_a_login_link_works_once(pages: AsyncClient, settings: Settings) -> None:
    address = urlsplit(login_link(settings, "Kim"))
    assert address.path == "/dashboard/login"
    shown = parse_qs(address.query)["token"][0]
    assert (await sign_in_as(pages, shown)).status_code == 303
    assert (await pages.get("/dashboard/test/page")).json()["agent"] == "Kim"
    assert "used" in (await sign_in_as(pages, shown)).json()["error"]


async def test_a_login_link_is_neither_a_bearer_token_nor_a_session(
    pages: AsyncClient, settings: Settings, token
) -> None:
    shown = parse_qs(urlsplit(login_link(settings, "Kim")).query)["token"][0]
    bearer = {"Authorization": f"Bearer {shown}"}
    assert_problem(await pages.get(f"/api/suppliers/{SARAH}/consent", headers=bearer), 401)
    for value in (shown, token("agent")["Authorization"].removeprefix("Bearer "), "x"):
        stranger = await pages.get("/dashboard/test/page", headers={"Cookie": f"success_session={value}"})
        assert stranger.status_code == 303


async def test_an_old_login_link_says_that_it_has_expired(
    pages: AsyncClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    with monkeypatch.context() as past:
        past.setattr(time, "time", lambda: real() - 11 * 60)
        shown = parse_qs(urlsplit(login_link(settings, "Kim")).query)["token"][0]
    late = await sign_in_as(pages, shown)
    assert late.status_code == 401
    assert "expired" in late.json()["error"]


@pytest.mark.parametrize(("hours", "status"), [(11.9, 200), (12.1, 303)])
async def test_a_session_ends_after_twelve_hours_of_work(
    pages: AsyncClient, token, monkeypatch: pytest.MonkeyPatch, hours: float, status: int
) -> None:
    real, ahead = time.time, [0.0]
    await sign_in_as(pages, token("agent", lifetime_s=86400)["Authorization"])
    value = next(iter(pages.cookies.jar)).value
    monkeypatch.setattr(time, "time", lambda: real() + ahead[0])
    pages.cookies.clear()
    cookie = {"Cookie": f"success_session={value}"}
    for worked in range(1, 12):
        ahead[0] = worked * 3600
        assert (await pages.get("/dashboard/test/page", headers=cookie)).status_code == 200
    ahead[0] = hours * 3600
    assert (await pages.get("/dashboard/test/page", headers=cookie)).status_code == status


@pytest.mark.parametrize(("hours", "status"), [(1.9, 200), (2.1, 303)])
async def test_a_session_ends_after_two_idle_hours(
    pages: AsyncClient, token, monkeypatch: pytest.MonkeyPatch, hours: float, status: int
) -> None:
    await sign_in_as(pages, token("agent", lifetime_s=86400)["Authorization"])
    value = next(iter(pages.cookies.jar)).value
    pages.cookies.clear()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + hours * 3600)
    answer = await pages.get("/dashboard/test/page", headers={"Cookie": f"success_session={value}"})
    assert answer.status_code == status


async def test_signing_out_ends_the_session_on_the_server(pages: AsyncClient, token) -> None:
    await sign_in_as(pages, token("agent", "Kim")["Authorization"])
    stolen = {"Cookie": f"success_session={next(iter(pages.cookies.jar)).value}"}
    csrf = (await pages.get("/dashboard/test/page")).json()["csrf"]
    await pages.post("/dashboard/test/out", data={"csrf": csrf})
    pages.cookies.clear()
    assert (await pages.get("/dashboard/test/page", headers=stolen)).status_code == 303


async def test_all_sessions_of_an_agent_end_at_once_and_nobody_elses(pages: AsyncClient, token) -> None:
    cookies = []
    for who in ("Kim", "Kim", "Lee"):
        pages.cookies.clear()
        await sign_in_as(pages, token("agent", who)["Authorization"])
        cookies.append({"Cookie": f"success_session={next(iter(pages.cookies.jar)).value}"})
    pages.cookies.clear()
    csrf = (await pages.get("/dashboard/test/page", headers=cookies[0])).json()["csrf"]
    form = {"csrf": csrf, "everywhere": "yes"}
    assert (await pages.post("/dashboard/test/out", data=form, headers=cookies[0])).status_code == 303
    statuses = [(await pages.get("/dashboard/test/page", headers=each)).status_code for each in cookies]
    assert statuses == [303, 303, 200]


async def test_outside_development_neither_links_nor_tokens_sign_in(
    settings: Settings, clock: ManualClock, token
) -> None:
    app = build_app(settings.model_copy(update={"development": False}), clock)
    add_pages(app)
    async with running(app) as client:
        shown = parse_qs(urlsplit(login_link(settings, "Kim")).query)["token"][0]
        for each in (shown, token("agent")["Authorization"]):
            assert "development" in (await sign_in_as(client, each)).json()["error"]
        assert (await client.get("/demo/host")).status_code == 404


async def test_without_a_session_a_page_leads_to_the_login_and_back(pages: AsyncClient) -> None:
    answer = await pages.get("/dashboard/test/page?level=critical&q=a b")
    assert answer.status_code == 303
    address = urlsplit(answer.headers["location"])
    assert address.path == "/dashboard/login"
    assert parse_qs(address.query)["next"] == ["/dashboard/test/page?level=critical&q=a%20b"]


async def test_htmx_is_told_to_load_the_login_as_a_page(pages: AsyncClient) -> None:
    asked = {"HX-Request": "true", "HX-Current-URL": "http://api.test/dashboard/suppliers"}
    answer = await pages.get("/dashboard/test/page", headers=asked)
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/dashboard/login?next=/dashboard/suppliers"


async def test_a_form_needs_the_sessions_own_csrf_token(pages: AsyncClient, token) -> None:
    await sign_in_as(pages, token("agent", "Kim")["Authorization"])
    csrf = (await pages.get("/dashboard/test/page")).json()["csrf"]
    act = "/dashboard/test/act"
    assert (await pages.post(act, data={"csrf": csrf})).json() == "done by Kim"
    assert (await pages.post(act, headers={"X-CSRF-Token": csrf})).json() == "done by Kim"
    assert_problem(await pages.post(act), 403)
    assert_problem(await pages.post(act, data={"csrf": "0" * 64}), 403)
    await sign_in_as(pages, token("agent", "Lee")["Authorization"])
    assert_problem(await pages.post(act, data={"csrf": csrf}), 403)


async def test_what_another_site_sends_is_refused_whatever_it_holds(pages: AsyncClient, token) -> None:
    bearer = token("agent")["Authorization"]
    assert_problem(await sign_in_as(pages, bearer, Origin="https://evil.example"), 403)
    assert_problem(await sign_in_as(pages, bearer, **{"Sec-Fetch-Site": "cross-site"}), 403)
    await sign_in_as(pages, bearer, Origin="http://api.test")
    csrf = (await pages.get("/dashboard/test/page")).json()["csrf"]
    for headers in ({"Origin": "null"}, {"Origin": "http://[::1"}, {"Sec-Fetch-Site": "same-site"}):
        assert_problem(await pages.post("/dashboard/test/act", data={"csrf": csrf}, headers=headers), 403)


async def test_signing_out_takes_the_cookie(pages: AsyncClient, token) -> None:
    await sign_in_as(pages, token("agent")["Authorization"])
    csrf = (await pages.get("/dashboard/test/page")).json()["csrf"]
    assert (await pages.post("/dashboard/test/out", data={"csrf": csrf})).status_code == 303
    assert (await pages.get("/dashboard/test/page")).status_code == 303


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("/dashboard/suppliers?level=critical", "/dashboard/suppliers?level=critical"),
        ("/dashboard", "/dashboard"),
        (None, "/dashboard"),
        ("https://evil.example/dashboard", "/dashboard"),
        ("//evil.example/dashboard", "/dashboard"),
        ("/dashboardevil", "/dashboard"),
        ("/dashboard/\\evil", "/dashboard"),
        ("/dashboard/login", "/dashboard"),
        ("javascript:alert(1)", "/dashboard"),
        ("//[evil", "/dashboard"),
        ("/dashboard/\0", "/dashboard"),
        ("/dashboard/\r\nSet-Cookie: a", "/dashboard"),
    ],
)
def test_the_login_leads_to_the_dashboard_only(asked: str | None, given: str) -> None:
    assert safe_next(asked) == given


async def test_a_table_that_is_taken_away_is_audited_and_an_opened_supplier_logged(
    pages: AsyncClient, token, world, caplog: pytest.LogCaptureFixture
) -> None:
    supplier = await world.supplier()
    await sign_in_as(pages, token("agent", "Mia")["Authorization"])
    assert (await pages.get("/dashboard/rules/policy.csv?q=Sarah")).status_code == 200
    [row] = await world.query(
        "SELECT action, details FROM audit_log WHERE actor = 'Mia' AND action = 'dashboard.csv'"
    )
    assert row["details"] == {"table": "/rules/policy.csv", "narrowed_by": ["q"]}
    caplog.set_level("INFO", "api.dashboard.session")
    assert (await pages.get(f"/dashboard/suppliers/{supplier}")).status_code == 200
    assert [record for record in caplog.records if supplier in record.message and "Mia" in record.message]


async def test_a_sign_in_that_fails_is_logged(pages: AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    assert (await pages.post("/dashboard/login", data={"token": "x"})).status_code == 401
    assert [record for record in caplog.records if "sign-in failed" in record.message]
    assert [record for record in caplog.records if "refused with 401" in record.message]
