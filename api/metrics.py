"""`/metrics` in Prometheus' text format: requests by route, pools, and the work that waits. No personal data."""

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

from api.services import InServices, Services
from store.service_metrics import read_waiting

router = APIRouter(tags=["probes"])

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_STREAM = b"text/event-stream"


class Metrics:
    """The metrics of one app, in a registry of its own."""

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
        self.streams = Gauge("success_http_streams_open", "Open event streams.", registry=self.registry)
        self.database_up = Gauge("success_database_up", "Whether Postgres answered.", registry=self.registry)
        self.pool = Gauge(
            "success_pool_connections", "Connections to Postgres.", ("pool", "state"), registry=self.registry
        )
        self.outbox = Gauge("success_outbox_waiting", "Events not yet published.", registry=self.registry)
        self.outbox_age = Gauge(
            "success_outbox_oldest_seconds", "Age of the oldest of them.", registry=self.registry
        )
        self.due = Gauge("success_interventions_due", "Interventions to decide now.", registry=self.registry)


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


@router.head("/metrics", include_in_schema=False)
@router.get(
    "/metrics",
    response_class=Response,
    responses={HTTPStatus.OK: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request, services: InServices) -> Response:
    """Give what Prometheus asks for. It has no token: keep it from the outside at the proxy."""
    own: Metrics = request.app.state.metrics
    await _look_at_the_database(own, services)
    return Response(generate_latest(own.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _look_at_the_database(own: Metrics, services: Services) -> None:
    for name, pool in (("api", services.pool), ("writer", services.writer_pool)):
        stats = pool.get_stats()
        for state in ("pool_size", "pool_available", "requests_waiting"):
            own.pool.labels(name, state.removeprefix("pool_")).set(stats.get(state, 0))
    try:
        async with services.writer_pool.connection(timeout=2) as conn:
            waiting = await read_waiting(conn, services.clock.now_ms())
    except (OperationalError, InterfaceError, PoolTimeout):
        own.database_up.set(0)
        return
    own.database_up.set(1)
    own.outbox.set(waiting.outbox)
    own.outbox_age.set(waiting.outbox_oldest_s)
    own.due.set(waiting.interventions_due)
