"""The API, wired: `build_app` makes it, its lifespan opens what it needs, `ROUTERS` says what it answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError
from fastapi import APIRouter, FastAPI
from fastapi.middleware.cors import CORSMiddleware

from agents.feedback import tell
from agents.kafka import client_options
from agents.outbox_publisher import keep_publishing, publish_all, sender
from api import (
    calls,
    churn,
    coach,
    coach_static,
    consent,
    dashboard,
    email_links,
    events,
    health,
    mail_webhook,
    metrics,
    milestones,
    openapi,
    personal_data,
    probes,
    problems,
    recommendations,
)
from api.auth import Tokens
from api.bodies import LimitBodies
from api.limits import LimitHeaders, Limits
from api.metrics import CountRequests, Metrics
from api.services import Services
from runtime.clock import Clock, SystemClock
from runtime.settings import Settings
from scoring.feedback import Rules
from scoring.policy import Policy
from store.database import Role, open_pool
from store.feedback import settle
from store.outbox import Event
from topics.catalog import MAX_ACTIVITY_BYTES

logger = logging.getLogger(__name__)

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
    consent.router,
    mail_webhook.router,
    calls.router,
    personal_data.router,
    coach.router,
    coach_static.router,
    dashboard.router,
)
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


def build_app(settings: Settings, clock: Clock | None = None, policy: Policy | None = None) -> FastAPI:
    """Make the app; nothing connects before its lifespan starts.

    Raises SettingsError for a missing secret and PolicyError for a wrong policy: both stop the start.
    """
    policy = policy or Policy.load(settings.policy)
    for name in ("secret_key", "webhook_secret"):
        settings.secret(name)
    app = FastAPI(
        title="wedsync-success",
        version=version("wedsync-success"),
        description="Health scores, milestones, recommendations and consent of wedding suppliers.",
        lifespan=_lifespan(settings, clock or SystemClock(), policy),
        docs_url=None,
        redoc_url=None,
    )
    app.state.tokens = Tokens(settings)
    app.state.limits = Limits(settings.rate_limit)
    app.state.metrics = Metrics()
    problems.install(app)
    app.add_middleware(LimitHeaders)
    app.add_middleware(LimitBodies, most_bytes=LONGEST_BODY)
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
    app.add_middleware(CountRequests, metrics=app.state.metrics)
    for router in ROUTERS:
        app.include_router(router)
    openapi.install(app)
    return app


def _lifespan(
    settings: Settings, clock: Clock, policy: Policy
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as closing:
            app.state.services = await _open(settings, clock, policy, closing)
            yield

    return lifespan


async def _open(settings: Settings, clock: Clock, policy: Policy, closing: AsyncExitStack) -> Services:
    """Open pools and producer, and start to publish the outbox; `closing` undoes it in the opposite order."""
    pool = await open_pool(settings.database_url, Role.API)
    closing.push_async_callback(pool.close)
    writer_pool = await open_pool(settings.database_url, Role.WRITER, max_size=4)
    closing.push_async_callback(writer_pool.close)
    producer = AIOKafkaProducer(
        **client_options(settings),
        enable_idempotence=True,
        acks="all",
        max_request_size=2 * MAX_ACTIVITY_BYTES,
    )
    await producer.start()
    closing.push_async_callback(producer.stop)
    send = sender(producer, settings)
    wake = asyncio.Event()

    async def publish() -> None:
        until = clock.now_ms() - Rules.load().burst.window_ms
        async with writer_pool.connection() as conn:
            await tell(conn, await settle(conn, until))
        await publish_all(writer_pool, send)

    publishing = asyncio.create_task(keep_publishing(publish, wake, PUBLISH_EVERY_S), name="outbox")
    publishing.add_done_callback(_say_if_it_failed)
    closing.push_async_callback(_end, publishing)
    return Services(settings, clock, policy, pool, writer_pool, _in_time(send), wake.set)


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


def _say_if_it_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception():
        logger.critical("the task %s ended with an error", task.get_name(), exc_info=task.exception())


async def _end(task: asyncio.Task[None]) -> None:
    """Stop a background task and wait until it has."""
    while not task.done():
        # Again if need be: Python 3.11's `wait_for` forgets a cancellation that meets the event it waits for.
        task.cancel()
        await asyncio.wait([task], timeout=1)
