"""`success migrate`: the topics and the tables."""

from __future__ import annotations

import asyncio
import json

import click

from agents.cluster.describing import ClusterError
from agents.cluster.provisioning import create_topics
from cli.admin.versions import activate_files
from cli.errors import CommandError
from runtime.settings import Settings
from store.migrate import left_for_after
from store.migrate import migrate as migrate_tables


@click.command()
@click.option(
    "--after", is_flag=True, help="Also take away what only the version before needs; none of it may run."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def migrate(after: bool, as_json: bool) -> None:
    """Create the topics and tables that are missing, and bring the others up to date; safe to run again.

    Services go on meanwhile, those of the version before too: it adds only. What takes something away waits for
    `success migrate --after`, once they have all been replaced. What SUCCESS_CONFIG_DIR or SUCCESS_POLICY
    names is put into force, unless it ever was, or such services run.
    """
    settings = Settings()
    try:
        topics = asyncio.run(create_topics(settings))
    except ClusterError as error:
        raise CommandError(str(error)) from error
    migrations = migrate_tables(settings.owner_database_url(), after=after)
    left = left_for_after(settings.owner_database_url())
    activated = activate_files(settings, "as SUCCESS_CONFIG_DIR or SUCCESS_POLICY says")
    if as_json:
        click.echo(
            json.dumps({"topics": topics, "migrations": migrations, "after": left, "activated": activated})
        )
        return
    click.echo(_sentence("topics", topics))
    click.echo(_sentence("tables", migrations))
    if left:
        click.echo(
            f"left for `success migrate --after`, when no service of the version before runs: {', '.join(left)}"
        )
    if activated is not None:
        click.echo(f"configuration: version {activated} is in force")


def _sentence(what: str, made: list[str]) -> str:
    return f"{what}: {'made ' + ', '.join(made) if made else 'up to date'}"
