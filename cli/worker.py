"""`success worker`: the scoring agent and the intervention agent, one process of a group."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import uuid

import click

from cli.policy import load_policy
from cli.supervise import Supervisor
from runtime.settings import Settings


@click.command()
@click.option("--instance", hidden=True, help="Run as the supervised child with this group instance id.")
@click.option("-v", "--verbose", is_flag=True, help="Also log what Faust and Kafka do.")
def worker(instance: str | None, verbose: bool) -> int:
    """Score activity and write interventions; start as many as you like, they share the partitions.

    A worker that fails is started again; Ctrl-C or SIGTERM lets it flush, commit and leave.
    """
    configure_logging(verbose)
    settings = Settings()
    policy = load_policy(settings)
    settings.secret("secret_key")  # complain now, not at the first batch
    if instance is not None:
        from cli.worker_process import serve  # noqa: PLC0415 - Faust costs a second that the supervisor need not spend

        return asyncio.run(serve(settings, policy, instance))
    arguments = ["--instance", new_instance_id(), *(["--verbose"] if verbose else [])]
    return Supervisor([sys.executable, "-c", "from cli.main import main; main()", "worker", *arguments]).run()


def new_instance_id() -> str:
    """A group instance id for a worker and its restarts; another worker on this machine has another."""
    return f"{socket.gethostname()}-{uuid.uuid4().hex[:12]}"


def configure_logging(verbose: bool) -> None:
    """One line an entry on standard error; libraries only when something is wrong, unless `verbose`."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    for name in ("success", "agents", "cli"):
        logging.getLogger(name).setLevel(logging.INFO)
    for name in ("agents.app", "agents.transport", "agents.partition_store"):  # Faust talks in their names
        logging.getLogger(name).setLevel(logging.WARNING)
    if verbose:
        for name in ("", "agents.app", "agents.transport", "agents.partition_store"):
            logging.getLogger(name).setLevel(logging.INFO)
