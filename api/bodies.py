"""Reading bodies that no model reads: whole, within a limit, and of a type that is understood."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request

from api.problems import Problem


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The body; 413 as soon as it is known to be longer than `most_bytes`."""
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > most_bytes:
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


def _too_large(most_bytes: int) -> Problem:
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {most_bytes:,} bytes")
