"""`make bench`: our worker beside other engines, on the same logs in the same run. `python -m bench --help`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from bench.engines.compare import Comparison, Plan
from bench.logs.kinds import LOGS
from bench.process import clean_up_when_terminated, say, stack
from bench.report import PAGE, Found, floors, log_part, machine, rows_part
from bench.rows.compare import measure as measure_rows

ROWS = "rows"
QUICK = Plan(dense_events=4_000, sparse_events=1_000, slow_events=1_000, repeats=1)


@click.command()
@click.option(
    "--log",
    "logs",
    type=click.Choice([*LOGS, ROWS]),
    multiple=True,
    help=f"Only this one, may be given again; {ROWS}: from events to rows in Postgres.",
)
@click.option("--events", default=Plan.dense_events, show_default=True, help="Of the dense log.")
@click.option(
    "--suppliers", default=Plan.sparse_events, show_default=True, help="Of a sparse log, an event each."
)
@click.option(
    "--row-events", default=100_000, show_default=True, help=f"For {ROWS}, an event of each supplier."
)
@click.option(
    "--slow-events", default=Plan.slow_events, show_default=True, help="Of the dense log, for slow engines."
)
@click.option("--partitions", default=Plan.partitions, show_default=True)
@click.option("--repeats", default=Plan.repeats, show_default=True, help="Runs of each engine, in turns.")
@click.option("--only", multiple=True, help="Engines whose names contain this; may be given again.")
@click.option(
    "--python", "pythons", multiple=True, help="Our worker under this interpreter; may be given again."
)
@click.option(
    "--beside",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help=f"For {ROWS}: also the worker of this checkout, whose environment is in its .venv.",
)
@click.option("--layers", is_flag=True, help="One more run of our worker, with clocks around its layers.")
@click.option(
    "--quick", is_flag=True, help="All of it with few events, once: whether all is right, not how fast."
)
@click.option("--json", "as_object", is_flag=True, help="One JSON object instead of the tables.")
@click.option("--write", "to_files", is_flag=True, help=f"Also into bench/results/ and docs/{PAGE.name}.")
def main(
    logs: tuple[str, ...],
    row_events: int,
    beside: tuple[Path, ...],
    quick: bool,
    as_object: bool,
    to_files: bool,
    **options: Any,
) -> None:
    """Measure engines side by side; each run must end with the state of a sequential fold, or with the same rows."""
    chosen: dict[str, Any] = {name: options[name] for name in ("only", "pythons", "layers")}
    plan = Plan(
        options["events"], options["suppliers"], options["slow_events"], options["partitions"], options["repeats"],
        **chosen,
    )  # fmt: skip
    if quick:
        plan = Plan(
            QUICK.dense_events, QUICK.sparse_events, QUICK.slow_events, repeats=QUICK.repeats, **chosen
        )
        row_events = QUICK.sparse_events
    clean_up_when_terminated()
    found = Found.load()
    parts = {}
    with stack() as addresses:
        for name in logs or [*LOGS, *([] if plan.only or plan.pythons else [ROWS])]:
            where = machine()
            if name == ROWS:
                rows = measure_rows(addresses, row_events, plan.repeats, say, beside)
                parts[name] = rows_part(where, plan.repeats, rows)
            else:
                comparison = Comparison(addresses.kafka, plan, LOGS[name], say)
                measured = comparison.run()
                part = log_part(where, plan, measured, comparison.layers)
                parts[f"{name}, by Python" if plan.pythons else name] = part
            if to_files:  # each at once: what follows may fail
                found.keep(parts)
    if as_object:
        click.echo(json.dumps(parts))
        return
    measured_now = Found(parts)
    click.echo("\n".join([*measured_now.lines(), "", *floors(measured_now.parts)]))


if __name__ == "__main__":
    main()
