"""`success report shadow`: what a shadow policy would have done, beside what the live one did."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cli.errors import CommandError
from runtime.settings import Settings
from store.database import Role, open_pool
from store.messages import shadow as store

FULL_WIDTH = 120
COUNTS = {
    "live_sent": "live sent",
    "shadow_sent": "shadow would",
    "both": "both",
    "only_live": "only live",
    "only_shadow": "only shadow",
    "undecided": "undecided",
}


@click.command()
@click.option(
    "--policy", metavar="NAME", help="A policy that was tried, by file name or digest; default: the last."
)
@click.option("--limit", type=click.IntRange(0), default=10, show_default=True, help="Differences to list.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def shadow(policy: str | None, limit: int, as_json: bool) -> None:
    """Compare a shadow policy (`success shadow`) with the live one, message by message."""
    comparison, listed = asyncio.run(_read(Settings(), policy, limit))
    if comparison is None and policy is not None:
        raise CommandError(f"no policy {policy!r} was tried: `success shadow --policy FILE` tries one")
    if as_json:
        said: dict[str, Any] = {"policy": None}
        if comparison is not None:
            said = {
                "policy": comparison.policy,
                "name": comparison.name,
                "started_at": comparison.started_at.isoformat(),
                "last_seen_at": comparison.last_seen_at.isoformat(),
                "triggers": comparison.triggers,
                "differences": [each | {"signal_at": each["signal_at"].isoformat()} for each in listed],
            }
        click.echo(json.dumps(said))
    elif comparison is None:
        click.echo("no policy was tried: `success shadow --policy FILE` beside a live worker does")
    else:
        _show(comparison, listed)


async def _read(
    settings: Settings, policy: str | None, limit: int
) -> tuple[store.Comparison | None, list[dict[str, Any]]]:
    pool = await open_pool(settings.database_url, Role.READER)
    try:
        async with pool.connection() as conn:
            comparison = await store.compare(conn, policy)
            listed = await store.differences(conn, comparison, limit) if comparison and limit else []
            return comparison, listed
    finally:
        await pool.close()


def _show(comparison: store.Comparison, listed: list[dict[str, Any]]) -> None:
    console = Console(width=None if sys.stdout.isatty() else FULL_WIDTH, highlight=False)
    console.print(
        f"{comparison.name} ({comparison.policy}) beside the live policy, signals from "
        f"{comparison.started_at:%Y-%m-%d %H:%M} to {comparison.last_seen_at:%Y-%m-%d %H:%M} UTC"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("trigger", no_wrap=True)
    for title in COUNTS.values():
        table.add_column(title, justify="right")
    for row in comparison.triggers:
        table.add_row(row["trigger"], *(f"{row[name]:,}" for name in COUNTS))
    totals = [sum(row[name] for row in comparison.triggers) for name in COUNTS]
    table.add_row("all", *(f"{total:,}" for total in totals), style="bold")
    console.print(table)
    for each in listed:
        console.print(
            f"{each['signal_at']:%Y-%m-%d %H:%M}  {each['trigger']}  {each['supplier_id']}  "
            f"live: {_status(each, 'live')}; shadow: {_status(each, 'shadow')}"
        )


def _status(each: dict[str, Any], side: str) -> str:
    status, reason = each[f"{side}_status"], each[f"{side}_reason"]
    if status is None:
        return "no such message"
    return f"{status.replace('_', ' ')}" + (f" ({reason})" if reason else "")
