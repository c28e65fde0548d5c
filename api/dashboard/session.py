"""The dashboard's sessions: who is signed in, and what another site can't do. Forms carry a CSRF token.

A page's handler takes `agent: SignedIn`, a form's handler also has `dependencies=[CheckedCsrf]`, and every form holds
`<input type="hidden" name="csrf" value="{{ csrf_token(request) }}">` (or htmx sends it as `X-CSRF-Token`).

    response = RedirectResponse(safe_next(form.get("next")), 303)
    await sign_in(request, response, caller)

The cookie is a random name; the session lies in Postgres (store/people/sessions.py), where signing out ends it.
How an agent proves who they are is in api/dashboard/sign_in.py (links, development) and oidc.py.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import time
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response

from api.auth import Caller
from api.dashboard.fresh import freshness
from api.gate import split
from api.problems import Problem
from api.services import services
from runtime.settings import Settings
from store import audit
from store.people import sessions

logger = logging.getLogger(__name__)

HOME = "/dashboard"
LOGIN = "/dashboard/login"
CSRF_FIELD = "csrf"
CSRF_HEADER = "X-CSRF-Token"
BY_ITSELF = "Success-Live"
"""The header of a page that asks for what is new without anybody's click (static/live.js)."""
_COOKIE = "success_session"
_OURSELVES = Caller("service", "dashboard")
"""Who asks whose session a cookie is: nobody is known yet."""
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


@dataclass(frozen=True, slots=True)
class Session:
    """An agent's session: `id` is its random name, to which CSRF tokens are bound."""

    id: str
    agent: str


# signing in and out ----------------------------------------------------------------------------------


async def sign_in(request: Request, response: Response, agent: Caller) -> None:
    """Give the browser a session of this agent: a cookie that no script reads and no other site's form sends."""
    session_id = secrets.token_urlsafe(32)
    earlier = request.cookies.get(cookie_name(request, _COOKIE), "")
    async with services(request).transaction(agent) as conn:
        await sessions.end(conn, earlier, time.time())
        await sessions.begin(conn, session_id, agent.subject, time.time())
    set_cookie(request, response, _COOKIE, session_id, int(sessions.LIFETIME.total_seconds()))


async def sign_out(request: Request, response: Response, *, everywhere: bool = False) -> None:
    """End this session, or all of this agent, and take the cookie from the browser."""
    session = await session_of(request)
    if session is not None:
        agent = Caller("agent", session.agent)
        async with services(request).transaction(agent) as conn:
            if everywhere:
                await sessions.end_all(conn, session.agent, time.time())
            else:
                await sessions.end(conn, session.id, time.time())
            now_ms = services(request).clock.now_ms()
            actor = agent.actor
            await audit.log(conn, actor, audit.SIGNED_OUT, None, now_ms, everywhere=everywhere)
    set_cookie(request, response, _COOKIE, "", 0)
    response.headers["Clear-Site-Data"] = '"cache", "storage"'


def set_cookie(request: Request, response: Response, name: str, value: str, max_age: int) -> None:
    """Set a cookie of the dashboard; one without an age is taken away."""
    response.set_cookie(
        cookie_name(request, name),
        value,
        max_age=max_age,
        path="/",
        httponly=True,
        samesite="lax",
        secure=_is_secure(request),
    )


def safe_next(address: str | None) -> str:
    """Where to go after the login: a page of the dashboard, whatever was asked for."""
    parts = split(address or "")
    if parts is None or not address or not address.isprintable():
        return HOME
    inside = parts.path == HOME or parts.path.startswith(f"{HOME}/")
    # Backslashes: browsers read them as slashes.
    if parts.scheme or parts.netloc or not inside or "\\" in parts.path or parts.path == LOGIN:
        return HOME
    return parts.path + (f"?{parts.query}" if parts.query else "")


# who is there ----------------------------------------------------------------------------------------


async def session_of(request: Request) -> Session | None:
    """Find the session of a request's cookie; None without a good one. Asked for once a request."""
    if hasattr(request.state, "session"):
        known: Session | None = request.state.session
        return known
    session_id = request.cookies.get(cookie_name(request, _COOKIE), "")
    agent = None
    if session_id:
        async with services(request).transaction(_OURSELVES) as conn:
            # A page that follows by itself is nobody's click: the session is no longer good for it.
            agent = await sessions.find(conn, session_id, time.time(), used=BY_ITSELF not in request.headers)
    found = Session(session_id, agent) if agent else None
    request.state.session = found
    return found


async def still_signed_in(request: Request) -> bool:
    """Whether the session with which a long answer began is still good; that counts as no use of it."""
    session: Session | None = request.state.session
    if session is None:
        return False
    async with services(request).transaction(_OURSELVES) as conn:
        return await sessions.find(conn, session.id, time.time(), used=False) is not None


async def signed_in(request: Request) -> Caller:
    """Say which agent is there; a browser without a session is sent to the login."""
    session = await session_of(request)
    if session is None:
        raise _to_login(request)
    agent = Caller("agent", session.agent)
    await _note_reading(request, agent)
    await freshness.look(request)
    return agent


async def _note_reading(request: Request, agent: Caller) -> None:
    """Tables taken away are audited, opened suppliers logged; asked of the address, so that no page can forget it."""
    path = request.url.path
    if path.endswith(".csv"):
        opened = services(request)
        async with opened.transaction(agent) as conn:
            await audit.log(
                conn,
                agent.actor,
                audit.READ_CSV,
                None,
                opened.clock.now_ms(),
                table=path.removeprefix(HOME),
                narrowed_by=sorted(
                    request.query_params
                ),  # the names alone: somebody may have searched for a person
            )
    elif supplier_id := request.path_params.get("supplierId"):
        logger.info(
            "opened: %s of supplier %s by agent %s", path.rpartition("/")[2], supplier_id, agent.subject
        )


SignedIn = Annotated[Caller, Depends(signed_in)]
"""A page's parameter: the agent whose session it is (role `agent`, for `services.transaction`)."""


def csrf_token(request: Request) -> str:
    """Make the token that forms of this session carry; empty where nobody is signed in."""
    session: Session | None = getattr(request.state, "session", None)
    return _csrf_of(services(request).settings, session) if session else ""


async def check_csrf(request: Request) -> None:
    """Refuse (403) what another site sent, or a form without this session's token."""
    check_same_origin(request)
    session = await session_of(request)
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
    parts = split(origin or "")
    public = urlsplit(services(request).settings.public_url).netloc
    if origin and (parts is None or parts.netloc not in {request.headers.get("host"), public}):
        raise Problem(HTTPStatus.FORBIDDEN, "this was sent by another site")


# how ------------------------------------------------------------------------------------------------


def _to_login(request: Request) -> Problem:
    """A redirect for browsers; htmx is told to load the whole page, since its answer would land in a part of one."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    wanted = here if request.method in {"GET", "HEAD"} else HOME
    if request.headers.get("hx-request") == "true":
        parts = split(request.headers.get("hx-current-url", ""))
        wanted = (parts and parts.path) or HOME
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
    return hmac.new(dashboard_key(settings), f"csrf {session.id}".encode(), sha256).hexdigest()


def dashboard_key(settings: Settings) -> bytes:
    """A key for nothing but the dashboard's login: no bearer token is a session, and no session a bearer token."""
    return hmac.digest(settings.secret("secret_key").encode(), b"dashboard login", "sha256")


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https" or services(request).settings.public_url.startswith("https:")


def cookie_name(request: Request, name: str) -> str:
    """A cookie's name as browsers guard it: only this very host may set it, and only over https."""
    return f"__Host-{name}" if _is_secure(request) else name
