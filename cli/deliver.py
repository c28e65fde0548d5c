"""`success deliver`: claims what is due and delivers it."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Callable

import click

from agents.delivery import DeliveryCount
from agents.delivery_service import run_delivery
from agents.dkim_signing import Signer
from agents.render import TemplateMissingError
from cli.errors import UsageError
from cli.policy import load_policy
from runtime.clock import SystemClock
from runtime.settings import Settings
from scoring.policy import Policy

RESULTS = ("sent", "suppressed", "waiting", "retried", "failed", "unknown")


@click.command()
@click.option("--once", is_flag=True, help="Deliver what is due now, publish what was decided, and exit.")
@click.option("--json", "as_json", is_flag=True, help="With --once: print the counts as one JSON object.")
def deliver(once: bool, as_json: bool) -> None:
    """Deliver due interventions until Ctrl-C; run as many of these side by side as you like."""
    if as_json and not once:
        raise UsageError("--json goes with --once")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    settings = Settings()
    settings.secret("secret_key")  # complain before anything connects
    Signer.from_settings(settings)  # so does a key that can't be used
    policy = load_policy(settings)
    rounds: list[DeliveryCount] = []

    def told(count: DeliveryCount) -> None:
        rounds.append(count)
        if not as_json:
            click.echo(_line(count))

    try:
        asyncio.run(_until_stopped(settings, policy, told, once=once))
    except TemplateMissingError as error:
        raise UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps({name: sum(getattr(count, name) for count in rounds) for name in RESULTS}))
    elif not once:
        sent = sum(count.sent for count in rounds)
        click.echo(f"stopped; {sent} sent in all")


async def _until_stopped(
    settings: Settings, policy: Policy, told: Callable[[DeliveryCount], None], *, once: bool
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run_delivery(settings, SystemClock(), policy, stop, told, once=once)


def _line(count: DeliveryCount) -> str:
    parts = [f"{name} {number}" for name in RESULTS if (number := count.by_result[name])]
    return ", ".join(parts) or "nothing is due"
