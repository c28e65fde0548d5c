"""Agents sign in with their account at a real provider: code flow, PKCE, state and nonce."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from httpx import AsyncClient, Response

from api.app import build_app
from runtime.clock import ManualClock
from runtime.settings import Settings, SettingsError
from tests.api.conftest import running
from tests.api.dashboard.provider import CLIENT, SECRET, Account, Provider, providing

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def shared_provider() -> Iterator[Provider]:
    with providing() as made:
        yield made


@pytest.fixture
def provider(shared_provider: Provider) -> Provider:
    shared_provider.account = Account()
    return shared_provider


@pytest.fixture
async def browser(settings: Settings, clock: ManualClock, provider: Provider) -> AsyncIterator[AsyncClient]:
    """A browser at an API that is no development machine."""
    outside = {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET,
        "public_url": "http://api.test",
        "development": False,
    }
    async with running(build_app(settings.model_copy(update=outside), clock)) as client:
        yield client


async def go(browser: AsyncClient, next: str = "") -> Response:  # noqa: A002
    """Begin at our login, go through the provider, and come back with what it says."""
    begun = await browser.get("/dashboard/login/oidc", params={"next": next})
    assert begun.status_code == 303
    async with httpx.AsyncClient() as outside:
        answered = await outside.get(begun.headers["location"])
    return await browser.get(answered.headers["location"])


async def test_an_agent_signs_in_and_comes_to_where_they_wanted(
    browser: AsyncClient, provider: Provider, world: Any
) -> None:
    page = await browser.get("/dashboard/login?next=/dashboard/suppliers")
    assert "Sign in with your account" in page.text
    assert "<form" not in page.text.split("<main")[1]
    back = await go(browser, "/dashboard/suppliers?level=critical")
    assert (back.status_code, back.headers["location"]) == (303, "/dashboard/suppliers?level=critical")
    seen = await browser.get("/dashboard/suppliers")
    assert seen.status_code == 200
    assert "kim" in seen.text
    [row] = await world.query(
        "SELECT actor, details FROM audit_log WHERE action = 'dashboard.sign_in' AND actor = 'kim' LIMIT 1"
    )
    assert row["details"] == {"subject": "kim", "by": "oidc"}
    asked = provider.asked[-1]
    assert asked["code_challenge_method"] == "S256"
    assert {"state", "nonce", "code_challenge"} <= asked.keys()


async def test_groups_can_say_who_is_an_agent(browser: AsyncClient, provider: Provider) -> None:
    provider.account.claims["role"] = ["staff", "agent"]
    assert (await go(browser)).status_code == 303


@pytest.mark.parametrize(
    "account",
    [
        Account(claims={"sub": "eve"}),
        Account(claims={"sub": "eve", "role": "customer"}),
        Account(claims={"sub": "a\0b", "role": "agent"}),
        Account(nonce="another"),
        Account(audience="another"),
        Account(expires_in=-3600),
        Account(key=ec.generate_private_key(ec.SECP256R1())),
    ],
    ids=["no role", "other role", "odd name", "nonce", "audience", "expired", "key"],
)
async def test_others_and_other_tokens_do_not_get_in(
    browser: AsyncClient, provider: Provider, account: Account
) -> None:
    provider.account = account
    refused = await go(browser)
    assert refused.status_code == 401
    assert 'role="alert"' in refused.text
    assert (await browser.get("/dashboard")).status_code == 303


async def test_an_answer_that_this_browser_did_not_wait_for_signs_nobody_in(browser: AsyncClient) -> None:
    """A login that somebody else began, one whose state was changed, and one that is sent twice."""
    begun = await browser.get("/dashboard/login/oidc")
    async with httpx.AsyncClient() as outside:
        back = (await outside.get(begun.headers["location"])).headers["location"]
    code = parse_qs(urlsplit(back).query)["code"][0]
    for state in ("", "other"):
        changed = await browser.get("/dashboard/login/oidc/callback", params={"code": code, "state": state})
        assert changed.status_code == 401
    cookies = dict(browser.cookies)
    browser.cookies.clear()
    assert (await browser.get(back)).status_code == 401
    browser.cookies.update(cookies)
    assert (await browser.get(back)).status_code == 303
    browser.cookies.clear()
    browser.cookies.update(cookies)
    assert (await browser.get(back)).status_code == 401  # the code was used


async def test_a_provider_that_is_away_is_said(settings: Settings, clock: ManualClock) -> None:
    away = {"oidc_issuer": "http://127.0.0.1:9", "oidc_client_id": CLIENT, "development": False}
    async with running(build_app(settings.model_copy(update=away), clock)) as client:
        answer = await client.get("/dashboard/login/oidc")
    assert answer.status_code == 503
    assert "identity provider" in answer.text


async def test_without_a_provider_there_is_no_such_page(settings: Settings, clock: ManualClock) -> None:
    async with running(build_app(settings.model_copy(update={"development": False}), clock)) as client:
        assert (await client.get("/dashboard/login/oidc")).status_code == 404
        assert "SUCCESS_OIDC_ISSUER" in (await client.get("/dashboard/login")).text


def test_a_provider_needs_a_client_and_https() -> None:
    with pytest.raises(SettingsError, match="SUCCESS_OIDC_CLIENT_ID"):
        Settings(oidc_issuer="https://accounts.example")
    with pytest.raises(SettingsError, match="https"):
        Settings(oidc_issuer="http://accounts.example", oidc_client_id=CLIENT)
