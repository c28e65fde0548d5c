"""Reading bodies that no model reads: whole, within a limit, and of a type that is understood."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus

from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.gate import said_length
from api.problems import Problem, problem_response

PATIENCE_S = 30.0
"""Seconds in which a body must have come."""
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_NUL = re.compile(rb"\x00|%00")


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The body; 413 as soon as it is known to be longer than `most_bytes`."""
    if said_length(request.headers) > most_bytes:
        raise _too_large(most_bytes)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most_bytes:
            raise _too_large(most_bytes)
    return bytes(body)


def media_type(request: Request) -> tuple[str, str]:
    """The request's media type and its charset, in lower case; empty where they are not given."""
    kind, *parameters = request.headers.get("content-type", "").lower().split(";")
    named = dict(part.strip().partition("=")[::2] for part in parameters)
    return kind.strip(), named.get("charset", "").strip(' "')


class LimitBodies:
    """Middleware: no route reads more than this, or for longer, also where the framework reads: 413, 408."""

    def __init__(self, app: ASGIApp, most_bytes: int, patience_s: float = PATIENCE_S) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._patience_s = patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what says that it is too long, and count what comes."""
        too_large = _too_large(self._most_bytes)
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if said_length(Headers(scope=scope)) > self._most_bytes:
            await problem_response(too_large)(scope, receive, send)
            return
        read, has_ended = 0, False
        deadline = asyncio.get_running_loop().time() + self._patience_s
        is_form = Headers(scope=scope).get("content-type", "").lower().startswith(FORMS)
        end = b""

        async def receive_counted() -> Message:
            nonlocal read, has_ended, end
            if has_ended:  # what comes now is only that the caller has gone
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, "the body did not come in time") from None
            has_ended = not message.get("more_body", False)
            body = message.get("body", b"")
            read += len(body)
            if read > self._most_bytes:
                # The framework's own kind of error: any other it takes for a body that is no JSON.
                raise HTTPException(too_large.status, too_large.detail)
            if is_form and _NUL.search(end + body):
                raise HTTPException(HTTPStatus.BAD_REQUEST, "the form holds a NUL, which no text has")
            end = body[-2:]
            return message

        await self._app(scope, receive_counted, send)


def _too_large(most_bytes: int) -> Problem:
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {most_bytes:,} bytes")
