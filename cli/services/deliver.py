"""`success deliver`: claims what is due and delivers it."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

import click

from cli.errors import UsageError
from cli.services.supervise import CHILD, in_child, supervised
from runtime.logs import to_standard_error
from runtime.settings import Settings
from runtime.tracing import traced

if TYPE_CHECKING:
    from agents.delivery.round import DeliveryCount

logger = logging.getLogger(__name__)

RESULTS = ("sent", "suppressed", "waiting", "retried", "failed", "unknown")


@click.command()
@click.option("--once", is_flag=True, help="Deliver what is due now, publish what was decided, and exit.")
@click.option("--json", "as_json", is_flag=True, help="With --once: print the counts as one JSON object.")
@click.option("--no-wait", is_flag=True, help="Exit if Kafka or Postgres is away at the start.")
@click.option("--no-restart", is_flag=True, help="Exit on a failure; the platform starts it again.")
@click.option(CHILD, "is_child", is_flag=True, hidden=True)
def deliver(once: bool, as_json: bool, no_wait: bool, no_restart: bool, is_child: bool) -> int:
    """Deliver due interventions until Ctrl-C; run as many of these side by side as you like.

    Waits for a Kafka or Postgres that is away, and is started again if it fails.
    """
    if as_json and not once:
        raise UsageError("--json goes with --once")
    settings = Settings()
    to_standard_error("deliver", settings)
    settings.secret("secret_key")  # complain before anything connects
    if not (once or no_restart or is_child):
        return supervised("deliver", ["--no-wait"] if no_wait else [])
    from cli.policy import load_configuration  # noqa: PLC0415 - a supervisor needs none of it
    from cli.services.deliver_process import serve  # noqa: PLC0415 - the same

    configuration = load_configuration(settings)
    rounds: list[DeliveryCount] = []

    def told(count: DeliveryCount) -> None:
        rounds.append(count)
        if settings.log_format == "json":
            logger.info(
                "a round", extra={name: number for name in RESULTS if (number := count.by_result[name])}
            )
        elif not as_json:
            click.echo(_line(count))

    def work() -> None:
        with traced("deliver"):
            asyncio.run(serve(settings, configuration, told, once=once, wait=not no_wait, is_child=is_child))

    if is_child:
        code = in_child(work)
    else:
        work()
        code = 0
    if as_json:
        click.echo(json.dumps({name: sum(getattr(count, name) for count in rounds) for name in RESULTS}))
    elif not once and settings.log_format != "json":
        sent = sum(count.sent for count in rounds)
        click.echo(f"stopped; {sent} sent in all")
    return code


def _line(count: DeliveryCount) -> str:
    parts = [f"{name} {number}" for name in RESULTS if (number := count.by_result[name])]
    return ", ".join(parts) or "nothing is due"
