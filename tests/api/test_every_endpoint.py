"""Every endpoint of the OpenAPI document is asked without a token, in the wrong role, and for another supplier.

An endpoint that is not in `ENDPOINTS` fails `test_every_endpoint_is_listed`: whoever adds one says here who may ask.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from api.app import build_app
from api.auth import Role, sign
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from store.database import Role as DatabaseRole
from store.database import open_pool
from tests.agents.delivery.world import NOW, World
from tests.api.lives import Life
from tests.api.test_auth_and_problems import assert_problem
from tests.conftest import in_own_loop
from topics.time import format_time

pytestmark = pytest.mark.stack

SUPPLIERS_OWN: tuple[Role, ...] = ("supplier", "agent", "service")
STAFF: tuple[Role, ...] = ("agent", "service")
SERVICE: tuple[Role, ...] = ("service",)
THEMSELVES: tuple[Role, ...] = ("supplier",)

OPEN = {
    ("GET", "/healthz"): "a probe",
    ("GET", "/readyz"): "a probe",
    ("GET", "/metrics"): "a probe, which names nobody",
    ("GET", "/e/open/{token}.gif"): "the signed token in the address is the permission",
    ("GET", "/e/click/{token}"): "the signed token in the address is the permission",
    ("GET", "/e/unsubscribe/{token}"): "the signed token in the address is the permission",
    ("POST", "/e/unsubscribe/{token}"): "the signed token in the address is the permission",
    ("GET", "/e/preferences/{token}"): "the signed token in the address is the permission",
    ("POST", "/e/preferences/{token}"): "the signed token in the address is the permission",
    ("GET", "/e/book/{token}"): "the signed token in the address is the permission",
    ("POST", "/e/book/{token}"): "the signed token in the address is the permission",
    ("GET", "/e/call/{token}"): "the signed token in the address is the permission",
    ("POST", "/e/call/{token}"): "the signed token in the address is the permission",
    ("GET", "/e/milestone/{token}"): "the signed token in the address is the permission",
    ("POST", "/webhooks/mail"): "the signature of the body is the permission",
    ("POST", "/webhooks/mail/ses"): "the signature of the body is the permission",
    ("POST", "/webhooks/mail/sendgrid"): "the signature of the body is the permission",
    (
        "POST",
        "/webhooks/mail/postmark",
    ): "the user name and password of the webhook's address are the permission",
    ("POST", "/webhooks/mail/mailgun"): "the signature in the body is the permission",
    ("POST", "/webhooks/mail/resend"): "the signature of the body is the permission",
}
"""Endpoints that want no bearer token, and why."""


@dataclass(frozen=True)
class Endpoint:
    """Who may ask; `body` is JSON in which `{supplier}` stands for their id."""

    method: str
    path: str
    roles: tuple[Role, ...]
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    good: tuple[int, ...] = (200,)
    is_stream: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/tests",
    "type": "supplier.logged_in",
    "subject": "{supplier}",
    "time": format_time(NOW),
}
CALL = {"supplierId": "{supplier}", "preferredTimes": [], "reason": "onboarding", "urgency": "low"}
ENDPOINTS = [
    Endpoint("GET", "/api/health/score/{supplierId}", SUPPLIERS_OWN),
    Endpoint("GET", "/api/health/history/{supplierId}", SUPPLIERS_OWN),
    Endpoint("GET", "/api/health/explain/{supplierId}", STAFF),
    Endpoint(
        "POST",
        "/api/success/milestone",
        SUPPLIERS_OWN,
        {"supplierId": "{supplier}", "milestoneType": "first_form"},
    ),
    Endpoint("GET", "/api/success/milestones/{supplierId}", SUPPLIERS_OWN),
    Endpoint("GET", "/api/success/recommendations/{supplierId}", SUPPLIERS_OWN),
    Endpoint("GET", "/api/success/churn/{supplierId}", STAFF),
    Endpoint(
        "POST",
        "/api/events",
        SERVICE,
        EVENT,
        headers={"Content-Type": "application/cloudevents+json"},
        good=(202,),
    ),
    Endpoint("GET", "/api/suppliers/{supplierId}/consent", SUPPLIERS_OWN),
    Endpoint("PUT", "/api/suppliers/{supplierId}/consent", SUPPLIERS_OWN, {"paused": False}),
    Endpoint("GET", "/api/suppliers/{supplierId}/data", SUPPLIERS_OWN),
    Endpoint("DELETE", "/api/suppliers/{supplierId}/data", SUPPLIERS_OWN, good=(204,)),
    Endpoint("POST", "/api/support/schedule-call", SUPPLIERS_OWN, CALL, good=(201,)),
    Endpoint("GET", "/api/support/calls/{id}", SUPPLIERS_OWN),
    Endpoint("PATCH", "/api/support/calls/{id}", SUPPLIERS_OWN, {"status": "cancelled"}),
    Endpoint("GET", "/api/coach/{supplierId}", SUPPLIERS_OWN),
    Endpoint("GET", "/api/coach/{supplierId}/events", SUPPLIERS_OWN, is_stream=True),
    Endpoint(
        "POST",
        "/api/coach/{supplierId}/feedback",
        THEMSELVES,
        {"kind": "tip_shown", "id": "send_form"},
        good=(204,),
    ),
    Endpoint("GET", "/api/coach/{supplierId}/call-times", SUPPLIERS_OWN),
]
every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)


@dataclass(frozen=True)
class Supplier:
    """A supplier of whom something is known, with a call."""

    id: str
    call: str


class Server:
    """The API on its port, with suppliers to ask about."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.client = httpx.Client(base_url=url, timeout=30)
        self.settings = settings

    def supplier(self) -> Supplier:
        """Another supplier with a form, its milestone, a history and a call that waits for its time."""
        return in_own_loop(_supplier(self.settings))

    def token(self, role: Role, subject: str = "") -> dict[str, str]:
        """The header of a good token."""
        signed = sign(self.settings, role, subject or f"the {role}", 3600, int(time.time()))
        return {"Authorization": f"Bearer {signed}"}

    def ask(self, endpoint: Endpoint, about: Supplier, headers: dict[str, str]) -> httpx.Response:
        """Ask about a supplier; of a stream the beginning is enough."""
        path = endpoint.path.replace("{supplierId}", about.id).replace("{id}", about.call)
        body = {
            key: value.replace("{supplier}", about.id) if isinstance(value, str) else value
            for key, value in (endpoint.body or {}).items()
        }
        request = self.client.build_request(
            endpoint.method, path, json=body or None, headers=endpoint.headers | headers
        )
        answer = self.client.send(request, stream=True)
        if not (endpoint.is_stream and answer.status_code == 200):
            answer.read()
        answer.close()
        return answer


async def _supplier(settings: Settings) -> Supplier:
    pool = await open_pool(settings.database_url, DatabaseRole.WRITER)
    life = Life(World(settings, pool, ManualClock(NOW), Policy.load()), vendor_type="photographer")
    life.happens("form.created", 1000, form_id="f")
    supplier = await life.stored()
    async with pool.connection() as conn:
        found = await conn.execute(
            "INSERT INTO support_interactions (supplier_id, interaction_type) "
            "VALUES (%s, 'check_in') RETURNING id::text",
            (supplier,),
        )
        row = await found.fetchone()
    await pool.close()
    assert row
    return Supplier(supplier, row[0])


@pytest.fixture(scope="module")
def server(served: str, served_settings: Settings) -> Iterator[Server]:
    made = Server(served, served_settings)
    yield made
    made.client.close()


@pytest.fixture(scope="module")
def emma(server: Server) -> Supplier:
    """Somebody about whom Sarah asks in vain."""
    return server.supplier()


def test_every_endpoint_is_listed(server: Server) -> None:
    document = server.client.get("/openapi.json").json()
    there = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert there == {(each.method, each.path) for each in ENDPOINTS} | OPEN.keys()


def test_nothing_under_api_is_left_out_of_the_document(served_settings: Settings) -> None:
    app = build_app(served_settings)
    routes = [each.original_route for each in iter_route_contexts(app.routes)]
    under_api = [route for route in routes if isinstance(route, APIRoute) and route.path.startswith("/api/")]
    assert len(under_api) >= len(ENDPOINTS)
    assert [route.path for route in under_api if not route.include_in_schema] == []


@every_endpoint
def test_no_token_or_a_bad_one_is_401(server: Server, emma: Supplier, endpoint: Endpoint) -> None:
    spoilt = server.token("service")["Authorization"][:-2]
    for headers in ({}, {"Authorization": spoilt}, {"Authorization": "Basic c2FyYWg6eA=="}):
        answer = server.ask(endpoint, emma, headers)
        assert_problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")


@every_endpoint
def test_a_role_that_may_not_is_403(server: Server, emma: Supplier, endpoint: Endpoint) -> None:
    for role in sorted(set(SUPPLIERS_OWN) - set(endpoint.roles)):
        headers = server.token(role, emma.id if role == "supplier" else "")
        assert_problem(server.ask(endpoint, emma, headers), 403)


@every_endpoint
def test_another_suppliers_data_is_404(server: Server, emma: Supplier, endpoint: Endpoint) -> None:
    """To Sarah there is no Emma: the same answer as for somebody who does not exist."""
    sarah = server.token("supplier", "11111111-1111-4111-8111-111111111111")
    nobody = Supplier("99999999-9999-4999-8999-999999999999", "99999999-9999-4999-8999-999999999998")
    expected = 404 if "supplier" in endpoint.roles else 403
    said = [assert_problem(server.ask(endpoint, about, sarah), expected) for about in (emma, nobody)]
    assert said[0] == said[1]


@every_endpoint
def test_who_may_is_answered(server: Server, endpoint: Endpoint) -> None:
    for role in endpoint.roles:
        about = server.supplier()
        answer = server.ask(endpoint, about, server.token(role, about.id if role == "supplier" else ""))
        assert answer.status_code in endpoint.good, answer.text


def dashboard_routes() -> list[tuple[str, str]]:
    """Method and address of every page and form of the dashboard but the login and what it is drawn with."""
    settings = Settings(**dict.fromkeys(("jwt_secret", "webhook_secret", "secret_key"), "x" * 32))
    routes = [each.original_route for each in iter_route_contexts(build_app(settings).routes)]
    paths = [
        (method, re.sub(r"{\w+(:\w+)?}", "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10", route.path))
        for route in routes
        if isinstance(route, APIRoute) and route.path.startswith("/dashboard")
        for method in sorted(route.methods)
    ]
    return [each for each in paths if not each[1].startswith(("/dashboard/login", "/dashboard/static"))]


@pytest.mark.parametrize(("method", "path"), dashboard_routes())
def test_the_dashboard_opens_for_a_session_only(server: Server, method: str, path: str) -> None:
    for headers in ({}, server.token("agent"), {"Cookie": "success_session=eyJhbGciOiJIUzI1NiJ9.e30.x"}):
        answer = server.client.request(method, path, headers=headers)
        assert answer.status_code == 303, answer.text[:500]
        assert answer.headers["location"].startswith("/dashboard/login?next=")


@pytest.mark.parametrize("path", [path for method, path in dashboard_routes() if method == "POST"])
def test_a_form_of_the_dashboard_needs_its_csrf_token(server: Server, path: str) -> None:
    with httpx.Client(base_url=server.client.base_url, timeout=30) as agent:
        shown = server.token("agent", "Kim")["Authorization"]
        signed_in = agent.post("/dashboard/login", data={"token": shown})
        assert signed_in.status_code == 303, signed_in.text[:500]
        assert agent.post(path, data={"csrf": "0" * 64}).status_code == 403
        assert agent.post(path).status_code == 403
