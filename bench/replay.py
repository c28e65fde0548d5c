"""Is replaying slower than living? Live scoring, export and replay of one log, one process each: events a second.

    python -m bench.replay --events 500000

The live worker is the real one (Faust, Kafka, changelog). A replay writes its tables; a what-if scores everything
twice and decides every message twice.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click

from agents.provisioning import create_topics
from bench.activity import activity
from bench.compare import SEED, Plan
from bench.log import publish
from bench.process import empty_folder, kafka
from bench.product import Product
from replay import archive
from replay.engine import Job, run
from replay.export import export, plan
from replay.kafka_log import KafkaLog
from replay.source import ArchiveSource, KafkaSource, Source
from replay.variant import BASE, Variant, base, what_if
from runtime.settings import Settings
from scoring.time import DAY
from topics.catalog import ACTIVITY, full_name


@click.command()
@click.option("--events", default=300_000, show_default=True)
@click.option("--suppliers", default=Plan.suppliers, show_default=True)
@click.option("--days", default=Plan.days, show_default=True, help="The days the events are spread over.")
@click.option("--partitions", default=Plan.partitions, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(events: int, suppliers: int, days: int, partitions: int, as_json: bool) -> None:
    """Measure live scoring, export and replay of the same events, a process each."""
    with kafka() as address, empty_folder() as folder:
        settings = Settings(
            kafka=address, topic_prefix=f"bench{uuid.uuid4().hex[:8]}.", partitions=partitions
        )
        asyncio.run(create_topics(settings))
        start = time.time_ns() // 1_000_000 - (days + 1) * DAY
        log = activity(events, suppliers, SEED, start, days * DAY)
        asyncio.run(publish(settings, full_name(settings.topic_prefix, ACTIVITY), log))
        product = Product(settings)
        product.fold_in_order()
        worker = product.run(events)
        seconds = {"live worker": Taken(worker["seconds"], worker["cpu_seconds"])}
        archived, out = folder / "archive", folder / "out"
        plain = (Variant(BASE),)
        twice = (base(None), what_if(None, ["weights.login=20"]))
        from_kafka, from_archive = KafkaSource(settings), ArchiveSource(archived)
        seconds["export"] = timed(lambda: export_all(settings, archived))
        seconds["replay from Kafka"] = timed(lambda: replay(from_kafka, plain, out / "1"))
        seconds["replay from the archive"] = timed(lambda: replay(from_archive, plain, out / "2"))
        seconds["what-if from the archive"] = timed(lambda: replay(from_archive, twice, out / "3"))
    rates = {what: Taken(events / taken.wall, events / taken.cpu) for what, taken in seconds.items()}
    if as_json:
        click.echo(json.dumps({what: rate._asdict() for what, rate in rates.items()}))
        return
    for what, rate in rates.items():
        click.echo(f"{what:<26}{rate.wall:>10,.0f} events/s{rate.cpu:>10,.0f} a CPU second")


class Taken(NamedTuple):
    """Seconds, or events in one of them: by the clock, and of the process's CPU, which a busy machine changes less."""

    wall: float
    cpu: float


def timed(act: Callable[[], object]) -> Taken:
    """What something takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return Taken(time.perf_counter() - wall, time.process_time() - cpu)


def export_all(settings: Settings, folder: Path) -> None:
    """Archive the activity."""
    with archive.locked(folder), KafkaLog(settings) as log:
        tasks, _ = plan(log, folder, [ACTIVITY])
        export(log, folder, tasks, lambda _task, _records, _offsets: None)


def replay(source: Source, variants: tuple[Variant, ...], out: Path) -> None:
    """Replay in one process."""
    run(Job(source, variants, out), processes=1)


if __name__ == "__main__":
    main()
