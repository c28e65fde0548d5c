"""Signing in to the dashboard and out of it; how it works is in session.py, sign_in.py and oidc.py."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.oidc import login_words
from api.dashboard.rendering import PageRoute, page
from api.dashboard.session import (
    LOGIN,
    CheckedCsrf,
    check_same_origin,
    safe_next,
    session_of,
    sign_in,
    sign_out,
)
from api.dashboard.sign_in import SignInError, accept

logger = logging.getLogger(__name__)
router = APIRouter(route_class=PageRoute, include_in_schema=False)
Token = Annotated[str, Form(max_length=8192)]


@router.get(LOGIN)
async def login(
    request: Request,
    token: Annotated[str, Query(max_length=8192)] = "",
    next: Annotated[str, Query(max_length=2048)] = "",  # noqa: A002 - the address's word
) -> Response:
    """Lead to the provider, or ask for a token; one that a link brings along is used when the button is pressed."""
    if not token and await session_of(request) is not None:
        return RedirectResponse(safe_next(next), HTTPStatus.SEE_OTHER)
    return page(request, "login", problem=None, **login_words(request, token=token, next=next))


@router.post(LOGIN)
async def enter(
    request: Request,
    token: Token,
    next: Annotated[str, Form(max_length=2048)] = "",  # noqa: A002
) -> Response:
    """Take a token and give the browser a session."""
    check_same_origin(request)
    await request.app.state.limits.count_strangers(request.scope, "sign_in")
    try:
        agent = await accept(request, token)
    except SignInError as error:
        logger.warning("a sign-in failed: %s", error)
        words = login_words(request, next=next)
        return page(request, "login", HTTPStatus.UNAUTHORIZED, problem=str(error), **words)
    response = RedirectResponse(safe_next(next), HTTPStatus.SEE_OTHER)
    await sign_in(request, response, agent)
    return response


@router.post("/dashboard/logout", dependencies=[CheckedCsrf])
async def leave(request: Request, everywhere: Annotated[str, Form(max_length=5)] = "") -> Response:
    """End this session, or all of this agent's."""
    response = RedirectResponse(LOGIN, HTTPStatus.SEE_OTHER)
    await sign_out(request, response, everywhere=bool(everywhere))
    return response
