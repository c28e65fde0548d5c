"""`success api`: serves the HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterator

import click
import uvicorn
import uvloop
from fastapi import FastAPI

from api.app import build_app
from cli.errors import CommandError, UsageError
from runtime.settings import Settings
from scoring.policy import PolicyError


@click.command()
@click.option("--host", help="Where to listen; default SUCCESS_API_HOST.")
@click.option("--port", type=click.IntRange(0, 65535), help="Default SUCCESS_API_PORT; 0 takes a free one.")
@click.option("--access-log", is_flag=True, help="Log every request; links in emails with it.")
def api(host: str | None, port: int | None, access_log: bool) -> None:
    """Serve the HTTP API until Ctrl-C.

    Behind a proxy set FORWARDED_ALLOW_IPS to its address, so that callers' own addresses are seen.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    settings = Settings()
    try:
        app = build_app(settings)
    except PolicyError as error:
        raise UsageError(str(error)) from error
    config = uvicorn.Config(
        app,
        host=settings.api_host if host is None else host,
        port=settings.api_port if port is None else port,
        log_config=None,
        access_log=access_log,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(app, config))


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would raise them again at its end, before the lifespan has ended."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def _serve(app: FastAPI, config: uvicorn.Config) -> None:
    # Started once by ourselves, so that what can't be reached is one line on standard error, not a traceback.
    async with contextlib.AsyncExitStack() as running:
        await running.enter_async_context(app.router.lifespan_context(app))
        config.lifespan = "off"
        server = _Server(config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.handle_exit, number, None)
        try:
            await server.serve()
        except SystemExit as error:
            raise CommandError(
                f"the API can't listen on {config.host}:{config.port}; "
                "is the port taken? SUCCESS_API_PORT or --port names another"
            ) from error
