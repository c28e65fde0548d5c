"""A port for monitoring: `/healthz`, `/readyz` and `/metrics` of a service, on `SUCCESS_METRICS_PORT`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from runtime import metrics
from runtime.errors import SettingsError
from runtime.readiness import Readiness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from runtime.readiness import Check
    from runtime.settings import Settings

LOOK_WITHIN_S = 2.5
"""How long the gauges of one answer may take to be set; what is not set by then shows what it showed last."""
MOST_AT_ONCE = 32


@asynccontextmanager
async def monitored(
    settings: Settings, service: str, parts: Mapping[str, Check], look: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """Answer monitoring while the body runs; does nothing where no port is set (or 0).

    `parts`: what the service depends on, by the names that `/readyz` says. `look` sets the gauges of `/metrics`.
    Raises SettingsError if the port is taken: two processes of a machine can't share one.
    """
    if not settings.metrics_port:
        yield
        return
    listening = listen(settings.metrics_host or settings.api_host, settings.metrics_port)
    readiness = Readiness(parts)
    server = _server(_app(service, parts, readiness, look))
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="monitoring")
    try:
        yield
    finally:
        server.should_exit = server.force_exit = True
        await asyncio.wait({serving}, timeout=2)
        await readiness.aclose()
        listening.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; SettingsError names the settings if it can't."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingsError(
            f"SUCCESS_METRICS_PORT: can't listen on {host}:{port} ({error.strerror or error}): each process on a "
            "machine needs a port of its own; set another one for this one, or 0 for none"
        ) from error


def _app(
    service: str, parts: Mapping[str, Check], readiness: Readiness, look: Callable[[], Awaitable[None]]
) -> ASGIApp:
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415 - only where it serves
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.responses import JSONResponse, Response  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    registry = metrics.registry_of(service)

    async def missing_parts() -> dict[str, str]:
        missing = await readiness.missing()
        for name in parts:
            metrics.READY.labels(name).set(name not in missing)
        return missing

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        missing = await missing_parts()
        said = {
            "status": "not ready" if missing else "ready",
            "parts": {name: missing.get(name, "ok") for name in parts},
        }
        return JSONResponse({**said, "missing": missing} if missing else said, 503 if missing else 200)

    async def show(_: Request) -> Response:
        await asyncio.gather(missing_parts(), _in_time(look))
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    endpoints = {"/healthz": healthz, "/readyz": readyz, "/metrics": show}
    return Starlette(routes=[Route(path, endpoint) for path, endpoint in endpoints.items()])


async def _in_time(look: Callable[[], Awaitable[None]]) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(look(), LOOK_WITHIN_S)


def _server(app: ASGIApp):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a class of uvicorn's, imported late
    import uvicorn  # noqa: PLC0415 - only where it serves

    class Server(uvicorn.Server):
        """Leaves signals to the service."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Capture none."""
            yield

    return Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="off",
            limit_concurrency=MOST_AT_ONCE,
            timeout_graceful_shutdown=1,
        )
    )
