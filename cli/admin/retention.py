"""`success retention`: drops what is older than its period."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click
import psycopg
from psycopg import errors

from cli.errors import CommandError
from runtime.settings import Settings
from store.database import OWNERS_URL, connection_problem
from store.people.retention import Kind, drop_old

SESSION_DAYS = 30
"""Ended sessions of the dashboard; sign-ins stay in the audit log."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: rows dropped, by kind.")
def retention(as_json: bool) -> None:
    """Drop hits, bounces, words of messages, history and audit that are older than SUCCESS_KEEP_…_DAYS; run it daily.

    It needs the owner's login (SUCCESS_MIGRATE_DATABASE_URL): no service may delete from the audit log.
    """
    settings = Settings()
    days: dict[Kind, int] = {
        "hits": settings.keep_hits_days,
        "bounces": settings.keep_bounces_days,
        "words": settings.keep_words_days,
        "audit": settings.keep_audit_days,
        "history": settings.keep_history_days,
        "sessions": SESSION_DAYS,
    }
    try:
        with psycopg.connect(settings.owner_database_url(), autocommit=True, connect_timeout=10) as conn:
            dropped = drop_old(conn, days, datetime.now(UTC))
    except errors.InsufficientPrivilege as error:
        raise CommandError(
            f"this login may not drop anything ({error.diag.message_primary}): "
            "set SUCCESS_MIGRATE_DATABASE_URL to the owner's"
        ) from error
    except errors.UndefinedTable as error:
        raise CommandError("the tables are missing: run `success migrate`") from error
    except psycopg.OperationalError as error:
        raise CommandError(connection_problem(error, OWNERS_URL)) from error
    if as_json:
        click.echo(json.dumps({"dropped": dropped}))
        return
    for kind, rows in dropped.items():
        click.echo(f"{kind}: {rows:,} older than {days[kind]} days dropped")
