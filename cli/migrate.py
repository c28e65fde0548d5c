"""`success migrate`: the topics and the tables."""

from __future__ import annotations

import asyncio
import json

import click

from agents.provisioning import ProvisioningError, create_topics
from cli.errors import CommandError
from runtime.settings import Settings
from store.migrate import migrate as migrate_tables


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def migrate(as_json: bool) -> None:
    """Create the topics and tables that are missing, and bring the others up to date; safe to run again."""
    settings = Settings()
    try:
        topics = asyncio.run(create_topics(settings))
    except ProvisioningError as error:
        raise CommandError(str(error)) from error
    migrations = migrate_tables(settings.database_url)
    if as_json:
        click.echo(json.dumps({"topics": topics, "migrations": migrations}))
        return
    click.echo(_sentence("topics", topics))
    click.echo(_sentence("tables", migrations))


def _sentence(what: str, made: list[str]) -> str:
    return f"{what}: {'made ' + ', '.join(made) if made else 'up to date'}"
