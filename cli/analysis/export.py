"""`success export`: the topics, and the state of scoring, into an archive of Parquet files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli.errors import UsageError
from cli.progress import CountProgress
from replay.log import archive
from replay.log import starting_state as state_snapshot
from replay.log.export import PSEUDONYMOUS, Lost, Task, plan
from replay.log.export import export as export_topics
from replay.log.kafka_log import KafkaLog
from runtime.clock import SystemClock
from runtime.settings import Settings
from topics.catalog import PROFILES, TOPICS


@dataclass
class Done:
    """What an export has made durable."""

    records: dict[str, int]
    files: int = 0
    lost: Sequence[Lost] = ()
    state: str | None = None
    state_suppliers: int = 0
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        total = sum(self.records.values())
        return {
            "records": self.records,
            "total": total,
            "files": self.files,
            "lost": [
                {"topic": lost.topic, "partition": lost.partition, "from": lost.start, "to": lost.end}
                for lost in self.lost
            ],
            "state": self.state,
            "state_suppliers": self.state_suppliers,
            "seconds": round(self.seconds, 3),
            "rate": round(total / self.seconds) if self.seconds else 0,
        }


@click.command()
@click.option(
    "--out",
    "--archive",
    "out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("archive"),
    show_default=True,
    help="The archive's folder.",
)
@click.option("--topic", "topics", multiple=True, metavar="NAME", help="Only this topic (may be repeated).")
@click.option("--with-profiles", is_flag=True, help="Personal data too: supplier.profiles.")
@click.option("--state", is_flag=True, help="Also the state of scoring, for replays when the log is cut.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(out: Path, topics: tuple[str, ...], with_profiles: bool, state: bool, as_json: bool) -> None:
    """Archive the topics as Parquet, by topic and day; continues where the archive ends.

    Each record comes into the archive once, whatever interrupts an export. DuckDB, pandas and Spark read it.
    """
    wanted = _wanted(topics, with_profiles)
    began = time.monotonic()
    with archive.locked(out), KafkaLog(Settings()) as log:
        done = _export(log, out, wanted)
        if state:
            snapshot, suppliers = state_snapshot.take(log, out, SystemClock().now_ms())
            done.state, done.state_suppliers = snapshot.taken, sum(suppliers.values())
    done.seconds = time.monotonic() - began
    if as_json:
        click.echo(json.dumps(done.as_json() | {"archive": str(out)}))
    else:
        _say(done, out)


def _wanted(topics: Sequence[str], with_profiles: bool) -> list[str]:
    unknown = [name for name in topics if name not in TOPICS]
    if unknown:
        raise UsageError(f"--topic {unknown[0]}: there are {', '.join(TOPICS)}")
    wanted = list(topics or PSEUDONYMOUS)
    if with_profiles and PROFILES not in wanted:
        wanted.append(PROFILES)
    return wanted


def _export(log: KafkaLog, out: Path, topics: Sequence[str]) -> Done:
    tasks, lost = plan(log, out, topics)
    done = Done(dict.fromkeys(topics, 0), lost=lost)
    with _counted(tasks, done) as on_records:
        export_topics(log, out, tasks, on_records)
    return done


@contextmanager
def _counted(tasks: Sequence[Task], done: Done) -> Iterator[Callable[[Task, int, int], None]]:
    total = sum(task.end - task.start for task in tasks)
    with CountProgress(total, "records") as progress:

        def on_records(task: Task, records: int, offsets: int) -> None:
            done.records[task.topic] += records
            done.files += 1
            progress.add(offsets, task.topic)

        yield on_records


def _say(done: Done, out: Path) -> None:
    told = done.as_json()
    for topic, count in done.records.items():
        click.echo(f"{topic:<22}{count:>12,}")
    click.echo(f"{told['total']:,} records in {done.seconds:.1f} s ({told['rate']:,}/s) into {out}")
    for lost in done.lost:
        click.echo(
            f"warning: {lost.topic} partition {lost.partition} had lost its offsets {lost.start:,} to "
            f"{lost.end:,} before they were exported: export more often than retention.ms",
            err=True,
        )
    if done.state:
        click.echo(f"state of {done.state_suppliers:,} suppliers, taken {done.state}")
