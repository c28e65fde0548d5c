"""The API, wired: `build_app` makes it, its lifespan opens what it needs, `ROUTERS` says what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version

import psycopg
from aiokafka.errors import KafkaTimeoutError
from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.telemetry import TelemetryConfig
from starlette.routing import BaseRoute

from agents.acts.events import tell
from agents.delivery.outbox import Sender, keep_doing, publish_all
from agents.letters.in_force import InForce
from agents.letters.render import Letters
from api import dashboard, openapi, problems
from api.auth import Tokens
from api.bodies import LimitBodies
from api.coach import files as coach_static
from api.coach import routes as coach
from api.dashboard.fresh.freshness import Readings
from api.dashboard.oidc import Provider
from api.dashboard.rules.trial import Trials
from api.gate import AnswerHeaders, Gate
from api.limits import LimitHeaders, Limits
from api.routes import (
    call_pages,
    calls,
    churn,
    consent,
    email_links,
    events,
    health,
    mail_webhook,
    metrics,
    milestone_pages,
    milestones,
    personal_data,
    probes,
    recommendations,
)
from api.routes.metrics import CountRequests, Metrics, TraceRequests
from api.services import KAFKA, Services
from api.webhooks import ses
from runtime.away import Wait, passing
from runtime.background import Background
from runtime.clock import Clock, SystemClock
from runtime.configuration import Configuration, load
from runtime.readiness import Readiness
from runtime.settings import Settings
from scoring.decisions.feedback import Rules
from store.database import Pool, Role, check_usable, new_pool
from store.messages.feedback import settle
from store.outbox import Event
from topics.catalog import MAX_ACTIVITY_BYTES

ROUTERS: tuple[APIRouter, ...] = (
    # one line a resource; a module of `api/` has one `router`
    probes.router,
    metrics.router,
    health.router,
    milestones.router,
    recommendations.router,
    churn.router,
    events.router,
    email_links.router,
    call_pages.router,
    milestone_pages.router,
    consent.router,
    mail_webhook.router,
    calls.router,
    personal_data.router,
    coach.router,
    coach_static.router,
    dashboard.router,
)


def _routes(*routers: APIRouter) -> list[BaseRoute]:
    together = APIRouter()
    for router in routers:
        together.include_router(router)
    return together.routes


# FastAPI looks at a route's parameters and models when it is first asked, for each inclusion of it: one for all apps.
ROUTES, ROUTES_OF_DEVELOPMENT = _routes(*ROUTERS), _routes(coach_static.demo)
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own spans have the path and the query, in which links have their tokens; ours have the route."""
LOOK_EVERY_S = 2.0
"""Between two looks at what is in force."""
PUBLISH_EVERY_S = 2.0
"""Between two looks at the outbox; after a change of ours it is looked at at once."""
LONGEST_BODY = 2 * MAX_ACTIVITY_BYTES
"""Bytes of any request; routes that have a smaller limit say so themselves."""
PATIENCE_S = 15.0
"""How long a request waits for Kafka's ack before it is told to come again."""
READABLE_HEADERS = [
    "ETag",
    "Link",
    "Retry-After",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
]
"""What scripts of other origins may read of an answer."""


def build_app(
    settings: Settings,
    clock: Clock | None = None,
    configuration: Configuration | None = None,
    ended: Callable[[str, Exception], None] | None = None,
) -> FastAPI:
    """Make the app; nothing connects before its lifespan starts, and then what is away is waited for.

    A background task that fails is started again, or, with `ended`, that is told and has to end the service.

    Raises SettingsError for a missing secret and ConfigurationError for a wrong configuration: both stop the start.
    """
    configuration = configuration or load(settings.config_dir, settings.policy)
    for name in ("secret_key", "webhook_secret"):
        settings.secret(name)
    app = FastAPI(
        title="wedsync-success",
        version=version("wedsync-success"),
        description="Health scores, milestones, recommendations and consent of suppliers.",
        lifespan=_lifespan(settings, clock or SystemClock(), configuration, ended),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would name whatever Host the request did
        telemetry=NO_TELEMETRY,
        routes=[*ROUTES, *(ROUTES_OF_DEVELOPMENT if settings.is_development() else [])],
    )
    app.state.tokens = Tokens(settings)
    app.state.oidc = Provider(settings) if settings.oidc_issuer else None
    app.state.limits = Limits(settings.rate_limit)
    app.state.metrics = Metrics()
    app.state.trials = Trials(settings)
    app.state.readings = Readings()
    app.state.sns_certificates = ses.Certificates(ses.fetch)
    problems.install(app)
    app.add_middleware(LimitHeaders, limits=app.state.limits)
    app.add_middleware(LimitBodies, most_bytes=LONGEST_BODY)
    app.add_middleware(Gate)
    origins = [origin.strip() for origin in settings.cors_origins.split(",") if origin.strip()]
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Last-Event-ID",
                "Idempotency-Key",
                "If-None-Match",
            ],
            expose_headers=READABLE_HEADERS,
        )
    app.add_middleware(AnswerHeaders, is_https=settings.public_url.startswith("https:"))
    app.add_middleware(CountRequests, metrics=app.state.metrics)
    app.add_middleware(TraceRequests)
    openapi.install(app)
    return app


def _lifespan(
    settings: Settings,
    clock: Clock,
    configuration: Configuration,
    ended: Callable[[str, Exception], None] | None,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as closing:
            closing.push_async_callback(app.state.tokens.close)
            if app.state.oidc is not None:
                closing.push_async_callback(app.state.oidc.close)
            closing.push_async_callback(app.state.trials.aclose)
            app.state.services = await _open(settings, clock, configuration, closing, Background(ended))
            closing.push_async_callback(app.state.readings.aclose)
            yield

    return lifespan


async def _open(
    settings: Settings,
    clock: Clock,
    configuration: Configuration,
    closing: AsyncExitStack,
    background: Background,
) -> Services:
    """Open pools and start to publish the outbox; `closing` undoes it in the opposite order."""
    pool = new_pool(settings.database_url, Role.API)
    writer_pool = new_pool(settings.database_url, Role.WRITER, max_size=4)
    for each in (pool, writer_pool):
        await each.open()
        closing.push_async_callback(each.close)
    send = Sender(settings, max_request_size=2 * MAX_ACTIVITY_BYTES)
    closing.push_async_callback(send.aclose)
    wake = asyncio.Event()

    async def publish() -> None:
        until = clock.now_ms() - Rules.load().burst.window_ms
        async with writer_pool.connection() as conn:
            await tell(conn, await settle(conn, until))
        await send.connect()  # before there is anything to send, so that one who waits says for what
        await publish_all(writer_pool, send)

    closing.push_async_callback(background.aclose)
    background.start(
        "the outbox's publisher", lambda: keep_doing(publish, wake, PUBLISH_EVERY_S, Wait("the outbox"))
    )
    in_force = InForce(configuration.policy, Letters.of(configuration), settings.partitions, configuration)
    background.start("what is in force", lambda: _keep_in_force(in_force, writer_pool))
    readiness = Readiness(
        {
            "postgres": lambda: _look_at_postgres(pool, Role.API),
            "background tasks": lambda: _look_at(background),
            KAFKA: send.probe,
        }
    )
    closing.push_async_callback(readiness.aclose)
    return Services(
        settings,
        clock,
        configuration,
        in_force,
        pool,
        writer_pool,
        _in_time(send),
        wake.set,
        readiness,
    )


async def _keep_in_force(in_force: InForce, pool: Pool) -> None:
    """Look every few seconds what is in force; a Postgres that is away is waited for."""
    wait = Wait("what is in force")
    while True:
        try:
            async with pool.connection() as conn:
                await in_force.refresh(conn)
            wait.worked()
        except psycopg.Error as error:
            why = passing(error)
            if why is None:
                raise
            await wait.pause(why)
        await asyncio.sleep(LOOK_EVERY_S)


async def _look_at_postgres(pool: Pool, role: str) -> None:
    async with pool.connection(timeout=2) as conn:
        await check_usable(conn, role)


async def _look_at(background: Background) -> None:
    if background.down:
        raise RuntimeError("; ".join(f"{name}: {why}" for name, why in background.down.items()))


def _in_time(
    send: Callable[[Sequence[Event]], Awaitable[None]],
) -> Callable[[Sequence[Event]], Awaitable[None]]:
    """Send while somebody waits for the answer: KafkaTimeoutError after `PATIENCE_S`."""

    async def send_in_time(events: Sequence[Event]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await send(events)
        except TimeoutError as error:
            raise KafkaTimeoutError from error

    return send_in_time
