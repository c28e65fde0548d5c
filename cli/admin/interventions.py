"""`success interventions`: look at messages, try unknown or failed ones again, note what a restore forgot."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from typing import Any
from uuid import UUID

import click

from agents.acts.recovering import DeliveryRunsError, Recovered, fates
from agents.acts.recovering import recover as recover_rows
from agents.acts.retrying import retry as schedule_again
from agents.cluster.describing import ClusterError
from cli.admin.shared import Moment, actor, by_option, json_option, now_ms, span_options, writing
from cli.errors import CommandError, UsageError
from cli.in_force import in_force
from runtime.settings import Settings
from store.audit import Actor
from store.messages import mending
from store.messages.mending import Wanted
from store.times import to_ms

STATUSES = ("scheduled", "sending", "sent", "suppressed", "failed", "unknown")
MENDABLE = ("failed", "unknown")
CHUNK = 500
"""Messages scheduled again in one transaction, at most."""


@click.group()
def interventions() -> None:
    """Look at messages (rows of success_interventions), and try unknown or failed ones again."""


@interventions.command()
@click.argument("intervention", type=click.UUID, metavar="ID")
@json_option
def show(intervention: UUID, as_json: bool) -> None:
    """Show the message ID: what became of it and why."""
    row = asyncio.run(_find(Settings(), str(intervention)))
    if row is None:
        raise CommandError(f"there is no message {intervention}")
    if as_json:
        click.echo(json.dumps(_plain(row)))
        return
    for name, value in _plain(row).items():
        if value not in (None, False):
            click.echo(f"{name:<18} {json.dumps(value) if isinstance(value, dict) else value}")
    if row["status"] in MENDABLE:
        click.echo(f"`success interventions retry {intervention} --by WHO` tries it again")


@interventions.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="With this status.")
@click.option(
    "--reason",
    metavar="TEXT",
    help="With this reason, or these words in the error of a failed or unknown one.",
)
@click.option("--trigger", metavar="NAME", help="Of this trigger.")
@click.option("--supplier", type=click.UUID, metavar="ID", help="To this supplier.")
@span_options("Due")
@click.option(
    "--most", type=click.IntRange(min=1), default=50, show_default=True, help="List so many of the newest."
)
@json_option
def list_messages(
    status: str | None,
    reason: str | None,
    trigger: str | None,
    supplier: UUID | None,
    since: int | None,
    until: int | None,
    most: int,
    as_json: bool,
) -> None:
    """List messages, the newest first."""
    wanted = Wanted(status, reason, trigger, since, until, str(supplier) if supplier else None)
    rows, total = asyncio.run(_list(Settings(), wanted, most))
    if as_json:
        click.echo(json.dumps({"total": total, "interventions": [_plain(row) for row in rows]}))
        return
    for row in rows:
        why = row["reason"] or row["last_error"] or ""
        click.echo(
            f"{row['id']}  {row['due_at']:%Y-%m-%d %H:%M}  {row['trigger_condition']}  {row['status']}  {why}".rstrip()
        )
    click.echo(f"{total:,} messages" + (f"; the newest {len(rows)} are listed" if total > len(rows) else ""))


@interventions.command()
@click.argument("intervention", type=click.UUID, required=False, metavar="[ID]")
@click.option("--status", type=click.Choice(MENDABLE), help="All with this status.")
@click.option("--reason", metavar="TEXT", help="Only with these words in the error.")
@click.option("--trigger", metavar="NAME", help="Only of this trigger.")
@span_options("Only due")
@click.option("--dry-run", is_flag=True, help="Say what would be tried again; change nothing.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@by_option
@json_option
def retry(
    intervention: UUID | None,
    status: str | None,
    reason: str | None,
    trigger: str | None,
    since: int | None,
    until: int | None,
    dry_run: bool,
    yes: bool,
    by: str | None,
    as_json: bool,
) -> None:
    """Try the failed or unknown message ID again, or all that are chosen by --status.

    Of an unknown one nobody knows whether it has arrived: it may reach them twice, which is why somebody decides it,
    by name. Caps, opt-outs, quiet hours and levels are decided anew at sending. Of those chosen by --status, what is
    due too long ago to be sent at all is left as it is.
    """
    wanted = Wanted(status, reason, trigger, since, until)
    if (intervention is None) == (status is None) or (intervention and wanted != Wanted()):
        raise UsageError("give an ID, or choose messages by --status failed or --status unknown; not both")
    settings, who = Settings(), actor(by)
    expires_after = asyncio.run(in_force(settings)).policy.lifetime.expires_after_ms
    if intervention is not None:
        asyncio.run(_check(settings, str(intervention)))
    act = _Retry(settings, who, now_ms(), expires_after)
    if intervention is None and not dry_run and not yes and sys.stdin.isatty():
        click.echo(_sentence(asyncio.run(act.all_of(wanted, dry_run=True))), err=True)
        click.confirm("Try them again?", abort=True, err=True)
    if intervention is not None:
        outcome = asyncio.run(act.one(str(intervention), dry_run=dry_run))
    else:
        outcome = asyncio.run(act.all_of(wanted, dry_run=dry_run))
    click.echo(json.dumps(outcome) if as_json else _sentence(outcome))


@interventions.command()
@click.option(
    "--since", type=Moment(), required=True, help="What was told from TIME on (RFC 3339, or a date)."
)
@click.option("--dry-run", is_flag=True, help="Say what would be noted; change nothing.")
@by_option
@json_option
def recover(since: int, dry_run: bool, by: str | None, as_json: bool) -> None:
    """Note what success.interventions says of messages that a restored Postgres holds for unsent.

    Run it after workers have read again (`success topics rewind`) and before any delivery starts: else what was sent
    since the backup is sent again. May be run again.
    """
    try:
        done = asyncio.run(_recover(Settings(), since, actor(by), dry_run=dry_run))
    except (ClusterError, DeliveryRunsError) as error:
        raise CommandError(str(error)) from error
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, "missing": done.missing} | done.by_status))
    else:
        said = ", ".join(f"{name} {number:,}" for name, number in sorted(done.by_status.items()))
        click.echo(f"{'would be noted' if dry_run else 'noted'}: {said or 'nothing'}")
    if done.missing:
        raise CommandError(
            f"{done.missing:,} more that it tells of are not in Postgres yet: let the workers catch up after `success "
            "topics rewind`, then run this again, before any delivery starts"
        )


async def _recover(settings: Settings, since: int, who: Actor, *, dry_run: bool) -> Recovered:
    told = await fates(settings, since)
    async with writing(settings) as pool, pool.connection() as conn:
        keys = settings.keys("secret_key")
        return await recover_rows(conn, told, who, keys, since, now_ms(), dry_run=dry_run)


class _Retry:
    """One act of trying again, at one moment."""

    def __init__(self, settings: Settings, who: Actor, now: int, expires_after_ms: int) -> None:
        self._settings = settings
        self._who = who
        self._now = now
        self._expires_after_ms = expires_after_ms

    async def one(self, intervention_id: str, *, dry_run: bool) -> dict[str, Any]:
        """Try one again, however old: who names it has looked at it."""
        async with writing(self._settings) as pool, pool.connection() as conn:
            row = await mending.find(conn, intervention_id)
            too_old = row is not None and self._is_too_old(row)
            ids = [intervention_id]
            if not dry_run and await schedule_again(conn, self._who, intervention_id, self._now) is None:
                ids = []
        return _outcome(ids, int(too_old), dry_run=dry_run)

    async def all_of(self, wanted: Wanted, *, dry_run: bool) -> dict[str, Any]:
        """Try all that are wanted again, but for those that would only expire."""
        async with writing(self._settings) as pool:
            async with pool.connection() as conn:
                rows = await mending.matching(conn, wanted, most=None)
            fresh = [row["id"] for row in rows if not self._is_too_old(row)]
            done = fresh if dry_run else []
            for start in range(0, 0 if dry_run else len(fresh), CHUNK):
                for intervention_id in sorted(fresh[start : start + CHUNK]):
                    async with pool.connection() as conn:  # one lock on a supplier at a time
                        if await schedule_again(conn, self._who, intervention_id, self._now) is not None:
                            done.append(intervention_id)
        return _outcome(done, len(rows) - len(fresh), dry_run=dry_run)

    def _is_too_old(self, row: dict[str, Any]) -> bool:
        return self._now >= to_ms(row["due_at"]) + self._expires_after_ms


def _outcome(ids: list[str], too_old: int, *, dry_run: bool) -> dict[str, Any]:
    name = "would_retry" if dry_run else "retried"
    return {name: len(ids), "too_old": too_old, "ids": ids}


def _sentence(outcome: dict[str, Any]) -> str:
    retried = outcome.get("retried")
    said = (
        f"{outcome['would_retry']:,} would be tried again"
        if retried is None
        else f"{retried:,} scheduled again"
    )
    if outcome["too_old"]:
        said += f"; {outcome['too_old']:,} due so long ago that delivery would suppress them as expired"
    return said


async def _find(settings: Settings, intervention_id: str) -> dict[str, Any] | None:
    async with writing(settings) as pool, pool.connection() as conn:
        return await mending.find(conn, intervention_id)


async def _check(settings: Settings, intervention_id: str) -> None:
    row = await _find(settings, intervention_id)
    if row is None:
        raise CommandError(f"there is no message {intervention_id}")
    if row["status"] not in MENDABLE:
        why = f" ({row['reason']})" if row["reason"] else ""
        raise CommandError(
            f"{intervention_id} is {row['status']}{why}: only a failed or unknown message is tried again"
        )


async def _list(settings: Settings, wanted: Wanted, most: int) -> tuple[list[dict[str, Any]], int]:
    async with writing(settings) as pool, pool.connection() as conn:
        return await mending.matching(conn, wanted, most), await mending.count(conn, wanted)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat()
        if isinstance(value, datetime)
        else str(value)
        if isinstance(value, UUID)
        else value
        for name, value in row.items()
    }
