"""`success report`: what came of the messages."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cli.analysis.report_impact import impact
from cli.analysis.report_shadow import shadow
from runtime.settings import Settings
from store.database import Role, open_pool
from store.messages.feedback import by_template

COLUMNS = {
    "sent": "sent",
    "opened": "opened",
    "clicked": "clicked",
    "converted": "converted",
    "unsubscribed": "unsub.",
    "bounced": "bounced",
    "complained": "complained",
    "suppressed": "not sent",
    "opened_by_machines": "machine opens",
    "bot_hits": "bot hits",
}
FULL_WIDTH = 160
SHARES = ("opened", "clicked", "converted", "unsubscribed")
"""Shown with their share of what was sent."""


@click.group()
def report() -> None:
    """Say what came of the messages, whether they work, and what a shadow policy would have done."""


report.add_command(impact)
report.add_command(shadow)


@report.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def messages(as_json: bool) -> None:
    """Per template: sent, opened, clicked, converted, unsubscribed; machines and bots apart."""
    rows = asyncio.run(_read(Settings()))
    if as_json:
        click.echo(json.dumps({"templates": rows}))
    elif not rows:
        click.echo("no messages yet")
    else:
        # Into a file or a pipe nothing is cut; on a narrow terminal the titles are.
        Console(width=None if sys.stdout.isatty() else FULL_WIDTH).print(_table(rows))


async def _read(settings: Settings) -> list[dict[str, Any]]:
    pool = await open_pool(settings.database_url, Role.READER)
    try:
        async with pool.connection() as conn:
            return await by_template(conn)
    finally:
        await pool.close()


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("template", no_wrap=True, min_width=max(len(row["template"]) for row in rows))
    for title in COLUMNS.values():
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(row["template"], *(_cell(row, name) for name in COLUMNS))
    return table


def _cell(row: dict[str, Any], name: str) -> str:
    share = f" {row[name] / row['sent']:.0%}" if name in SHARES and row["sent"] and row[name] else ""
    return f"{row[name]}{share}"
