"""Errors as RFC 9457 problem details: whatever goes wrong, the body says what and what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from aiokafka.errors import KafkaError
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from psycopg import DataError, InterfaceError, OperationalError
from psycopg_pool import PoolClosed, PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
ErrorPage = Callable[[Request, HTTPStatus, str], Response]
"""Shows an error to a person; a route that sets `request.state.error_page` wants it for unexpected ones."""
_UNREADABLE_BODY = "There was an error parsing the body"
"""The framework's words for a body that is no text."""
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "field": {"type": "string", "description": "Of the request, with dots."},
                    "index": {"type": "integer", "description": "Of an event in a batch, from 0."},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
"""JSON Schema of a problem, for the OpenAPI document."""


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """An error to answer with: `status`, one sentence of `detail` for people, further members in `more`."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more


def problem_response(problem: Problem) -> Response:
    """The answer that says `problem`."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        **problem.more,
    }
    return Response(
        orjson.dumps(body), status_code=problem.status, media_type=MEDIA_TYPE, headers=problem.headers
    )


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route in OpenAPI: these errors, as problems."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": SCHEMA}},
        }
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem, also the framework's own (404, 405, 422) and the unexpected (500)."""
    app.add_exception_handler(Problem, _ours)
    app.add_exception_handler(HTTPException, _the_frameworks)
    app.add_exception_handler(RequestValidationError, _not_as_asked)
    for kind in (OperationalError, InterfaceError, PoolTimeout, PoolClosed):
        app.add_exception_handler(kind, _database_away)
    app.add_exception_handler(KafkaError, _kafka_away)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(DataError, _not_to_be_kept)
    app.add_exception_handler(UnicodeEncodeError, _not_to_be_kept)
    app.add_exception_handler(Exception, _unexpected)


async def _ours(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Problem):
        raise error
    return problem_response(error)


async def _the_frameworks(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The router names the methods of the first route that has this path; there may be one for each method.
        allow = {"Allow": ", ".join(sorted(_methods(request)))}
        detail = f"{request.method} is not for {request.url.path}"
        return problem_response(Problem(error.status_code, detail, headers=allow))
    if error.status_code == HTTPStatus.BAD_REQUEST and error.detail == _UNREADABLE_BODY:
        return problem_response(Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "the body is not JSON in UTF-8"))
    is_missing = error.status_code == HTTPStatus.NOT_FOUND
    detail = f"there is nothing at {request.url.path}" if is_missing else str(error.detail)
    return problem_response(Problem(error.status_code, detail, headers=error.headers))


def _methods(request: Request) -> set[str]:
    """The methods that are for the path of a request."""
    found: set[str] = set()
    for each in iter_route_contexts(request.app.routes):
        route = each.original_route
        matched, _ = route.matches(request.scope)
        if matched is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return found


async def _not_as_asked(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    # `input` and `ctx` stay out: they repeat what was sent, which may be personal.
    errors = [_wrong_field(each) for each in error.errors()]
    said = "; ".join(f"{each['field']}: {each['detail']}" for each in errors)
    return problem_response(Problem(HTTPStatus.UNPROCESSABLE_ENTITY, said, errors=errors))


def _wrong_field(found: Mapping[str, Any]) -> dict[str, str]:
    where, *inner = found["loc"]
    if found["type"] == "json_invalid":  # whose place is a number of characters
        return {"field": str(where), "detail": f"not JSON, from character {inner[0] + 1} on"}
    return {
        "field": ".".join(str(part) for part in inner) or str(where),
        "detail": found["msg"].removeprefix("Value error, "),
    }


async def _gone(_request: Request, _error: Exception) -> Response:
    return problem_response(Problem(HTTPStatus.BAD_REQUEST, "the body ended before it was there"))


async def _not_to_be_kept(request: Request, error: Exception) -> Response:
    """The last net under api/gate.py: a text that Postgres can't keep is the caller's error, any other data is ours."""
    if isinstance(error, DataError) and error.sqlstate not in {None, "22021", "22P05"}:
        logger.error("a request failed", exc_info=error)
        return await _unexpected(request, error)
    return problem_response(
        Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "a text holds characters which can't be kept")
    )


async def _database_away(_request: Request, error: Exception) -> Response:
    logger.warning("a request failed because Postgres is away: %s", " ".join(str(error).split()))
    detail = "the database does not answer; try again in some seconds"
    return problem_response(
        Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(RETRY_AFTER_S)})
    )


async def _kafka_away(_request: Request, error: Exception) -> Response:
    logger.warning("a request failed because Kafka is away: %s", " ".join(repr(error).split()))
    detail = "Kafka does not take events now; try the same again in some seconds"
    return problem_response(
        Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(RETRY_AFTER_S)})
    )


async def _unexpected(request: Request, _error: Exception) -> Response:
    # The server logs the error with its traceback; the answer tells nothing of our insides.
    detail = "something went wrong on our side; it is logged"
    # Where people look, the route says how it is shown (api/dashboard/rendering.py).
    as_page: ErrorPage | None = getattr(request.state, "error_page", None)
    answer = (
        as_page(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail)
        if as_page is not None
        else problem_response(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail))
    )
    # The server hangs up after this: a proxy that kept the connection would fail somebody's next request.
    answer.headers["Connection"] = "close"
    return answer
