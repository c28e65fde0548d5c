"""The OpenAPI document: what every route has in common is added here, so that no route can forget it."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.problems import MEDIA_TYPE, SCHEMA

TAGS = {
    "health": "The score, its history and what explains it.",
    "milestones": "What a supplier has reached, and what comes next.",
    "recommendations": "What to do next, with the points it would add.",
    "churn": "How likely a supplier is to leave. Agents and services only.",
    "coach": "What `<success-coach>` shows.",
    "calls": "Calls with a support agent.",
    "consent": "What a supplier lets us send.",
    "personal data": "A supplier's own data: export and erasure.",
    "events": "Activity events over HTTP, for services.",
    "links in emails": "What the links of our emails do; the signed token is the permission.",
    "webhooks": "What the mail provider reports.",
    "probes": "For orchestration and monitoring.",
}
ABOUT = """
Send `Authorization: Bearer <JWT>`. The claim `role` is `supplier` (with their id as `sub`), `agent` or `service`; a
supplier reads and changes what is their own, and another supplier's data does not exist for them (404).

Times are RFC 3339 in UTC with milliseconds. Errors are problem details (RFC 9457). Answers with an `ETag` can be
asked for again with `If-None-Match`. `RateLimit-*` headers say how much may still be asked.
"""
_FOR_TOKENS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_FROM_ANYWHERE = (HTTPStatus.BAD_REQUEST, HTTPStatus.TOO_MANY_REQUESTS)
"""The gate and the limits before all routes."""
_HEADERS = {
    "ETag": "Names this very answer, for `If-None-Match`.",
    "RateLimit-Limit": "Requests allowed in the window.",
    "RateLimit-Remaining": "Requests left.",
    "RateLimit-Reset": "Seconds until the window is over.",
}


def install(app: FastAPI) -> None:
    """Make `app` give this document at `/openapi.json`; it is built once, when first asked for."""
    app.openapi = _document(app)  # type: ignore[method-assign]


def _document(app: FastAPI) -> Callable[[], dict[str, Any]]:
    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app)
        return app.openapi_schema

    return document


def _build(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title=app.title,
        version=app.version,
        description=f"{app.description}\n{ABOUT}",
        routes=app.routes,
        tags=[{"name": name, "description": about} for name, about in TAGS.items()],
    )
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # the framework's: ours are problems
        schemas.pop(name, None)
    schemas["Problem"] = SCHEMA
    for path in made["paths"].values():
        for operation in path.values():
            _complete(operation)
    return made


def _complete(operation: dict[str, Any]) -> None:
    """Give one operation the errors that every one of its kind has, all of them as problems."""
    responses = operation["responses"]
    for status in _FROM_ANYWHERE:
        said = responses.setdefault(str(int(status)), {"description": status.phrase})
        said["content"] = said.get("content", {}) | {MEDIA_TYPE: {}}
    if operation.get("security"):
        for status in _FOR_TOKENS:
            responses.setdefault(str(int(status)), {"description": status.phrase})
    if "requestBody" in operation:
        for status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT):
            responses.setdefault(str(int(status)), {"description": status.phrase})
    for status, response in responses.items():
        content = response.get("content", {"application/json": {}})
        if int(status) >= HTTPStatus.BAD_REQUEST and content.keys() & {MEDIA_TYPE, "application/json"}:
            others = {
                kind: each for kind, each in content.items() if kind not in {MEDIA_TYPE, "application/json"}
            }
            response["content"] = others | {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        if operation.get("security") and int(status) < HTTPStatus.BAD_REQUEST:
            response["headers"] = {
                name: {"description": about, "schema": {"type": "string"}} for name, about in _HEADERS.items()
            } | response.get("headers", {})
    operation["responses"] = dict(sorted(responses.items()))
