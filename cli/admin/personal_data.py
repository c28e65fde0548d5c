"""`success export-data` and `success erase`: a supplier's own data, all of it, and its erasure."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import orjson

from agents.acts import personal_data
from agents.delivery.outbox import Sender
from cli.admin.shared import actor, by_option
from cli.errors import CommandError
from runtime.clock import SystemClock
from runtime.settings import Settings
from store.audit import Actor
from store.database import Role, open_pool


@click.command()
@click.argument("supplier", type=click.UUID, metavar="ID")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file.")
@by_option
def export_data(supplier: UUID, out: Path | None, by: str | None) -> None:
    """Print everything that is stored of the supplier ID, as JSON with a readme of its keys."""
    found = asyncio.run(_export(Settings(), str(supplier), actor(by)))
    if found is None:
        raise CommandError(f"nothing is stored of {supplier}: check the id; an erased supplier stays erased")
    content = orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if out is None:
        click.echo(content, nl=False)
        return
    out.touch(mode=0o600)
    out.write_bytes(content)
    click.echo(f"wrote {out}: {sum(map(len, found['data'].values()))} rows")


@click.command()
@click.argument("supplier", type=click.UUID, metavar="ID")
@click.option("--yes", is_flag=True, help="Don't ask.")
@by_option
def erase(supplier: UUID, yes: bool, by: str | None) -> None:
    """Erase the supplier ID for good: in Postgres now, and for whoever reads supplier.profiles.

    It can't be undone: later events and profiles of that id are not stored any more.
    """
    settings = Settings()
    if not yes and sys.stdin.isatty():
        click.confirm(f"Erase {supplier} for good?", abort=True, err=True)
    asyncio.run(_erase(settings, str(supplier), actor(by)))
    click.echo(f"erased {supplier}")


async def _export(settings: Settings, supplier_id: str, actor: Actor) -> dict[str, Any] | None:
    pool = await open_pool(settings.database_url, Role.WRITER, max_size=1)
    try:
        now = SystemClock().now_ms()
        return await personal_data.export(pool, supplier_id, actor, now, settings.keys("secret_key"))
    finally:
        await pool.close()


async def _erase(settings: Settings, supplier_id: str, actor: Actor) -> None:
    keys = settings.keys("secret_key")  # missing, nothing must have happened
    pool = await open_pool(settings.database_url, Role.WRITER, max_size=1)
    try:
        publish = Sender(settings)
        try:
            await publish.connect()
            await personal_data.erase(pool, publish, supplier_id, actor, SystemClock().now_ms(), keys)
        finally:
            await publish.aclose()
    finally:
        await pool.close()
