"""`success api`: serves the HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterable, Iterator

import click
import uvicorn
import uvloop
from fastapi import FastAPI
from starlette.types import ASGIApp

from agents.delivery.outbox import Sender
from api.app import build_app
from api.routes.metrics import Inside
from api.wire import bounded
from cli.errors import CommandError
from cli.policy import load_configuration
from runtime.logs import to_standard_error
from runtime.settings import Settings
from runtime.tracing import traced
from store.database import Role, open_pool


@click.command()
@click.option("--host", help="Where to listen; default SUCCESS_API_HOST.")
@click.option("--port", type=click.IntRange(0, 65535), help="Default SUCCESS_API_PORT; 0 takes a free one.")
@click.option("--access-log", is_flag=True, help="Log every request, without the tokens of links.")
@click.option("--no-wait", is_flag=True, help="Exit if Kafka or Postgres is away at the start.")
@click.option(
    "--no-restart", is_flag=True, help="Exit if a background task fails; the platform starts it again."
)
def api(host: str | None, port: int | None, access_log: bool, no_wait: bool, no_restart: bool) -> None:
    """Serve the HTTP API until Ctrl-C.

    Serves at once; what needs a Kafka or Postgres that is away is told to come again, and /readyz says what is missing.
    Behind a proxy set FORWARDED_ALLOW_IPS to its address, so that callers' own addresses are seen.
    """
    settings = Settings()
    to_standard_error("api", settings)
    with traced("api"):
        _run(settings, host, port, access_log=access_log, no_wait=no_wait, no_restart=no_restart)


def _run(
    settings: Settings,
    host: str | None,
    port: int | None,
    *,
    access_log: bool,
    no_wait: bool,
    no_restart: bool,
) -> None:
    failed: list[CommandError] = []
    servers: list[Server] = []

    def ended(name: str, error: Exception) -> None:
        failed.append(CommandError(f"{name} ended: {type(error).__name__}: {error}"))
        _end(servers)

    app = build_app(settings, configuration=load_configuration(settings), ended=ended if no_restart else None)
    host, port = host or settings.api_host, settings.api_port if port is None else port
    servers.append(Server(listening(app, host, port, access_log=access_log)))
    if settings.metrics_port and settings.metrics_port != settings.api_port:
        inside = settings.metrics_host or host
        servers.append(Server(listening(Inside(app), inside, settings.metrics_port)))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if no_wait:
            runner.run(_need(settings))
        runner.run(_serve(app, servers))
    if failed:
        raise failed[0]


def listening(app: ASGIApp, host: str, port: int, *, access_log: bool = False) -> uvicorn.Config:
    """How an app of ours is served: bounded requests, no server's name."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=access_log,
        server_header=False,
        http=bounded(),
        ws="none",
        lifespan="off",
        timeout_graceful_shutdown=10,
    )


class Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would raise them again at its end, before the lifespan has ended."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def _serve(app: FastAPI, servers: list[Server]) -> None:
    # Started once by ourselves, so that what is wrong with it is one line on standard error, not a traceback.
    async with contextlib.AsyncExitStack() as running:
        await running.enter_async_context(app.router.lifespan_context(app))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _end, servers, number)
        try:
            await asyncio.gather(*(_listen(server) for server in servers))
        finally:
            _end(servers)


def _end(servers: Iterable[Server], number: int = signal.SIGTERM) -> None:
    for server in servers:
        server.handle_exit(number, None)


async def _listen(server: Server) -> None:
    try:
        await server.serve()
    except SystemExit as error:
        host, port = server.config.host, server.config.port
        raise CommandError(
            f"the API can't listen on {host}:{port}; is the port taken? "
            "SUCCESS_API_PORT or --port, and SUCCESS_METRICS_PORT, name others"
        ) from error


async def _need(settings: Settings) -> None:
    """Raise what is wrong unless Kafka and Postgres are there."""
    await (await open_pool(settings.database_url, Role.API)).close()
    sender = Sender(settings)
    await sender.connect()
    await sender.aclose()
