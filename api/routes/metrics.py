"""`/metrics` in Prometheus' text format: requests by route, and what all services show; spans of requests."""

from __future__ import annotations

import time
from http import HTTPStatus

from fastapi import APIRouter, Request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from psycopg import InterfaceError, OperationalError
from psycopg_pool import PoolTimeout
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem, documented, problem_response
from api.services import InServices, Services
from runtime import metrics as shared
from runtime import tracing
from store.service_metrics import look_at_pools, look_at_waiting

router = APIRouter(tags=["probes"])

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
INSIDE = "success.inside"
"""In the scope of a request that came to the port for monitoring."""
PROBES = {"/healthz", "/readyz", "/metrics"}
_STREAM = b"text/event-stream"


class Metrics:
    """The metrics of one app, in a registry of its own with those of the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("success_http_requests", "Requests.", labels, registry=self.registry)
        self.seconds = Histogram(
            "success_http_request_seconds",
            "Time to the end of the answer; event streams are left out.",
            ("method", "route"),
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self.mail_reports = Counter(
            "success_mail_reports",
            "Reports of mail providers; unmatched: about no message or supplier of ours.",
            ("provider", "status"),
            registry=self.registry,
        )
        self.streams = Gauge("success_http_streams_open", "Open event streams.", registry=self.registry)
        shared.show(shared.API, self.registry)


class CountRequests:
    """Middleware: counts and times every request by its route (never by its address, which holds ids)."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count a request when its answer has ended, whichever way."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, is_stream = 500, False
        started = time.perf_counter()

        async def send_counted(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                kind = dict(message.get("headers", ())).get(b"content-type", b"")
                is_stream = kind.startswith(_STREAM)
                if is_stream:
                    self._metrics.streams.inc()
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            self._count(scope, status, time.perf_counter() - started, is_stream=is_stream)

    def _count(self, scope: Scope, status: int, seconds: float, *, is_stream: bool) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if route != "none" else "any"
        self._metrics.requests.labels(method, route, str(status)).inc()
        if is_stream:
            self._metrics.streams.dec()
        else:
            self._metrics.seconds.labels(method, route).observe(seconds)


class TraceRequests:
    """Middleware: a span a request, where traces are wanted, named by its route; its address holds ids and tokens."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin a span, below the caller's if it says so; what the request publishes carries it on."""
        if not tracing.is_on() or scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        headers = [(name.decode("latin-1"), value) for name, value in scope["headers"]]
        span = tracing.begin("request", tracing.carried(headers), {}, "server")
        status = HTTPStatus.INTERNAL_SERVER_ERROR.value

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with tracing.within(span):
                await self._app(scope, receive, send_noted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            span.update_name(f"{scope['method']} {route}" if route != "none" else "request")
            span.set_attributes({"http.route": route, "http.response.status_code": status})
            tracing.end(span, failed=status >= HTTPStatus.INTERNAL_SERVER_ERROR)


class Inside:
    """The same app for monitoring, on a port that is not the public one: probes and metrics, nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what monitoring asks."""
        if scope["type"] == "http" and scope["path"] not in PROBES:
            nothing = Problem(HTTPStatus.NOT_FOUND, "this port has /healthz, /readyz and /metrics")
            await problem_response(nothing)(scope, receive, send)
            return
        await self._app({**scope, INSIDE: True}, receive, send)


@router.head("/metrics", include_in_schema=False)
@router.get(
    "/metrics",
    response_class=Response,
    responses=documented(HTTPStatus.NOT_FOUND)
    | {HTTPStatus.OK: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request, services: InServices) -> Response:
    """Give what Prometheus asks for, on the port of `SUCCESS_METRICS_PORT` only: it has no token."""
    settings = services.settings
    told = bool(settings.metrics_port) and settings.metrics_port == settings.api_port
    if not (told or request.scope.get(INSIDE)):
        raise Problem(HTTPStatus.NOT_FOUND, f"there is nothing at {request.url.path}")
    own: Metrics = request.app.state.metrics
    await _look_at_the_database(services)
    return Response(generate_latest(own.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _look_at_the_database(services: Services) -> None:
    look_at_pools()
    try:
        async with services.writer_pool.connection(timeout=2) as conn:
            await look_at_waiting(conn, services.clock.now_ms())
    except (OperationalError, InterfaceError, PoolTimeout):
        shared.DATABASE_UP.set(0)
