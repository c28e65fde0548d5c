"""`success demo`: the embedded stack, all services and a simulated population, watched in the terminal.

The population has a history of some weeks, published at once; then newcomers sign up before your eyes, their first
days passing in minutes. Everything goes the way of production: topics, worker, Postgres, delivery, mail.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click
import orjson

from agents.provisioning import create_topics
from api.auth import sign
from api.session import login_link
from cli.demo_screen import Screen
from cli.errors import CommandError
from cli.interrupt import end_as_by_ctrl_c
from cli.publish import Publisher
from cli.stack import Stack
from cli.stack_process import free_port, is_free
from cli.up import default_data_dir
from replay.simulate import population
from runtime.embedded import Addresses
from runtime.settings import Settings
from scoring.time import DAY, HOUR, instant_text
from store.database import Role, open_pool
from store.migrate import migrate

HISTORY_SUPPLIERS, HISTORY_DAYS = 200, 60
NEWCOMERS_A_BATCH = 40
EVENTS_A_SECOND = 4
REFRESH_S = 1.0
SERVICES = ("worker", "deliver", "api")
STOP_WITHIN_S = 20
LINKS_LAST_S = 12 * 3600


@click.command()
@click.option("--suppliers", default=HISTORY_SUPPLIERS, show_default=True, help="Suppliers with a history.")
@click.option("--days", default=HISTORY_DAYS, show_default=True, help="Days of their history.")
@click.option("--seed", default=1, show_default=True, help="Another seed, another population.")
@click.option(
    "--for", "seconds", type=float, help="Stop by itself after so many seconds (default: at Ctrl-C)."
)
def demo(suppliers: int, days: int, seed: int, seconds: float | None) -> None:
    """Start everything with a simulated population and show what happens, until Ctrl-C."""
    end_as_by_ctrl_c()
    stack = Stack(default_data_dir() / "demo", ephemeral=True, notify=click.echo)
    click.echo("starting Kafka, Postgres and an SMTP sink …")
    addresses = stack.start()
    logs = stack.data_dir / "logs"
    try:
        settings = _settings(addresses)
        _show_addresses(addresses, settings, logs, seed)
        migrate(settings.database_url)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_play(settings, logs, (suppliers, days, seed), seconds))
    finally:
        click.echo("stopping …")
        stack.stop()
    click.echo(f"stopped. What was sent: {addresses.mail_dir}")


def _settings(addresses: Addresses) -> Settings:
    default: int = Settings.model_fields["api_port"].default
    port = default if is_free(default) else free_port()
    return Settings(
        kafka=addresses.kafka,
        database_url=addresses.database_url,
        smtp_url=addresses.smtp,
        api_port=port,
        public_url=f"http://127.0.0.1:{port}",
    )


def _show_addresses(addresses: Addresses, settings: Settings, logs: Path, seed: int) -> None:
    for name, address in {**addresses.as_json(), "logs": str(logs)}.items():
        click.echo(f"  {name:<13} {address}")
    now_s = int(time.time())
    supplier = next(population(1, HISTORY_DAYS, seed, 0))["profile"]["id"]
    tokens = {
        "token": sign(settings, "supplier", supplier, LINKS_LAST_S, now_s),
        "service": sign(settings, "service", "demo", LINKS_LAST_S, now_s),
    }
    click.echo("\nopen in a browser, a few seconds from now:")
    click.echo(f"  dashboard     {login_link(settings, 'demo')}")
    click.echo(f"  coach         {settings.public_url}/demo/host#{urlencode(tokens)}\n")


async def _play(settings: Settings, logs: Path, size: tuple[int, int, int], seconds: float | None) -> None:
    await create_topics(settings)
    async with AsyncExitStack() as stack:
        services = stack.enter_context(_services(settings, logs))
        pool = await open_pool(settings.database_url, Role.READER, max_size=2)
        stack.push_async_callback(pool.close)
        publisher = await stack.enter_async_context(Publisher(settings))
        screen = stack.enter_context(Screen(pool, settings))
        await stack.enter_async_context(_in_background(_publish(publisher, screen, size)))
        until = time.monotonic() + seconds if seconds is not None else None
        while until is None or time.monotonic() < until:
            await screen.refresh()
            _check(services, logs)
            await asyncio.sleep(REFRESH_S)


@contextmanager
def _services(settings: Settings, logs: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The services as processes of their own, logging to files; told to stop at the end."""
    started = []
    program = [sys.executable, "-c", "from cli.main import main; main()"]
    environment = {**os.environ, **settings.as_env()}
    try:
        for service in SERVICES:
            with (logs / f"{service}.log").open("ab") as log:
                process = subprocess.Popen(  # noqa: S603 - our own command
                    [*program, service],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            started.append(process)
        yield started
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _check(services: list[subprocess.Popen[bytes]], logs: Path) -> None:
    for name, process in zip(SERVICES, services, strict=True):
        if process.poll() is not None:
            raise CommandError(f"success {name} has ended by itself: see {logs / name}.log")


@asynccontextmanager
async def _in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _publish(publisher: Publisher, screen: Screen, size: tuple[int, int, int]) -> None:
    suppliers, days, seed = size
    now = _now_ms()
    for line in population(suppliers, days, seed, now - days * DAY):
        if "profile" in line or line["time"] <= instant_text(now):
            await publisher.add(orjson.dumps(line))
            screen.published = publisher.counts.events
    await publisher.flush()
    while True:
        seed += 1
        for line in _newcomers(seed):
            if "profile" not in line:
                line["time"] = instant_text(_now_ms())
                await asyncio.sleep(1 / EVENTS_A_SECOND)
            await publisher.add(orjson.dumps(line))
            await publisher.flush()
            screen.published = publisher.counts.events


def _newcomers(seed: int) -> Iterator[dict[str, object]]:
    """The first days of a batch of new suppliers; their times are replaced by the present ones."""
    return population(NEWCOMERS_A_BATCH, 3, seed * 7919, _now_ms() - 3 * DAY - HOUR)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
