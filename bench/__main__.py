"""`make bench`: our worker beside other engines, on the same log in the same run. `python -m bench --help`."""

from __future__ import annotations

import json

import click

from bench.engines.compare import Comparison, Plan
from bench.process import clean_up_when_terminated, kafka, say
from bench.report import PAGE, as_json, machine, ratios, table, write

QUICK = Plan(events=4_000, slow_events=1_000, suppliers=200, repeats=1)


@click.command()
@click.option("--events", default=Plan.events, show_default=True, help="Of the log.")
@click.option("--slow-events", default=Plan.slow_events, show_default=True, help="Of the slow engines' log.")
@click.option("--suppliers", default=Plan.suppliers, show_default=True)
@click.option("--days", default=Plan.days, show_default=True, help="The days the events are spread over.")
@click.option("--partitions", default=Plan.partitions, show_default=True)
@click.option("--repeats", default=Plan.repeats, show_default=True, help="Runs of each engine.")
@click.option("--only", multiple=True, help="Engines whose names contain this; may be given again.")
@click.option(
    "--quick", is_flag=True, help="A few thousand events, once: whether all is right, not how fast."
)
@click.option("--json", "as_object", is_flag=True, help="One JSON object instead of the table.")
@click.option("--write", "to_files", is_flag=True, help=f"Also into bench/results/ and docs/{PAGE.name}.")
def main(
    events: int,
    slow_events: int,
    suppliers: int,
    days: int,
    partitions: int,
    repeats: int,
    only: tuple[str, ...],
    quick: bool,
    as_object: bool,
    to_files: bool,
) -> None:
    """Measure engines side by side; each run must end with the state of a sequential fold of the log."""
    plan = Plan(events, slow_events, suppliers, days, partitions, repeats, only)
    if quick:
        plan = Plan(QUICK.events, QUICK.slow_events, QUICK.suppliers, repeats=1, only=only)
    clean_up_when_terminated()
    where = machine()
    with kafka() as address:
        rows = Comparison(address, plan, say).run()
    if to_files:
        write(plan, where, rows)
    if as_object:
        click.echo(json.dumps(as_json(plan, where, rows)))
        return
    click.echo("\n".join(table(rows)))
    for ratio in ratios(rows):
        ours, words = ratio["ours"].partition(" / ")[0], ratio["against"]
        click.echo(f"{ours} against {words}: {ratio['ratio']} (wanted {ratio['wanted']})")


if __name__ == "__main__":
    main()
