"""`success webhook`: notes to agents' own tools: try the receiver, look at what was given up, try again."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import click
import httpx2

from agents.delivery.notes import post
from cli.admin.shared import json_option, now_ms, writing
from cli.errors import CommandError, UsageError
from runtime.settings import Settings, variable
from store import outbox
from topics.time import format_time

NOBODY = str(UUID(int=0))


@click.group()
def webhook() -> None:
    """Look after notes to agents' tools (SUCCESS_AGENTS_WEBHOOK_URL): changed levels, tasks, calls."""


@webhook.command()
def test() -> None:
    """Send a note that says it is a test, now."""
    settings = Settings()
    if settings.agents_webhook_url is None:
        raise UsageError(f"{variable('agents_webhook_url')} is not set: agents are told nothing")
    answer = asyncio.run(_test(settings))
    if answer is not None:
        raise CommandError(f"the receiver did not take it: {answer}")
    click.echo("the receiver took it")


@webhook.command("list")
@click.option(
    "--most", type=click.IntRange(min=1), default=100, show_default=True, help="List so many of the newest."
)
@json_option
def list_failed(most: int, as_json: bool) -> None:
    """List notes that were given up, the newest first: they are kept for a week."""
    found = asyncio.run(_failed(Settings(), most))
    if as_json:
        click.echo(json.dumps([note | {"failed_at": note["failed_at"].isoformat()} for note in found]))
        return
    for note in found:
        click.echo(
            f"{note['failed_at']:%Y-%m-%d %H:%M}  {note['id']}  {note['kind']:<16}  supplier {note['supplier_id']}: "
            f"{note['error']} after {note['attempts']} attempts"
        )
    click.echo(f"{len(found):,} given up")


@webhook.command()
@click.argument("ids", nargs=-1, type=click.UUID)
@click.option("--all", "every", is_flag=True, help="All that were given up.")
@json_option
def retry(ids: tuple[UUID, ...], every: bool, as_json: bool) -> None:
    """Try notes again that were given up: those of IDS, or --all; delivery sends them at once."""
    if bool(ids) == every:
        raise UsageError("name the notes (`success webhook list` shows their ids), or say --all")
    count = asyncio.run(_retry(Settings(), None if every else [str(each) for each in ids]))
    click.echo(json.dumps({"retried": count}) if as_json else f"{count:,} will be tried again")
    if not count:
        raise CommandError("nothing of that was given up")


async def _test(settings: Settings) -> str | None:
    at = now_ms()
    note = outbox.DueNote(0, str(uuid4()), NOBODY, "test", format_time(at), {})
    async with httpx2.AsyncClient() as client:
        return (await post(client, settings, note, at)).error


async def _failed(settings: Settings, most: int) -> list[dict[str, Any]]:
    async with writing(settings) as pool, pool.connection() as conn:
        return await outbox.failed_notes(conn, most)


async def _retry(settings: Settings, ids: list[str] | None) -> int:
    async with writing(settings) as pool, pool.connection() as conn:
        return await outbox.retry_notes(conn, ids, now_ms())
