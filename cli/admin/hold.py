"""`success hold`: keep all messages from a supplier, or let them go again."""

from __future__ import annotations

import asyncio
from uuid import UUID

import click

from cli.admin.shared import Moment, actor, by_option
from cli.errors import CommandError, UsageError
from runtime.clock import SystemClock
from runtime.settings import Settings
from store.audit import Actor
from store.database import Role, open_pool
from store.people import holds
from store.times import to_time


@click.command()
@click.argument("supplier", type=click.UUID, metavar="ID")
@click.option("--release", is_flag=True, help="Let messages to their go again.")
@by_option
@click.option("--note", default="", help="Why; agents see it. Write nothing personal. A hold needs it.")
@click.option("--until", type=Moment(), help="When it ends by itself (default: when somebody releases it).")
def hold(supplier: UUID, release: bool, by: str | None, note: str, until: int | None) -> None:
    """Hold all messages to the supplier ID from now on; what falls due meanwhile is suppressed as `held`."""
    settings = Settings()
    who = actor(by)
    try:
        changed = asyncio.run(_act(settings, str(supplier), who, note, until, release=release))
    except holds.UnknownSupplierError as error:
        raise CommandError(str(error)) from error
    except holds.RefusedHoldError as error:
        raise UsageError(f"{error} (--note, --until)") from error
    if release:
        click.echo(f"released {supplier}" if changed else f"{supplier} was not held")
    else:
        click.echo(f"held {supplier}" if changed else f"{supplier} is held already")


async def _act(
    settings: Settings, supplier: str, who: Actor, note: str, until: int | None, *, release: bool
) -> bool:
    now = SystemClock().now_ms()
    pool = await open_pool(settings.database_url, Role.WRITER, max_size=1)
    try:
        async with pool.connection() as conn:
            if release:
                return await holds.release(conn, who, supplier, now)
            ends = holds.FOR_GOOD if until is None else to_time(until)
            return await holds.hold(conn, who, supplier, now, note, ends)
    finally:
        await pool.close()
