"""Is replaying slower than living? Live scoring, export and replay of one log: events a second, and how they compare.

    python -m bench.replay --events 1000000

The live worker is the real one (Faust, Kafka, changelog), one process, from its start on. A replay writes its tables;
a what-if decides every message twice and, with other weights, scores everything twice. Each is measured in one
process, and as the command `success replay`, which takes a process a core and writes no tables unless told where.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click

from agents.cluster.provisioning import create_topics
from bench.logs.events import activity
from bench.logs.kinds import DAYS, SEED
from bench.logs.log import publish
from bench.process import empty_folder, kafka, measured
from bench.product import Product
from replay.again.engine import Job, run
from replay.again.variant import BASE, Variant, base, what_if
from replay.log import archive
from replay.log.export import export, plan
from replay.log.kafka_log import KafkaLog
from replay.log.offsets import WHOLE, Offsets
from replay.log.source import ArchiveSource, KafkaSource, Source
from runtime.settings import Settings
from scoring.time import DAY
from topics.catalog import ACTIVITY, full_name

LIVE = "live worker"
WARM_UP = Offsets(last=500)
"""What is replayed beforehand: modules are loaded then, as they are in a live worker that has started."""
PLAIN = (Variant(BASE),)
OTHER_WEIGHTS, OTHER_POLICY = "weights.login=20", "caps.total=2"


class Taken(NamedTuple):
    """Seconds by the clock, and of CPU in all processes, which a busy machine changes less."""

    wall: float
    cpu: float


class Rate(NamedTuple):
    """Events a second of both kinds, and how many times those of the live worker that is."""

    wall: float
    cpu: float
    times_live: float
    times_live_cpu: float


@click.command()
@click.option("--events", default=400_000, show_default=True)
@click.option("--suppliers", default=20_000, show_default=True)
@click.option("--days", default=DAYS, show_default=True, help="The days the events are spread over.")
@click.option("--partitions", default=8, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(events: int, suppliers: int, days: int, partitions: int, as_json: bool) -> None:
    """Measure live scoring, export and replay of the same events."""
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
        taken = {LIVE: Taken(worker["seconds"], worker["cpu_seconds"])}
        del product  # its states would slow down the collector
        asyncio.run(create_topics(settings))  # the worker's were taken away with what it left in them
        taken |= measure_replays(settings, folder)
    rates = {what: rate_of(events, each, taken[LIVE]) for what, each in taken.items()}
    if as_json:
        click.echo(json.dumps({what: rate._asdict() for what, rate in rates.items()}))
        return
    click.echo(
        f"{events:,} events of {suppliers:,} suppliers{'events/s':>22}{'x live':>8}{'a CPU s':>10}{'x live':>8}"
    )
    for what, rate in rates.items():
        click.echo(
            f"{what:<45}{rate.wall:>10,.0f}{rate.times_live:>8.2f}{rate.cpu:>10,.0f}{rate.times_live_cpu:>8.2f}"
        )


def measure_replays(settings: Settings, folder: Path) -> dict[str, Taken]:
    """What export and replays take."""
    archived = folder / "archive"
    taken = {"export": timed(lambda: export_all(settings, archived))}
    twice, policies = ((base(None), what_if(None, [other])) for other in (OTHER_WEIGHTS, OTHER_POLICY))
    from_kafka, from_archive = KafkaSource(settings), ArchiveSource(archived)
    replay(from_kafka, twice, folder / "warm", WARM_UP)
    for what, source, variants in (
        ("replay from the archive", from_archive, PLAIN),
        ("replay from Kafka", from_kafka, PLAIN),
        ("what-if, other weights", from_archive, twice),
        ("what-if, other policy", from_archive, policies),
    ):
        taken[f"{what}, one process"] = timed(partial(replay, source, variants, folder / what))
    for what, options in (
        ("replay from the archive", ("--archive", str(archived))),
        ("replay from Kafka", ()),
        ("what-if, other weights", ("--archive", str(archived), "--set", OTHER_WEIGHTS)),
    ):
        taken[f"{what}, `success replay`"] = command(settings, *options)
    return taken


def command(settings: Settings, *options: str) -> Taken:
    """What `success replay` says it takes, with as many processes as it chooses; and the CPU of the whole command."""
    words = [sys.executable, "-c", "from cli.main import main; main()", "replay", *options, "--json"]
    cpu = cpu_seconds()
    report = measured(words, settings.as_env())
    return Taken(report["seconds"], cpu_seconds() - cpu)


def rate_of(events: int, taken: Taken, live: Taken) -> Rate:
    """What was taken as rates."""
    return Rate(events / taken.wall, events / taken.cpu, live.wall / taken.wall, live.cpu / taken.cpu)


def timed(act: Callable[[], object]) -> Taken:
    """What something takes, with the processes it starts and sees end."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    act()
    return Taken(time.perf_counter() - wall, cpu_seconds() - cpu)


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def export_all(settings: Settings, folder: Path) -> None:
    """Archive the activity."""
    with archive.locked(folder), KafkaLog(settings) as log:
        tasks, _ = plan(log, folder, [ACTIVITY])
        export(log, folder, tasks, lambda _task, _records, _offsets: None)


def replay(source: Source, variants: tuple[Variant, ...], out: Path, offsets: Offsets = WHOLE) -> None:
    """Replay in this process."""
    run(Job(source, variants, out, offsets=offsets), processes=1)


if __name__ == "__main__":
    main()
