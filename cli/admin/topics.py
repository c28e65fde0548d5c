"""`success topics`: going on after topics were made anew, with more partitions, or with a restored Postgres."""

from __future__ import annotations

import asyncio

import click

from agents.cluster.accepting import accept as accept_logs
from agents.cluster.describing import ClusterError
from agents.cluster.rewinding import rewind as read_again
from cli.admin.shared import Moment
from cli.errors import CommandError
from runtime.settings import Settings


@click.group()
def topics() -> None:
    """Decide about the topics: a log that was made anew, more partitions, reading again."""


@topics.command()
def accept() -> None:
    """Go on with topics that were deleted and made anew; says what is given up."""
    try:
        accepted = asyncio.run(accept_logs(Settings()))
    except ClusterError as error:
        raise CommandError(str(error)) from error
    for name, meaning in accepted.items():
        click.echo(f"{name}: accepted as it is now; {meaning}.")
    if not accepted:
        click.echo("no topic was made anew: nothing to accept")


@topics.command()
@click.argument("partitions", type=click.IntRange(min=1), metavar="N")
def grow(partitions: int) -> None:
    """Take every topic to N partitions, states and profiles along; may be run again until it is through.

    Workers that run stop by themselves; events that are published meanwhile are all counted. Afterwards set
    SUCCESS_PARTITIONS=N for every service and start the workers.
    """
    from agents.growing import grow as grow_topics  # noqa: PLC0415 - the fold takes its time

    try:
        done = asyncio.run(grow_topics(Settings(), partitions))
    except ClusterError as error:
        raise CommandError(str(error)) from error
    if done.before == done.now:
        click.echo(f"all topics have {done.now} partitions: nothing to grow")
        return
    click.echo(
        f"all topics have {done.now} partitions, before {done.before}: {done.suppliers:,} suppliers' states and "
        f"{done.profiles:,} profiles moved; now set SUCCESS_PARTITIONS={done.now} for every service, and start the "
        "workers"
    )


@topics.command()
@click.option("--since", type=Moment(), required=True, help="From TIME on (RFC 3339, or a date).")
def rewind(since: int) -> None:
    """Have workers read again what becomes rows in Postgres, after Postgres was restored to an earlier moment.

    Stop all workers first. Reading again adds nothing twice: rows go by ids, snapshots by their number. What is scored
    from supplier.activity stays where it is.
    """
    try:
        again = asyncio.run(read_again(Settings(), since))
    except ClusterError as error:
        raise CommandError(str(error)) from error
    for name, records in again.items():
        click.echo(f"{name}: {records:,} records are read again")
