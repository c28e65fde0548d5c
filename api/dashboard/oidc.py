"""Agents sign in with their account: OpenID Connect's code flow with PKCE, state and nonce.

What must come back with the browser waits in a signed cookie for ten minutes; nothing of it is in an address. The ID
token is verified as the API's tokens are: its key fits its algorithm, `aud` is our client, `iss` the issuer.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import httpx2
import jwt
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from api.auth import OWN_ALGORITHM, Caller, TokenError
from api.dashboard.rendering import PageRoute, page
from api.dashboard.session import (
    LOGIN,
    cookie_name,
    dashboard_key,
    safe_next,
    set_cookie,
    sign_in,
)
from api.issuer import ALGORITHMS, FETCH_S, IssuerAwayError, IssuerKeys, fetch_object
from api.problems import Problem
from api.services import services
from api.tokens import LONGEST_NAME, claim_at, header_of, verified
from runtime.settings import is_safe_address
from store import audit

if TYPE_CHECKING:
    from runtime.settings import Settings

logger = logging.getLogger(__name__)
router = APIRouter(route_class=PageRoute, include_in_schema=False)

CALLBACK = f"{LOGIN}/oidc/callback"
METADATA_KEPT_S = 3600
WAITS_S = 600
_COOKIE, _AUDIENCE = "success_oidc", "dashboard-oidc"
_ERROR = re.compile(r"[a-z_]{1,40}")
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class Provider:
    """The identity provider of the settings; nothing is asked of it before somebody signs in."""

    def __init__(self, settings: Settings) -> None:
        self.issuer = settings.oidc_issuer or ""
        self._settings = settings
        self._metadata: dict[str, Any] = {}
        self._read_at = 0.0
        self._keys: IssuerKeys | None = None

    async def metadata(self) -> dict[str, Any]:
        """What the provider says of itself. Raises IssuerAwayError."""
        if not self._metadata or time.monotonic() - self._read_at > METADATA_KEPT_S:
            found = await fetch_object(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self.issuer:
                raise IssuerAwayError(f"{self.issuer} says that it is {found.get('issuer')!r}")
            for name in _ENDPOINTS:
                if not isinstance(found.get(name), str) or not is_safe_address(found[name]):
                    raise IssuerAwayError(f"{self.issuer} names no {name} over https")
            self._metadata, self._read_at = found, time.monotonic()
        return self._metadata

    def client(self) -> AsyncOAuth2Client:
        """A client that speaks for us."""
        secret = self._settings.oidc_client_secret
        return AsyncOAuth2Client(
            self._settings.oidc_client_id,
            secret,
            scope=self._settings.oidc_scope,
            redirect_uri=self._settings.public_url + CALLBACK,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            timeout=FETCH_S,
        )

    async def claims(self, id_token: str) -> dict[str, Any]:
        """The claims of an ID token that this provider issued to us. Raises TokenError and IssuerAwayError."""
        algorithm, kid = header_of(id_token)
        if algorithm not in ALGORITHMS or kid is None:
            raise TokenError("the ID token is signed in a way that is not accepted here")
        if self._keys is None:
            self._keys = IssuerKeys((await self.metadata())["jwks_uri"])
        key = await self._keys.find(kid, algorithm)
        if key is None:
            raise TokenError("the ID token names no key of its issuer")
        return verified(id_token, key, algorithm, self._settings.oidc_client_id, self.issuer)

    async def close(self) -> None:
        """Wait for nobody any longer."""
        if self._keys is not None:
            await self._keys.close()


def provider_of(request: Request) -> Provider | None:
    """The provider, where one is set."""
    provider: Provider | None = request.app.state.oidc
    return provider


@router.get(f"{LOGIN}/oidc")
async def begin(
    request: Request,
    next: Annotated[str, Query(max_length=2048)] = "",  # noqa: A002 - the address's word
) -> Response:
    """Lead to the provider's own page."""
    provider = _needed(request)
    await request.app.state.limits.count_strangers(request.scope, "sign_in")
    state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
    try:
        endpoint = (await provider.metadata())["authorization_endpoint"]
    except IssuerAwayError as error:
        raise _away(error) from error
    async with provider.client() as client:
        address, _ = client.create_authorization_url(
            endpoint, state=state, nonce=nonce, code_verifier=verifier
        )
    response = RedirectResponse(address, HTTPStatus.SEE_OTHER)
    waiting = {"state": state, "nonce": nonce, "verifier": verifier, "next": safe_next(next)}
    signed = jwt.encode(
        waiting | {"aud": _AUDIENCE, "exp": int(time.time()) + WAITS_S},
        dashboard_key(services(request).settings),
        algorithm=OWN_ALGORITHM,
    )
    set_cookie(request, response, _COOKIE, signed, WAITS_S)
    return response


@router.get(CALLBACK)
async def come_back(
    request: Request,
    state: Annotated[str, Query(max_length=1024)] = "",
    code: Annotated[str, Query(max_length=8192)] = "",
    error: Annotated[str, Query(max_length=1024)] = "",
) -> Response:
    """Take the provider's answer and give the browser a session, if it is an agent who comes."""
    provider = _needed(request)
    await request.app.state.limits.count_strangers(request.scope, "sign_in")
    try:
        waiting = _waiting(request, state)
        claims = await _claims(provider, _granted(code, error), waiting)
        agent = agent_of(claims, services(request).settings)
    except IssuerAwayError as away:
        raise _away(away) from away
    except TokenError as refused:
        logger.warning("a sign-in by OIDC failed: %s", refused)
        return page(request, "login", HTTPStatus.UNAUTHORIZED, problem=str(refused), **login_words(request))
    opened = services(request)
    now = opened.clock.now_ms()
    async with opened.transaction(agent) as conn:
        actor = agent.actor
        await audit.log(conn, actor, audit.SIGNED_IN, None, now, subject=str(claims["sub"]), by="oidc")
    response = RedirectResponse(safe_next(str(waiting["next"])), HTTPStatus.SEE_OTHER)
    set_cookie(request, response, _COOKIE, "", 0)
    await sign_in(request, response, agent)
    return response


def agent_of(claims: dict[str, Any], settings: Settings) -> Caller:
    """Who signed in, if the provider says that they are an agent; TokenError otherwise."""
    said = claim_at(claims, settings.oidc_agent_claim)
    wanted = settings.oidc_agent_value
    if said != wanted and not (isinstance(said, list) and wanted in said):
        raise TokenError("your account is not that of an agent: ask whoever looks after accounts")
    name = claim_at(claims, settings.oidc_name_claim)
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise TokenError(f"your account has no `{settings.oidc_name_claim}` to go by")
    if settings.oidc_name_claim == "email" and claims.get("email_verified") is not True:
        raise TokenError("your account's email address is not verified")
    return Caller("agent", name)


def login_words(request: Request, *, token: str = "", next: str = "") -> dict[str, Any]:  # noqa: A002
    """What the login page needs to know."""
    return {
        "token": token,
        "next": next,
        "has_provider": provider_of(request) is not None,
        "is_development": services(request).settings.is_development(),
    }


def _granted(code: str, error: str) -> str:
    if error or not code:
        why = f" ({error})" if _ERROR.fullmatch(error) else ""
        raise TokenError(f"your identity provider did not sign you in{why}")
    return code


async def _claims(provider: Provider, code: str, waiting: dict[str, Any]) -> dict[str, Any]:
    endpoint = (await provider.metadata())["token_endpoint"]
    try:
        async with provider.client() as client:
            answer = await client.fetch_token(endpoint, code=code, code_verifier=waiting["verifier"])
    except AuthlibBaseError as error:
        raise TokenError("your identity provider did not confirm the sign-in: try again") from error
    except (httpx2.HTTPError, ValueError) as error:
        raise IssuerAwayError(f"{endpoint}: {type(error).__name__}") from error
    id_token = answer.get("id_token")
    if not isinstance(id_token, str):
        raise TokenError("your identity provider sent no ID token")
    claims = await provider.claims(id_token)
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), str(waiting["nonce"]).encode()):
        raise TokenError("the ID token answers another sign-in: try again")
    return claims


def _waiting(request: Request, state: str) -> dict[str, Any]:
    """What this browser waits for."""
    try:
        waiting: dict[str, Any] = jwt.decode(
            request.cookies.get(cookie_name(request, _COOKIE), ""),
            dashboard_key(services(request).settings),
            algorithms=[OWN_ALGORITHM],
            audience=_AUDIENCE,
            options={"require": ["exp", "aud"]},
        )
    except jwt.ExpiredSignatureError:
        raise TokenError("this sign-in has expired: begin again") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise TokenError("this browser did not begin this sign-in: begin here") from None
    if not hmac.compare_digest(str(waiting.get("state", "")).encode(), state.encode()):
        raise TokenError("this browser did not begin this sign-in: begin here")
    return waiting


def _needed(request: Request) -> Provider:
    provider = provider_of(request)
    if provider is None:
        raise Problem(HTTPStatus.NOT_FOUND, "there is no such page")
    return provider


def _away(error: IssuerAwayError) -> Problem:
    logger.warning("agents can't sign in: %s", error)
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "your identity provider does not answer now; try again in some seconds",
    )
