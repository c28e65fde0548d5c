"""`success shadow`: what another policy would do with the live signals, written down and never sent."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import click
from aiokafka.errors import KafkaError

from agents.cluster import rules_log
from agents.cluster.describing import ClusterError
from agents.monitoring import Kafka, postgres
from agents.shadow.service import run_shadow
from cli.errors import UsageError
from cli.policy import load_configuration
from cli.services.supervise import CHILD, in_child, stop_without_parent, supervised
from runtime import metrics
from runtime.clock import SystemClock
from runtime.inside import monitored
from runtime.logs import to_standard_error
from runtime.settings import Settings
from scoring.decisions.policy import Policy, PolicyError
from scoring.health.rules import Rules
from store.database import Role
from store.service_metrics import look_at_pools


@click.command()
@click.option(
    "--policy",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The policy file to try; default SUCCESS_SHADOW_POLICY.",
)
@click.option("--no-wait", is_flag=True, help="Exit if Kafka or Postgres is away at the start.")
@click.option("--no-restart", is_flag=True, help="Exit on a failure; the platform starts it again.")
@click.option(CHILD, "is_child", is_flag=True, hidden=True)
def shadow(file: Path | None, no_wait: bool, no_restart: bool, is_child: bool) -> int:
    """Decide on the live signals with a second policy, and only write down what it would do.

    Runs beside the live worker until Ctrl-C. `success report shadow` compares the two. Waits for a Kafka or Postgres
    that is away, and is started again if it fails.
    """
    settings = Settings()
    to_standard_error("shadow", settings)
    path = file or settings.shadow_policy
    if path is None:
        raise UsageError("no policy to try: set SUCCESS_SHADOW_POLICY, or give --policy FILE")
    try:
        policy = Policy.load(path, asyncio.run(_rules(settings)))
    except PolicyError as error:
        raise UsageError(str(error)) from error
    if not (no_restart or is_child):
        return supervised("shadow", ["--policy", str(path), *(["--no-wait"] if no_wait else [])])

    def work() -> None:
        asyncio.run(_until_stopped(settings, policy, path.name, wait=not no_wait, is_child=is_child))

    if is_child:
        return in_child(work)
    work()
    return 0


async def _rules(settings: Settings) -> Rules:
    """Those in force everywhere or, with Kafka away or nothing activated, those that the settings name.

    They are read from the topic: the shadow's role may not see versions in Postgres.
    """
    try:
        log = await rules_log.read(settings)
    except (KafkaError, ClusterError):
        return load_configuration(settings).rules
    newest = log.newest()
    return load_configuration(settings).rules if newest is None else log.policy(newest.number).rules


async def _until_stopped(
    settings: Settings, policy: Policy, name: str, *, wait: bool, is_child: bool
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def ready(digest: str) -> None:
        click.echo(f"shadowing with {name} ({digest}); nothing is sent; `success report shadow` compares")

    watch = asyncio.create_task(stop_without_parent(os.getppid(), stop)) if is_child else None
    kafka = Kafka(settings)
    parts = {"kafka": kafka, **postgres(settings, Role.READER)}

    async def look() -> None:
        look_at_pools()

    try:
        async with monitored(settings, metrics.SHADOW, parts, look):
            await run_shadow(settings, SystemClock(), policy, name, stop, ready, wait=wait)
    finally:
        await kafka.aclose()
        if watch is not None:
            watch.cancel()
