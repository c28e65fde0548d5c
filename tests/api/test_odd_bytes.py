"""Odd bytes anywhere: every route answers them with an error of the caller's, never with one of ours or a stack trace.

The routes are asked of the app, so that a new one is in the test.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from httpx import AsyncClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from api.app import build_app
from api.gate import split
from api.models import Asked
from runtime.clock import ManualClock
from runtime.settings import Settings
from tests.api.conftest import running
from tests.api.test_auth_and_problems import assert_problem
from tests.forms import LONG

A_PART = 3
"""Of the places where something odd may stand so many are taken in turn."""
SARAH = "11111111-1111-4111-8111-111111111111"
ODD = (
    "\0",
    "%00",
    "\ud800",
    "\ufffd",
    "[",
    "http://[::1",
    "//evil.example",
    "\r\n",
    "\x7f",
    "\uff58",
    "😀",
    "%ff",
    "'",
)


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of every route, `{…}` included."""
    found = [each.original_route for each in iter_route_contexts(app.routes)]
    return sorted(
        (method, route.path)
        for route in found
        if isinstance(route, Route) or hasattr(route, "methods")
        for method in route.methods or ()
    )


@pytest.fixture
async def odd_api(settings: Settings, clock: ManualClock) -> AsyncIterator[tuple[AsyncClient, FastAPI]]:
    app = build_app(settings.model_copy(update={"rate_limit": "off"}), clock)
    async with running(app) as client:
        yield client, app


def filled(path: str, value: str) -> str:
    """The path with a value for each of its parameters."""
    parts = path.split("{")
    return parts[0] + "".join(value + part.partition("}")[2] for part in parts[1:])


async def ask(app: FastAPI, method: str, raw_path: bytes, **more: Any) -> tuple[int, bytes]:
    """Ask the app as the server would, with any bytes whatever; an HTTP client would not send them."""
    path, _, query = raw_path.partition(b"?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path.decode("utf-8", "replace"),
        "raw_path": path,
        "root_path": "",
        "query_string": query,
        "headers": [(b"host", b"api.test"), *more.get("headers", [])],
        "client": ("203.0.113.7", 4711),
        "server": ("api.test", 80),
        "state": {},
    }
    if more.get("host") is not None:
        scope["headers"][0] = (b"host", more["host"])
    parts = list(more.get("body", [{"type": "http.request", "body": b"", "more_body": False}]))
    said: dict[str, Any] = {"status": 0, "body": b""}

    async def receive() -> dict[str, Any]:
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            said["status"] = message["status"]
        said["body"] += message.get("body", b"")

    await app(scope, receive, send)
    return said["status"], said["body"]


def authorized(token: Any) -> list[list[tuple[bytes, bytes]]]:
    """Nobody, and each role."""
    kinds = [token(role, SARAH)["Authorization"] for role in ("supplier", "agent", "service")]
    return [[], *([(b"authorization", kind.encode())] for kind in kinds)]


@pytest.mark.stack
async def test_no_route_falls_over_odd_addresses_headers_or_bodies(
    odd_api: tuple[AsyncClient, FastAPI], token: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _, app = odd_api
    whos = authorized(token)
    caplog.set_level(logging.ERROR)
    seen = 0
    for number, (method, path) in enumerate(routes(app)):
        whole = filled(path, SARAH).encode()
        for index, odd in enumerate(ODD):
            raw = odd.encode("utf-8", "surrogatepass")
            who = whos[(number + index) % len(whos)]
            body = json.dumps({"supplierId": SARAH, "notes": odd, odd: [odd], "text": {"a": odd}}).encode()
            asked: list[dict[str, Any]] = [
                {"raw_path": filled(path, odd).encode("utf-8", "surrogatepass"), "headers": who},
                {"raw_path": whole + b"?next=" + raw + b"&page=" + raw + b"&days=" + raw, "headers": who},
                {
                    "raw_path": whole,
                    "headers": [
                        *who,
                        (b"origin", raw),
                        (b"referer", raw),
                        (b"hx-request", b"true"),
                        (b"hx-current-url", raw),
                        (b"if-none-match", raw),
                        (b"last-event-id", raw),
                        (b"cookie", b"success_session=" + raw),
                        (b"user-agent", raw),
                    ],
                },
                {"raw_path": whole, "host": raw, "headers": who},
                {
                    "raw_path": whole,
                    "headers": [*who, (b"content-type", b"application/json")],
                    "body": [{"type": "http.request", "body": body, "more_body": False}],
                },
                {
                    "raw_path": whole,
                    "headers": [*who, (b"content-type", b"application/x-www-form-urlencoded")],
                    "body": [
                        {"type": "http.request", "body": b"token=" + raw + b"&a=%00", "more_body": False}
                    ],
                },
            ]
            for place, one in enumerate(asked):
                if not LONG and (number + index + place) % A_PART:
                    continue  # each route has all odd things, in some of the places, and all of the places
                if "/events" in path and method == "GET" and who:
                    continue  # an event stream, which has no end
                status, _ = await ask(app, method, one.pop("raw_path"), **one)
                seen += 1
                assert 200 <= status < 500, f"{method} {path}: {odd!r} in {one} gives {status}"
    assert seen > 1000
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.stack
async def test_a_body_that_breaks_off_is_an_error_of_the_callers(
    odd_api: tuple[AsyncClient, FastAPI], token: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _, app = odd_api
    caplog.set_level(logging.ERROR)
    who = [(b"authorization", token("service")["Authorization"].encode())]
    kinds = (b"application/json", b"application/x-www-form-urlencoded", b"application/cloudevents+json")
    for method, path in routes(app):
        for kind in kinds if method in {"POST", "PUT", "PATCH", "DELETE"} else ():
            torn = [{"type": "http.request", "body": b'{"a', "more_body": True}, {"type": "http.disconnect"}]
            headers = [*who, (b"content-type", kind)]
            status, _ = await ask(app, method, filled(path, SARAH).encode(), headers=headers, body=torn)
            assert 200 <= status < 500, f"{method} {path} {kind!r} gives {status}"
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.stack
async def test_feedback_with_a_nul_is_refused_and_the_export_goes_on(
    odd_api: tuple[AsyncClient, FastAPI], token: Any, world: Any
) -> None:
    client, _ = odd_api
    supplier = await world.supplier()
    for odd in ("\0", "\ud800"):
        said = {"kind": "tip_shown", "id": "connect_email", "page": f"/a{odd}"}
        refused = await client.post(
            f"/api/coach/{supplier}/feedback",
            content=json.dumps(said),
            headers=token("supplier", supplier) | {"Content-Type": "application/json"},
        )
        assert_problem(refused, 422)
    export = await client.get(f"/api/suppliers/{supplier}/data", headers=token("supplier", supplier))
    assert export.status_code == 200


@pytest.mark.stack
async def test_a_body_that_never_comes_is_408(settings: Settings, clock: ManualClock, token: Any) -> None:
    app = build_app(settings, clock)
    [limit] = [each for each in app.user_middleware if each.cls.__name__ == "LimitBodies"]
    limit.kwargs["patience_s"] = 0.05
    async with running(app) as client:

        async def slowly() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(0.5)
            yield b"}"

        headers = token("service") | {"Content-Type": "application/cloudevents+json"}
        assert_problem(await client.post("/api/events", content=slowly(), headers=headers), 408)


@given(st.text())
def test_any_text_is_an_address_or_none(text: str) -> None:
    parts = split(text)
    assert parts is None or isinstance(parts.path, str)


class Body(Asked):
    """A body of whatever there is."""

    a: Any


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_a_body_that_is_taken_can_be_kept_and_said(value: Any) -> None:
    try:
        taken = Body.model_validate({"a": value})
    except ValueError:
        return
    assert "\\u0000" not in json.dumps(taken.a) or "\\\\u0000" in json.dumps(taken.a)
    json.dumps(taken.a, ensure_ascii=False).encode()
