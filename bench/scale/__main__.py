"""`python -m bench.scale WHAT`: figures of scale; `all` takes them one after the other. `--help` lists them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bench.process import clean_up_when_terminated, say, stack
from bench.report import PRODUCT, RESULTS, ROOT, Found, machine, put_between_marks
from bench.rows.compare import KNOWN, OURS
from bench.scale import (
    clients,
    latency,
    postgres,
    rebalance,
    recovery,
    rescoring,
    state,
    ticks,
    workers,
)
from embedded.registry import Addresses

PAGE = ROOT / "docs" / "scale.md"
STORED = RESULTS / "scale.json"
LOADS = (0.1, 0.5, 0.9)
"""Of what a worker can do."""
Measurement = Callable[[Addresses, dict[str, Any]], dict[str, Any]]

MODULES = {
    "state": state,
    "ticks": ticks,
    "clients": clients,
    "recovery": recovery,
    "rescoring": rescoring,
    "workers": workers,
    "latency": latency,
    "rebalance": rebalance,
    "postgres": postgres,
}
TITLES = {
    "state": "Bytes",
    "ticks": "Timers due at once",
    "clients": "Many clients",
    "recovery": "Recovery",
    "rescoring": "Other weights for everybody",
    "workers": "Workers side by side",
    "latency": "Added latency",
    "rebalance": "Pauses",
    "postgres": "Postgres",
}
MEASURE: dict[str, Measurement] = {
    "state": lambda _, options: state.measure(options["suppliers"]),
    "ticks": lambda _, options: ticks.measure(options["timers"]),
    "clients": lambda _, options: clients.measure(options["client_events"]),
    "recovery": lambda stack, options: recovery.measure(stack.kafka, options["suppliers"]),
    "rescoring": lambda stack, options: rescoring.measure(stack.kafka, options["suppliers"]),
    "workers": lambda stack, options: workers.measure(stack, options["events"], options["row_events"]),
    "latency": lambda stack, options: latency.measure(
        stack, options["rate"] or rates(), options["row_rate"] or row_rates(), 15.0
    ),
    "rebalance": lambda stack, _: rebalance.measure(stack, 500),
    "postgres": lambda stack, options: postgres.measure(
        stack.database_url, tuple(int(size) for size in options["sizes"].split(","))
    ),
}
NEED_NO_STACK = {"state", "ticks", "clients"}


@click.command()
@click.argument("what", type=click.Choice([*MODULES, "all"]), nargs=-1, required=True)
@click.option("--suppliers", default=1_000_000, show_default=True, help="For state, recovery and rescoring.")
@click.option("--timers", default=100_000, show_default=True, help="For ticks.")
@click.option("--client-events", default=5_000, show_default=True, help="For clients.")
@click.option("--events", default=400_000, show_default=True, help="For workers, the dense log.")
@click.option("--row-events", default=100_000, show_default=True, help="For workers, the sparse one.")
@click.option(
    "--rate",
    type=int,
    multiple=True,
    help="For latency, events/s; 10, 50 and 90 % of what `python -m bench --log dense --write` found, and 10000.",
)
@click.option(
    "--row-rate", type=int, multiple=True, help="The same with Postgres, of what `--log rows` found."
)
@click.option("--sizes", default="1000,20000", show_default=True, help="For postgres: suppliers.")
@click.option("--json", "as_object", is_flag=True, help="One JSON object.")
@click.option("--write", is_flag=True, help=f"Also into bench/results/ and docs/{PAGE.name}.")
def main(what: tuple[str, ...], as_object: bool, write: bool, **options: Any) -> None:
    """Measure WHAT (one or more; `all`)."""
    clean_up_when_terminated()
    names = list(MODULES) if "all" in what else list(what)
    found: dict[str, Any] = {}
    with stack_for(names) as addresses:
        for name in names:
            say(f"measuring {name}")
            where = machine()
            found[name] = {"machine": where, **MEASURE[name](addresses, options)}
            if write:
                keep(name, found[name])
            if not as_object:
                click.echo(f"\n{TITLES[name]}\n" + "\n".join(MODULES[name].lines(found[name])))
    if as_object:
        click.echo(json.dumps(found))


@contextmanager
def stack_for(names: list[str]) -> Iterator[Addresses]:
    """A throw-away stack, or that of SUCCESS_KAFKA and SUCCESS_DATABASE_URL, or none where none is needed."""
    if set(names) <= NEED_NO_STACK:
        yield Addresses(kafka="", database_url="", smtp="", mail_dir=Path())
        return
    with stack() as addresses:
        yield addresses


def rates() -> list[int]:
    """10,000 events/s, and parts of what our worker did on the dense log in `python -m bench --write`."""
    dense = Found.load().parts.get("dense")
    if dense is None:
        raise click.UsageError(
            "nothing kept of the dense log: give --rate, or run `python -m bench --write` first"
        )
    found = next(row for row in dense["engines"] if row["engine"] == PRODUCT)
    full: int = found["events_per_second"]["median"]
    return sorted({10_000, *(round(full * part) for part in LOADS)})


def row_rates() -> list[int]:
    """Parts of what `success worker` did into Postgres, of suppliers that it knew, in `--log rows --write`."""
    kept = Found.load().parts.get("rows")
    if kept is None:
        raise click.UsageError(
            "nothing kept of rows: give --row-rate, or run `python -m bench --log rows --write`"
        )
    found = next(row for row in kept["rows"] if (row["way"], row["log"]) == (OURS, KNOWN))
    full: int = found["events_per_second"]["median"]
    return [round(full * part) for part in LOADS]


def keep(name: str, found: dict[str, Any]) -> None:
    """Put one measurement beside the others, in the results and on the page."""
    RESULTS.mkdir(exist_ok=True)
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    stored[name] = found
    STORED.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    parts = []
    for each, module in MODULES.items():
        if each in stored:
            where = stored[each]["machine"]
            parts += [
                f"### {TITLES[each]}\n",
                *module.lines(stored[each]),
                "",
                (
                    f"`python -m bench.scale {each}`, {where['at']}, {where['cores']} cores, "
                    f"load {where['load']} before, commit {where['commit']}.\n"
                ),
            ]
    put_between_marks(PAGE, "\n".join(parts))


if __name__ == "__main__":
    main()
