"""One worker process alone, with what each layer costs: `python -m bench.engines.worker [--profile]`."""

from __future__ import annotations

import asyncio
import time
import uuid

import click

from agents.cluster.provisioning import create_topics
from bench.engines.compare import SEED, Plan
from bench.logs.events import activity
from bench.logs.log import publish
from bench.process import clean_up_when_terminated, kafka
from bench.product import Product
from runtime.settings import Settings
from scoring.time import DAY
from topics.catalog import ACTIVITY, full_name


@click.command()
@click.option("--events", default=1_000_000, show_default=True)
@click.option("--suppliers", default=Plan.suppliers, show_default=True)
@click.option("--days", default=Plan.days, show_default=True, help="The days the events are spread over.")
@click.option("--partitions", default=Plan.partitions, show_default=True)
@click.option("--repeats", default=1, show_default=True)
@click.option("--profile", is_flag=True, help="Also print where the worker's main thread spends its time.")
def main(events: int, suppliers: int, days: int, partitions: int, repeats: int, profile: bool) -> None:
    """Measure the scoring of one worker process; its state must be that of a sequential fold."""
    clean_up_when_terminated()
    with kafka() as address:
        prefix = f"bench{uuid.uuid4().hex[:8]}."
        settings = Settings(kafka=address, topic_prefix=prefix, partitions=partitions)
        asyncio.run(create_topics(settings))
        start = time.time_ns() // 1_000_000 - (days + 1) * DAY
        log = activity(events, suppliers, SEED, start, days * DAY)
        asyncio.run(publish(settings, full_name(prefix, ACTIVITY), log))
        product = Product(settings)
        product.fold_in_order()
        for _ in range(repeats):
            report = product.run(events, options=("--profile",) if profile else ())
            print_report(report, events)


def print_report(report: dict[str, float], events: int) -> None:
    """A table for people."""
    click.echo(f"{events / report['seconds']:,.0f} events/s: {events:,} in {report['seconds']:.1f} s")
    click.echo(
        f"{report['records_per_flush']:,.0f} events a flush, {report['state_records']:,.0f} state records"
    )
    click.echo(f"{report['memory_mb']:,.0f} MB at most")
    click.echo("CPU µs an event, by layer:")
    for name, seconds in report.items():
        if name.startswith("cpu "):
            click.echo(f"  {name[4:]:<34}{seconds / events * 1e6:8.2f}")


if __name__ == "__main__":
    main()
