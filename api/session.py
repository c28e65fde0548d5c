"""The dashboard's login: an agent shows a token once and gets a session cookie; forms carry a CSRF token.

A page's handler takes `agent: SignedIn`, a form's handler also has `dependencies=[CheckedCsrf]`, and every form holds
`<input type="hidden" name="csrf" value="{{ csrf_token(request) }}">` (or htmx sends it as `X-CSRF-Token`). The login
form posts `token`: an agent's bearer token, or what stands in the link of `success token --role agent --login`.

    caller = await accept(request, form["token"])      # SignInError says what is wrong with it
    response = RedirectResponse(safe_next(form.get("next")), 303)
    sign_in(request, response, caller)

The session is in the cookie, signed with a key of its own: signing out ends it in this browser, its twelve hours end
it everywhere.
"""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

import jwt
from fastapi import Depends, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response

from api.auth import OWN_ALGORITHM, Caller, TokenError, Tokens
from api.problems import Problem
from api.services import services
from runtime.settings import Settings
from scoring.time import SECOND
from store import audit

HOME = "/dashboard"
LOGIN = "/dashboard/login"
SESSION_LIFETIME_S = 12 * 3600
LINK_LIFETIME_S = 10 * 60
CSRF_FIELD = "csrf"
CSRF_HEADER = "X-CSRF-Token"
_SESSION, _LINK = "dashboard-session", "dashboard-login"
_COOKIE = "success_session"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class SignInError(ValueError):
    """What was shown at the login is not good for it; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class Session:
    """An agent's session: `id` is its random name, to which CSRF tokens are bound."""

    id: str
    agent: str


# signing in and out ----------------------------------------------------------------------------------


async def accept(request: Request, shown: str) -> Caller:
    """Say whose a pasted bearer token or a login link's token is; each link is good for one login.

    Raises SignInError, which says what to do instead.
    """
    opened = services(request)
    shown = shown.strip().removeprefix("Bearer ").strip()
    claims = _read(opened.settings, shown, _LINK)
    if claims is None:
        caller = await _of_bearer_token(request, shown)
        link_id = None
    else:
        caller, link_id = Caller("agent", str(claims["sub"])), str(claims["jti"])
    now = opened.clock.now_ms()
    earliest = now - 2 * LINK_LIFETIME_S * SECOND
    async with opened.transaction(caller) as conn:
        if link_id is not None and await audit.link_was_used(conn, link_id, earliest):
            raise SignInError(
                "this link has been used: get a new one with `success token --role agent --login`"
            )
        actor = audit.Actor(caller.role, caller.subject)
        await audit.log(conn, actor, audit.SIGNED_IN, None, now, link=link_id)
    return caller


def sign_in(request: Request, response: Response, agent: Caller) -> None:
    """Give the browser a session of this agent: a cookie that no script reads and no other site's form sends."""
    settings = services(request).settings
    now = int(time.time())
    token = _sign(settings, _SESSION, agent.subject, now, SESSION_LIFETIME_S)
    response.set_cookie(
        _cookie_name(request),
        token,
        max_age=SESSION_LIFETIME_S,
        path="/",
        httponly=True,
        samesite="lax",
        secure=_is_secure(request),
    )


def sign_out(request: Request, response: Response) -> None:
    """Take the session from the browser."""
    response.delete_cookie(
        _cookie_name(request), path="/", httponly=True, samesite="lax", secure=_is_secure(request)
    )


def login_link(settings: Settings, agent: str) -> str:
    """Make an address that signs an agent in once, within ten minutes."""
    token = _sign(settings, _LINK, agent, int(time.time()), LINK_LIFETIME_S)
    return f"{settings.public_url}{LOGIN}?{urlencode({'token': token})}"


def safe_next(address: str | None) -> str:
    """Where to go after the login: a page of the dashboard, whatever was asked for."""
    parts = urlsplit(address or "")
    inside = parts.path == HOME or parts.path.startswith(f"{HOME}/")
    # Backslashes: browsers read them as slashes.
    if parts.scheme or parts.netloc or not inside or "\\" in parts.path or parts.path == LOGIN:
        return HOME
    return parts.path + (f"?{parts.query}" if parts.query else "")


# who is there ----------------------------------------------------------------------------------------


def session_of(request: Request) -> Session | None:
    """Find the session of a request's cookie; None without a good one."""
    token = request.cookies.get(_cookie_name(request), "")
    claims = _read(services(request).settings, token, _SESSION) if token else None
    return Session(str(claims["jti"]), str(claims["sub"])) if claims else None


async def signed_in(request: Request) -> Caller:
    """Say which agent is there; a browser without a session is sent to the login."""
    session = session_of(request)
    if session is None:
        raise _to_login(request)
    request.state.session = session
    return Caller("agent", session.agent)


SignedIn = Annotated[Caller, Depends(signed_in)]
"""A page's parameter: the agent whose session it is (role `agent`, for `services.transaction`)."""


def csrf_token(request: Request) -> str:
    """Make the token that forms of this session carry; empty where nobody is signed in."""
    session = session_of(request)
    return _csrf_of(services(request).settings, session) if session else ""


async def check_csrf(request: Request) -> None:
    """Refuse (403) what another site sent, or a form without this session's token."""
    check_same_origin(request)
    session = session_of(request)
    if session is None:
        raise _to_login(request)
    expected = _csrf_of(services(request).settings, session)
    if not hmac.compare_digest((await _csrf_sent(request)).encode(), expected.encode()):
        raise Problem(HTTPStatus.FORBIDDEN, "this page is too old: load it again and repeat what you did")


CheckedCsrf = Depends(check_csrf)
"""For `dependencies=[...]` of every route of the dashboard that changes something."""


def check_same_origin(request: Request) -> None:
    """Refuse (403) what a page of another site sends; for the login form, which has no session yet."""
    if request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
        raise Problem(HTTPStatus.FORBIDDEN, "this was sent by another site")
    origin = request.headers.get("origin")
    public = urlsplit(services(request).settings.public_url).netloc
    if origin and urlsplit(origin).netloc not in {request.headers.get("host"), public}:
        raise Problem(HTTPStatus.FORBIDDEN, "this was sent by another site")


# how ------------------------------------------------------------------------------------------------


async def _of_bearer_token(request: Request, token: str) -> Caller:
    tokens: Tokens = request.app.state.tokens
    try:
        caller = await tokens.read(token)
    except TokenError as error:
        raise SignInError(str(error)) from None
    if caller.role != "agent":
        raise SignInError(f"this is a {caller.role}'s token: the dashboard needs an agent's")
    return caller


def _to_login(request: Request) -> Problem:
    """A redirect for browsers; htmx is told to load the whole page, since its answer would land in a part of one."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    wanted = here if request.method in {"GET", "HEAD"} else HOME
    if request.headers.get("hx-request") == "true":
        wanted = urlsplit(request.headers.get("hx-current-url", "")).path or HOME
        address = f"{LOGIN}?next={quote(safe_next(wanted))}"
        return Problem(HTTPStatus.UNAUTHORIZED, "sign in first", headers={"HX-Redirect": address})
    address = f"{LOGIN}?next={quote(safe_next(wanted))}"
    return Problem(HTTPStatus.SEE_OTHER, "sign in first", headers={"Location": address})


async def _csrf_sent(request: Request) -> str:
    sent = request.headers.get(CSRF_HEADER)
    if sent is None and request.headers.get("content-type", "").startswith(_FORMS):
        field = (await request.form()).get(CSRF_FIELD)
        sent = None if isinstance(field, UploadFile) else field
    return sent or ""


def _csrf_of(settings: Settings, session: Session) -> str:
    return hmac.new(_key(settings), f"csrf {session.id}".encode(), sha256).hexdigest()


def _key(settings: Settings) -> bytes:
    """A key for nothing but the dashboard's login: no bearer token is a session, and no session a bearer token."""
    return hmac.digest(settings.secret("secret_key").encode(), b"dashboard login", "sha256")


def _sign(settings: Settings, audience: str, agent: str, now_s: int, lifetime_s: int) -> str:
    claims = {"aud": audience, "sub": agent, "jti": str(uuid4()), "iat": now_s, "exp": now_s + lifetime_s}
    return jwt.encode(claims, _key(settings), algorithm=OWN_ALGORITHM)


def _read(settings: Settings, token: str, audience: str) -> dict[str, Any] | None:
    try:
        return jwt.decode(
            token,
            _key(settings),
            algorithms=[OWN_ALGORITHM],
            audience=audience,
            options={"require": ["exp", "jti", "sub"]},
        )
    except jwt.PyJWTError:
        return None


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https" or services(request).settings.public_url.startswith("https:")


def _cookie_name(request: Request) -> str:
    # Browsers let only this very host set a cookie with this prefix, and only over https.
    return f"__Host-{_COOKIE}" if _is_secure(request) else _COOKIE
