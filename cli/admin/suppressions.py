"""`success suppressions`: addresses that get no email; they are kept as hashes, so none can be read back."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any, get_args

import click

from cli.admin.shared import actor, by_option, json_option, now_ms, writing
from cli.errors import CommandError, UsageError
from runtime.settings import Settings
from store.audit import Actor
from store.messages import mending
from store.messages.mending import Reason
from topics.address import parse_address

REASONS = get_args(Reason)
LISTED = (*REASONS, "opted_out")


@click.group()
def suppressions() -> None:
    """List, add or remove addresses that get no email: they bounced, complained, or opted out."""


@suppressions.command("list")
@click.option("--reason", type=click.Choice(LISTED), help="For this reason.")
@click.option(
    "--most", type=click.IntRange(min=1), default=100, show_default=True, help="List so many of the newest."
)
@json_option
def list_addresses(reason: str | None, most: int, as_json: bool) -> None:
    """List why and since when addresses get no email. The addresses themselves are not kept, only hashes."""
    found = asyncio.run(_list(Settings(), reason))
    counts, rows = Counter(row["reason"] for row in found), found[:most]
    if as_json:
        lines = [row | {"since": row["since"].isoformat()} for row in rows]
        click.echo(json.dumps({"total": len(found), "reasons": counts, "suppressions": lines}))
        return
    for row in rows:
        click.echo(f"{row['since']:%Y-%m-%d %H:%M}  {row['reason']:<10}  {row['address_hash'][:16]}…")
    click.echo(
        f"{len(found):,} suppressions" + "".join(f", {count:,} {name}" for name, count in counts.items())
    )


@suppressions.command()
@click.argument("address")
@click.option(
    "--reason",
    type=click.Choice(REASONS),
    default="complained",
    show_default=True,
    help="complained: ends when they opt in again themselves; bounced: the mailbox is dead, ends by `remove` only.",
)
@by_option
@json_option
def add(address: str, reason: Reason, by: str | None, as_json: bool) -> None:
    """Send no email to ADDRESS from now on, whichever supplier has it; calls they ask for go on being confirmed."""
    done = asyncio.run(_add(Settings(), _checked(address), reason, actor(by)))
    if as_json:
        click.echo(json.dumps({"added": done, "reason": reason}))
    else:
        click.echo(f"suppressed as {reason}" if done else f"it is suppressed as {reason} already")


@suppressions.command()
@click.argument("address")
@by_option
@json_option
def remove(address: str, by: str | None, as_json: bool) -> None:
    """End what bounces and complaints began for ADDRESS. An opt-out is their own word, and stays."""
    gone, stay = asyncio.run(_remove(Settings(), _checked(address), actor(by)))
    if as_json:
        click.echo(json.dumps({"removed": gone, "still": stay}))
    elif gone:
        click.echo(f"no longer suppressed as {' or '.join(gone)}")
    if stay:
        click.echo(f"still {' and '.join(stay)}: they said so, and only they end it", err=True)
    if not gone and not stay:
        raise CommandError("that address is not suppressed: check its spelling; `list` shows hashes only")


def _checked(address: str) -> str:
    """The address as it will be compared; never repeated in a complaint."""
    try:
        parse_address(address)
    except ValueError as error:
        raise UsageError(f"ADDRESS is {error}") from error
    return address


async def _list(settings: Settings, reason: str | None) -> list[dict[str, Any]]:
    async with writing(settings) as pool, pool.connection() as conn:
        return await mending.suppressed(conn, reason)


async def _add(settings: Settings, address: str, reason: Reason, who: Actor) -> bool:
    keys = settings.keys("secret_key")
    async with writing(settings) as pool, pool.connection() as conn:
        return await mending.suppress(conn, who, address, keys, reason, now_ms())


async def _remove(settings: Settings, address: str, who: Actor) -> tuple[list[str], list[str]]:
    keys = settings.keys("secret_key")
    async with writing(settings) as pool, pool.connection() as conn:
        return await mending.unsuppress(conn, who, address, keys, now_ms())
