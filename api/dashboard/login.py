"""Signing in to the dashboard and out of it; how it works is in api/session.py."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.rendering import PageRoute, page
from api.session import (
    LOGIN,
    CheckedCsrf,
    SignInError,
    accept,
    check_same_origin,
    safe_next,
    session_of,
    sign_in,
    sign_out,
)

router = APIRouter(route_class=PageRoute, include_in_schema=False)
Token = Annotated[str, Form(max_length=8192)]


@router.get(LOGIN)
async def login(
    request: Request,
    token: Annotated[str, Query(max_length=8192)] = "",
    next: Annotated[str, Query(max_length=2048)] = "",  # noqa: A002 - the address's word
) -> Response:
    """Ask for a token; one that a link brings along is filled in, and used when the button is pressed."""
    if not token and session_of(request) is not None:
        return RedirectResponse(safe_next(next), HTTPStatus.SEE_OTHER)
    return page(request, "login", token=token, next=next, problem=None)


@router.post(LOGIN)
async def enter(
    request: Request,
    token: Token,
    next: Annotated[str, Form(max_length=2048)] = "",  # noqa: A002
) -> Response:
    """Take a token and give the browser a session."""
    check_same_origin(request)
    try:
        agent = await accept(request, token)
    except SignInError as error:
        return page(request, "login", HTTPStatus.UNAUTHORIZED, token="", next=next, problem=str(error))
    response = RedirectResponse(safe_next(next), HTTPStatus.SEE_OTHER)
    sign_in(request, response, agent)
    return response


@router.post("/dashboard/logout", dependencies=[CheckedCsrf])
async def leave(request: Request) -> Response:
    """End the session in this browser."""
    response = RedirectResponse(LOGIN, HTTPStatus.SEE_OTHER)
    sign_out(request, response)
    return response
