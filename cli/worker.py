"""`success worker`: the scoring agent and the intervention agent, one process of a group."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import uuid

import click

from agents.collector import tune_collector
from agents.failure import end_process
from agents.fold import GRACE_MS
from agents.inprocess import InProcessWorker, TopicsNotReadyError
from cli.errors import CommandError
from cli.policy import load_policy
from cli.supervise import Supervisor
from runtime.clock import SystemClock
from runtime.settings import Settings
from scoring.policy import Policy

PARENT_CHECK_S = 1.0

logger = logging.getLogger("success.worker")


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
        return asyncio.run(serve(settings, policy, instance))
    arguments = ["--instance", new_instance_id(), *(["--verbose"] if verbose else [])]
    return Supervisor([sys.executable, "-c", "from cli.main import main; main()", "worker", *arguments]).run()


def new_instance_id() -> str:
    """A group instance id for a worker and its restarts; another worker on this machine has another."""
    return f"{socket.gethostname()}-{uuid.uuid4().hex[:12]}"


async def serve(settings: Settings, policy: Policy, instance: str) -> int:
    """Run until told to stop; ends the process at once if anything goes wrong."""
    tune_collector()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    in_process = InProcessWorker(
        settings, SystemClock(), grace_ms=GRACE_MS, policy=policy, instance_id=instance, fail_stop=end_process
    )
    watch = asyncio.create_task(stop_without_parent(os.getppid(), stop))
    starting = asyncio.create_task(in_process.start())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        try:
            starting.result()
        except TopicsNotReadyError as error:
            raise CommandError(str(error)) from error
        logger.info("ready")
        await stopped
    logger.info("stopping")
    starting.cancel()
    await in_process.stop()
    watch.cancel()
    return 0


async def stop_without_parent(parent: int, stop: asyncio.Event) -> None:
    """A worker whose supervisor was killed stops too, lest nobody can stop it."""
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells of a parent's end
        await asyncio.sleep(PARENT_CHECK_S)
    stop.set()


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
