"""Reading bodies that no model reads: whole, within a limit, and of a type that is understood."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem, problem_response


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The body; 413 as soon as it is known to be longer than `most_bytes`."""
    if _said_length(request.headers) > most_bytes:
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
    """Middleware: no route reads more than this, also one whose body the framework reads: 413."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what says that it is too long, and count what comes."""
        too_large = _too_large(self._most_bytes)
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _said_length(Headers(scope=scope)) > self._most_bytes:
            await problem_response(too_large)(scope, receive, send)
            return
        read = 0

        async def receive_counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most_bytes:
                # The framework's own kind of error: any other it takes for a body that is no JSON.
                raise HTTPException(too_large.status, too_large.detail)
            return message

        await self._app(scope, receive_counted, send)


def _said_length(headers: Headers) -> int:
    said = headers.get("content-length", "")
    return int(said) if said.isdecimal() else 0


def _too_large(most_bytes: int) -> Problem:
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {most_bytes:,} bytes")
