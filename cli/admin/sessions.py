"""`success sessions`: who is signed in to the dashboard, and an end to all sessions of an agent."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import click

from cli.admin.shared import actor, by_option
from cli.errors import UsageError
from runtime.settings import Settings
from store import audit
from store.database import Role, open_pool
from store.people import sessions as store


@click.command()
@click.argument("act", type=click.Choice(["list", "end"]))
@click.argument("agent", required=False)
@by_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def sessions(act: str, agent: str | None, by: str | None, as_json: bool) -> None:
    """List open sessions of the dashboard, or end all of AGENT at once."""
    if (act == "end") != (agent is not None):
        raise UsageError("give `list`, or `end` and the agent's name as `list` shows it")
    settings = Settings()
    if agent is not None:
        ended = asyncio.run(_end(settings, agent, actor(by)))
        click.echo(json.dumps({"ended": ended}) if as_json else f"{ended} sessions of {agent} ended")
        return
    found = asyncio.run(_list(settings))
    lines = [{name: str(value) for name, value in row.items()} for row in found]
    if as_json:
        click.echo(json.dumps({"sessions": lines}))
        return
    for line in lines:
        click.echo(f"{line['agent']}\tsince {line['started_at']}\tlast used {line['seen_at']}")


async def _list(settings: Settings) -> list[dict[str, Any]]:
    pool = await open_pool(settings.database_url, Role.WRITER, max_size=1)
    try:
        async with pool.connection() as conn:
            return await store.open_ones(conn, time.time())
    finally:
        await pool.close()


async def _end(settings: Settings, agent: str, who: audit.Actor) -> int:
    pool = await open_pool(settings.database_url, Role.WRITER, max_size=1)
    try:
        async with pool.connection() as conn:
            ended = await store.end_all(conn, agent, time.time())
            now_ms = int(time.time() * 1000)
            await audit.log(conn, who, audit.SESSIONS_ENDED, None, now_ms, agent=agent)
            return ended
    finally:
        await pool.close()
