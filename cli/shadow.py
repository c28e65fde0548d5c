"""`success shadow`: what another policy would do with the live signals, written down and never sent."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path

import click

from agents.shadow_service import run_shadow
from cli.errors import UsageError
from runtime.clock import SystemClock
from runtime.settings import Settings
from scoring.policy import Policy, PolicyError


@click.command()
@click.option(
    "--policy",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The policy file to try; default SUCCESS_SHADOW_POLICY.",
)
def shadow(file: Path | None) -> None:
    """Decide on the live signals with a second policy, and only write down what it would do.

    Runs beside the live worker until Ctrl-C. `success report shadow` compares the two.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("agents.shadow_service").setLevel(logging.INFO)
    settings = Settings()
    path = file or settings.shadow_policy
    if path is None:
        raise UsageError("no policy to try: set SUCCESS_SHADOW_POLICY, or give --policy FILE")
    try:
        policy = Policy.load(path)
    except PolicyError as error:
        raise UsageError(str(error)) from error
    asyncio.run(_until_stopped(settings, policy, path.name))


async def _until_stopped(settings: Settings, policy: Policy, name: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def ready(digest: str) -> None:
        click.echo(f"shadowing with {name} ({digest}); nothing is sent; `success report shadow` compares")

    await run_shadow(settings, SystemClock(), policy, name, stop, ready)
