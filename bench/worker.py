"""How many events a second one worker process scores, and what each layer costs: `make bench`.

Loads `supplier.activity`, runs a real worker process (Faust, Kafka, changelog; scoring only, without Postgres)
over the backlog, and compares the state it leaves with a sequential fold of the same log.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import click

from agents.failure import end_process
from agents.fold import PartitionFold
from agents.lease import Lease
from agents.producer import BatchProducer, Outgoing
from agents.provisioning import STATE, create_topics
from agents.state_record import META_KEY, StateHeader, newest
from bench.activity import activity
from bench.reading import read_topic
from cli.stack import Stack
from runtime.settings import Settings
from scoring.state import State, decode
from scoring.time import DAY
from topics.catalog import ACTIVITY, full_name
from topics.partitioner import partition_of

SEED = 7
LOAD_BATCH = 20_000


@click.command()
@click.option("--events", default=1_000_000, show_default=True)
@click.option("--suppliers", default=20_000, show_default=True)
@click.option("--days", default=7, show_default=True, help="The days the events are spread over.")
@click.option("--partitions", default=8, show_default=True)
@click.option("--verify/--no-verify", default=True, show_default=True)
@click.option("--profile", is_flag=True, help="Also print where the worker's main thread spends its time.")
def main(events: int, suppliers: int, days: int, partitions: int, verify: bool, profile: bool) -> None:
    """Measure the scoring of one worker process."""
    with kafka() as address:
        settings = Settings(
            kafka=address, topic_prefix=f"bench{uuid.uuid4().hex[:8]}.", partitions=partitions
        )
        asyncio.run(load(settings, events, suppliers, days))
        report = run_worker(settings, events, profile=profile)
        print_report(report, events)
        if verify:
            asyncio.run(verify_state(settings))


@contextmanager
def kafka() -> Iterator[str]:
    """Bootstrap servers: from SUCCESS_KAFKA, else of a throw-away stack."""
    if given := os.environ.get("SUCCESS_KAFKA"):
        yield given
        return
    stack = Stack(ephemeral=True)
    try:
        yield stack.start().kafka
    finally:
        stack.stop()


async def load(settings: Settings, events: int, suppliers: int, days: int) -> None:
    """Make the topics and publish the events."""
    await create_topics(settings)
    producer = BatchProducer(settings, Lease(3600, end_process))
    await producer.start()
    start = time.time_ns() // 1_000_000 - (days + 1) * DAY
    waiting: list[list[Outgoing]] = [[] for _ in range(settings.partitions)]
    topic = full_name(settings.topic_prefix, ACTIVITY)
    for key, value in activity(events, suppliers, SEED, start, days * DAY):
        number = partition_of(key, settings.partitions)
        waiting[number].append((key, value, []))
        if len(waiting[number]) >= LOAD_BATCH:
            await producer.send(topic, number, waiting[number])
            waiting[number] = []
    for number, records in enumerate(waiting):
        await producer.send(topic, number, records)
    await producer.stop()
    click.echo(
        f"loaded {events:,} events of {suppliers:,} suppliers over {days} days, {settings.partitions} partitions"
    )


def run_worker(settings: Settings, events: int, *, profile: bool) -> dict[str, float]:
    """Run the worker process over the backlog; its report."""
    command = [sys.executable, "-m", "bench.scoring_worker", str(events), *(["--profile"] if profile else [])]
    done = subprocess.run(  # noqa: S603 - our own command
        command, env={**os.environ, **settings.as_env()}, stdout=subprocess.PIPE, check=True
    )
    report: dict[str, float] = json.loads(done.stdout)
    return report


def print_report(report: dict[str, float], events: int) -> None:
    """A table for people."""
    click.echo(f"{events / report['seconds']:,.0f} events/s: {events:,} in {report['seconds']:.1f} s")
    click.echo(
        f"{report['records_per_flush']:,.0f} events a flush, {report['state_records']:,.0f} state records"
    )
    click.echo("CPU µs an event, by layer:")
    for name, seconds in report.items():
        if name.startswith("cpu "):
            click.echo(f"  {name[4:]:<34}{seconds / events * 1e6:8.2f}")


async def verify_state(settings: Settings) -> None:
    """Compare the state topic with a sequential fold; raises SystemExit if they differ."""
    log = await read_topic(settings, full_name(settings.topic_prefix, ACTIVITY))
    changelog = await read_topic(settings, full_name(settings.topic_prefix, STATE))
    wrong = compared = 0
    for number in range(settings.partitions):
        fold = PartitionFold(number, settings.partitions)
        fold.process(log[number])
        kept: dict[bytes, bytes] = {}
        for record in changelog[number]:
            kept[record.key] = newest(kept.get(record.key), record.value)
        for supplier in fold.supplier_ids():
            compared += 1
            expected = fold.state_of(supplier)
            raw = kept.get(supplier.encode())
            wrong += (
                raw is None
                or expected is None
                or owed_apart(decode(StateHeader.body(raw))) != owed_apart(expected)
            )
        wrong += len(kept.keys() - {META_KEY} - {supplier.encode() for supplier in fold.supplier_ids()})
    if wrong:
        raise SystemExit(f"{wrong} of {compared:,} suppliers differ from a sequential fold")
    click.echo(f"all {compared:,} states equal those of a sequential fold")


def owed_apart(state: State) -> list[object]:
    """The fields of a state without what depends on when it was last flushed."""
    apart = {"changes", "due", "dirty", "expiries"}
    return [getattr(state, name) for name in state.__struct_fields__ if name not in apart]


if __name__ == "__main__":
    main()
