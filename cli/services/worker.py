"""`success worker`: the scoring agent and the intervention agent, one process of a group."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid

import click

from cli.children import success
from cli.errors import UsageError
from cli.services.supervise import Supervisor, run_all
from runtime.logs import to_standard_error
from runtime.settings import Settings


class Processes(click.ParamType):
    """A number, or `auto`: as many as there are cores for this process."""

    name = "N|auto"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; click's own error otherwise."""
        if value == "auto":
            return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        try:
            number = int(str(value))
        except ValueError:
            number = 0
        if number < 1:
            self.fail(f"{value!r} is neither a number from 1 nor `auto`", param, ctx)
        return number


@click.command()
@click.option("--instance", hidden=True, help="Run as the supervised child with this group instance id.")
@click.option("--no-wait", is_flag=True, help="Exit if Kafka or Postgres is away at the start.")
@click.option("--no-restart", is_flag=True, help="Exit on a failure; the platform starts it again.")
@click.option(
    "--processes",
    type=Processes(),
    default="1",
    show_default=True,
    help="So many workers at once; `auto` for one a core. Each next one has the next metrics port.",
)
@click.option("-v", "--verbose", is_flag=True, help="Also log what Faust and Kafka do.")
def worker(instance: str | None, no_wait: bool, no_restart: bool, processes: int, verbose: bool) -> int:
    """Score activity and write interventions; start as many as you like, they share the partitions.

    Waits for a Kafka or Postgres that is away, and is started again if it fails; Ctrl-C or SIGTERM lets it flush,
    commit and leave.
    """
    settings = Settings()
    to_standard_error("worker", settings, verbose=verbose)
    settings.secret("secret_key")  # complain now, not at the first batch
    if no_restart and processes > 1:
        raise UsageError("--no-restart leaves processes to the platform: let it start as many as it should")
    if instance is not None or no_restart:
        # Faust and the letters take two seconds: a supervisor needs neither. Its child complains of what is wrong.
        from cli.policy import load_policy  # noqa: PLC0415 - see above
        from cli.services.worker_process import serve  # noqa: PLC0415 - see above

        policy, name = load_policy(settings), instance or new_instance_id()
        return asyncio.run(serve(settings, policy, name, supervised=not no_restart, waits=not no_wait))
    flags = {"--verbose": verbose, "--no-wait": no_wait}
    given = [flag for flag, given in flags.items() if given]
    if processes == 1:
        return Supervisor(success("worker", "--instance", new_instance_id(), *given)).run()
    return run_all([_member(number, settings, given) for number in range(processes)])


def _member(number: int, settings: Settings, given: list[str]) -> Supervisor:
    """One of several on this machine: its metrics are at a port of its own, the first one's at the port that is set."""
    port = {"SUCCESS_METRICS_PORT": str(settings.metrics_port + number)} if settings.metrics_port else {}
    command = success("worker", "--instance", new_instance_id(), *given)
    return Supervisor(command, f"worker {number + 1}", {**os.environ, **port})


def new_instance_id() -> str:
    """A group instance id for a worker and its restarts; another worker on this machine has another."""
    return f"{socket.gethostname()}-{uuid.uuid4().hex[:12]}"
