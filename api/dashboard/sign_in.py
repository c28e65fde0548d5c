"""Signing in for development: a one-time link, or an agent's bearer token. Elsewhere agents sign in by OIDC.

The login form posts `token`: what stands in the link of `success token --role agent --login`, or a bearer token.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import jwt
from fastapi import Request

from api.auth import OWN_ALGORITHM, Caller, TokenError, Tokens
from api.dashboard.session import LOGIN, dashboard_key
from api.problems import Problem
from api.services import services
from runtime.settings import Settings
from scoring.time import SECOND
from store import audit

LINK_LIFETIME_S = 10 * 60
_AUDIENCE = "dashboard-login"
_NEW_LINK = "get a new one with `success token --role agent --login`"


class SignInError(ValueError):
    """What was shown at the login is not good for it; the message says why, for people."""


async def accept(request: Request, shown: str) -> Caller:
    """Say whose a pasted bearer token or a login link's token is; each link is good for one login.

    Raises SignInError, which says what to do instead.
    """
    opened = services(request)
    if not opened.settings.is_development():
        raise SignInError("links and tokens sign in on a development machine only: sign in with your account")
    shown = shown.strip().removeprefix("Bearer ").strip()
    claims = _link(opened.settings, shown)
    if claims is None:
        caller = await _of_bearer_token(request, shown)
        link_id = None
    else:
        caller, link_id = Caller("agent", str(claims["sub"])), str(claims["jti"])
    now = opened.clock.now_ms()
    earliest = now - 2 * LINK_LIFETIME_S * SECOND
    async with opened.transaction(caller) as conn:
        if link_id is not None and await audit.link_was_used(conn, link_id, earliest):
            raise SignInError(f"this link has been used: {_NEW_LINK}")
        actor = caller.actor
        await audit.log(conn, actor, audit.SIGNED_IN, None, now, link=link_id)
    return caller


def login_link(settings: Settings, agent: str) -> str:
    """Make an address that signs an agent in once, within ten minutes."""
    now = int(time.time())
    claims = {
        "aud": _AUDIENCE, "sub": agent, "jti": str(uuid4()), "iat": now, "exp": now + LINK_LIFETIME_S
    }  # fmt: skip
    token = jwt.encode(claims, dashboard_key(settings), algorithm=OWN_ALGORITHM)
    return f"{settings.public_url}{LOGIN}?{urlencode({'token': token})}"


def _link(settings: Settings, token: str) -> dict[str, Any] | None:
    try:
        return jwt.decode(
            token,
            dashboard_key(settings),
            algorithms=[OWN_ALGORITHM],
            audience=_AUDIENCE,
            options={"require": ["exp", "jti", "sub"]},
        )
    except jwt.ExpiredSignatureError:
        raise SignInError(f"this link has expired: {_NEW_LINK}") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return None


async def _of_bearer_token(request: Request, token: str) -> Caller:
    tokens: Tokens = request.app.state.tokens
    try:
        caller = await tokens.read(token)
    except TokenError as error:
        raise SignInError(str(error).partition(" (")[0]) from None
    except Problem as problem:
        if problem.status != HTTPStatus.FORBIDDEN:
            raise
        raise SignInError(problem.detail) from None
    if caller.role != "agent":
        raise SignInError(f"this is a {caller.role}'s token: the dashboard needs an agent's")
    return caller
