"""`success report impact`: whether the messages work, from Postgres or from the simulated experiment."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.errors import UsageError
from cli.in_force import in_force
from cli.policy import load_policy
from runtime.settings import Settings
from store.database import Role, open_pool
from topics.time import format_time, parse_time

if TYPE_CHECKING:
    from replay.impact.report import Impact
    from scoring.decisions.policy import Policy


@click.command()
@click.option("--simulated", is_flag=True, help="Run the experiment on simulated suppliers instead.")
@click.option(
    "--since", metavar="TIME", help="When the comparison began (RFC 3339); default: the first decision."
)
@click.option(
    "--suppliers", type=click.IntRange(50), default=2000, show_default=True, help="With --simulated."
)
@click.option("--seed", type=int, default=1, show_default=True, help="With --simulated.")
@click.option(
    "--holdout", type=click.FloatRange(0.01, 0.99), default=0.5, show_default=True, help="With --simulated."
)
@click.option(
    "--lift", type=click.FloatRange(0, 1), help="With --simulated: what a message that is read does."
)
@click.option("--read", type=click.FloatRange(0, 1), help="With --simulated: the share of messages read.")
@click.option(
    "--policy",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --simulated: another policy file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def impact(
    simulated: bool,
    since: str | None,
    suppliers: int,
    seed: int,
    holdout: float,
    lift: float | None,
    read: float | None,
    file: Path | None,
    as_json: bool,
) -> None:
    """Compare who leaves within 30 days: treated against holdout, by intention to treat, with intervals.

    Says how many suppliers and weeks a holdout needs to see a reduction by 25 %. With --simulated it runs the
    experiment on simulated suppliers whose response to messages is assumed, and says which response 25 % would need.
    """
    from cli.analysis.report_impact_text import show_live, show_simulated  # noqa: PLC0415 - numpy is only needed here

    if simulated:
        said = _simulated(suppliers, seed, holdout, lift, read, file)
        show = show_simulated
    else:
        if lift is not None or read is not None or file is not None:
            raise UsageError("--lift, --read and --policy go with --simulated: a database says what happened")
        settings = Settings()
        policy = asyncio.run(in_force(settings)).policy
        said = asyncio.run(live_impact(settings, policy, _since(since)))
        show = show_live
    if as_json:
        click.echo(json.dumps(said))
    else:
        show(said)


def _simulated(
    suppliers: int, seed: int, holdout: float, lift: float | None, read: float | None, file: Path | None
) -> dict[str, Any]:
    from replay.impact.effects import Effects  # noqa: PLC0415 - as above
    from replay.impact.report import simulate_impact  # noqa: PLC0415 - as above

    policy = load_policy(Settings(policy=file) if file else Settings())
    assumed = Effects()
    effects = Effects(assumed.read if read is None else read, assumed.lift if lift is None else lift)

    def tell(what: str) -> None:
        if sys.stderr.isatty():
            click.echo(what, err=True)

    return simulate_impact(policy, effects, suppliers, seed, holdout, tell).as_json()


async def live_impact(settings: Settings, policy: Policy, since_ms: int | None) -> dict[str, Any]:
    """The report on a database as JSON; `since_ms` None: since the first decision under the present holdout."""
    from replay.impact.live import beginning, in_holdout  # noqa: PLC0415 - as above
    from replay.impact.report import Person, impact_of  # noqa: PLC0415 - as above
    from replay.impact.world import WINDOW_DAYS  # noqa: PLC0415 - as above
    from store.messages import impact as store  # noqa: PLC0415 - as above

    pool = await open_pool(settings.database_url, Role.READER)
    try:
        async with pool.connection() as conn:
            intake = await store.intake(conn)
            if intake.until is None or intake.began is None:
                return {"simulation": False, "says": "no supplier is stored yet"}
            decided = await store.decided(conn)
            begun, notes = beginning(decided, policy, intake.began)
            begun = since_ms if since_ms is not None else begun
            found = await store.people(conn, begun, intake.until, WINDOW_DAYS)
    finally:
        await pool.close()
    people = [Person(in_holdout(each.supplier_id, policy), each.left, each.first) for each in found]
    result: Impact = impact_of(people, intake.came / 4)
    return {
        "simulation": False,
        "since": format_time(begun),
        "until": format_time(intake.until),
        "holdout": policy.holdout.share,
        "new_suppliers_a_week": intake.came / 4,
        "suppliers": len(people),
        "notes": notes,
        **result.as_json(),
    }


def _since(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_time(text if "T" in text.upper() else f"{text}T00:00:00Z")
    except ValueError as error:
        raise UsageError(f"--since {text}: {error}, nor a day such as 2026-01-05") from error
