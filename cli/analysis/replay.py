"""`success replay`: the log once more through the scoring code, to look back, to explain, and to try things out."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from cli.analysis import replay_print
from cli.errors import CommandError, UsageError
from cli.progress import CountProgress
from replay.again import tables
from replay.again.engine import Job, Outcome, run
from replay.again.explain import explain
from replay.again.variant import BASE, Variant, base, what_if
from replay.log.offsets import FROM, TO, WHOLE, Offsets
from replay.log.played import looks_played
from replay.log.source import ArchiveSource, FileSource, KafkaSource, Source, names
from replay.what_if.compare import added_and_removed, compare
from replay.what_if.sentence import sentence
from runtime.configuration import Configuration, load
from runtime.settings import Settings
from scoring.decisions.changing import SettingError
from scoring.health.rules import Rules
from scoring.time import HOUR
from topics.envelope import UUID_PATTERN
from topics.time import format_time, parse_time

DATABASE = "replay.duckdb"
REPORT = "report.html"
EXPLANATION = "explanation.json"


@dataclass(frozen=True)
class Options:
    """The command line, checked; times in ms."""

    source: Source
    since: int | None
    until: int | None
    out: Path | None
    supplier_id: str | None
    processes: int | None
    engine: str
    played: bool
    as_of: bool
    as_json: bool
    offsets: Offsets = WHOLE

    @property
    def reads_rows(self) -> bool:
        """Whether a plain replay needs its tables for more than how many rows they have; Spark knows nothing else."""
        return self.out is not None or (self.as_of and self.as_json) or self.engine == "spark"

    def job(self, variants: tuple[Variant, ...], out: Path | None, *, since: int) -> Job:
        """What the engine is to do."""
        return Job(
            self.source,
            variants,
            out,
            since=since,
            until=self.until,
            supplier_id=self.supplier_id,
            played=self.played,
            step_ms=HOUR if self.played else 0,
            offsets=self.offsets,
        )


@click.command(name="replay")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--from", "since", metavar="TIME", help="Report from TIME on (RFC 3339); all is read anyway.")
@click.option("--to", "until", metavar="TIME", help="Report up to TIME. Default: the last event.")
@click.option(
    "--from-offset", "first", multiple=True, metavar="[PARTITION:]OFFSET", help="Report from this offset on."
)
@click.option(
    "--to-offset", "last", multiple=True, metavar="[PARTITION:]OFFSET", help="The log ends with this offset."
)
@click.option("--as-of", "as_of", metavar="TIME", help="The state at TIME.")
@click.option("--supplier", "supplier_id", metavar="ID", help="Explain every change of one score.")
@click.option("--config", type=click.Path(path_type=Path, file_okay=False), help="What if this folder…")
@click.option("--policy", type=click.Path(path_type=Path, dir_okay=False), help="… or this policy…")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="… or this were otherwise?")
@click.option("--archive", type=click.Path(path_type=Path, file_okay=False), help="Read what `export` wrote.")
@click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), help="Archive to start a cut log from."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write Parquet, DuckDB, HTML here (--supplier: JSON).",
)
@click.option("--processes", type=click.IntRange(min=1), help="Default: as many as there are cores.")
@click.option("--engine", type=click.Choice(["local", "spark"]), default="local", show_default=True)
@click.option("--played", is_flag=True, help="`success run` filled the log: take its clock and hourly steps.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def replay(
    file: Path | None,
    since: str | None,
    until: str | None,
    first: tuple[str, ...],
    last: tuple[str, ...],
    as_of: str | None,
    supplier_id: str | None,
    config: Path | None,
    policy: Path | None,
    settings: tuple[str, ...],
    archive: Path | None,
    state: Path | None,
    out: Path | None,
    processes: int | None,
    engine: str,
    played: bool,
    as_json: bool,
) -> None:
    """Run the log again through the same scoring code; nothing can be sent from here.

    Reads the topics, an archive, or FILE: a recorded file as `success run` plays it, without a stack.

    Gives the signals that ran live, id for id. With --config, --policy or --set it compares what would have been with
    what was: --set weights.login=20, --set levels.healthy=75, --set caps.total=2, --set trigger.NAME=off.

    Offsets are given for all partitions at once or a partition each (repeat the option; others are left out).
    """
    if as_of is not None and until is not None:
        raise UsageError("--as-of and --to both say up to when: give one of them")
    if since is not None and first:
        raise UsageError("--from and --from-offset both say from where: give one of them")
    if first and supplier_id is None and (config is not None or policy is not None or settings):
        raise UsageError("--from-offset: a what-if compares spans of time, not offsets: give --from TIME")
    if state is not None and not state.is_dir():
        raise UsageError(
            f"--state {state}: there is no such folder; name what `success export --state` wrote"
        )
    if file is not None and (archive is not None or state is not None):
        raise UsageError("FILE, --archive and --state are different places to read from: give one of them")
    source = _source(file, archive, state)
    options = Options(
        source=source,
        since=_time("--from", since),
        until=_time("--as-of", as_of) if as_of is not None else _time("--to", until),
        out=out,
        supplier_id=_supplier(supplier_id),
        processes=processes,
        engine=engine,
        played=played or file is not None,
        as_of=as_of is not None,
        as_json=as_json,
        offsets=_offsets(first, last),
    )
    if options.since is not None and options.until is not None and options.since > options.until:
        raise UsageError("--from is later than --to")
    if not options.played and looks_played(source):
        options = replace(options, played=True)
        click.echo("events lie ahead of their append times: `success run` played them (--played)", err=True)
    settings_ = Settings()
    in_force = load(settings_.config_dir, settings_.policy)
    begins_with = _newest(source, in_force) if policy or settings else in_force
    variant = _variant(begins_with, config, policy, settings)
    if options.supplier_id is not None:
        _explain(options, options.supplier_id, variant or base(in_force))
    elif variant is not None:
        _what_if(options, base(in_force), variant)
    else:
        _replay(options, in_force.rules)


def _source(file: Path | None, archive: Path | None, state: Path | None) -> Source:
    if file is not None:
        return FileSource(file)
    return ArchiveSource(archive) if archive is not None else KafkaSource(Settings(), state)


def _time(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_time(text if "T" in text.upper() else f"{text}T00:00:00Z")
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}, nor a day such as 2026-01-05") from error


def _offsets(first: Sequence[str], last: Sequence[str]) -> Offsets:
    """What is chosen by offsets; of all partitions with both options, or of some."""
    offsets = Offsets(_chosen(FROM, first), _chosen(TO, last))
    if wrong := offsets.crossed():
        raise UsageError(wrong)
    if isinstance(offsets.first, int) != isinstance(offsets.last, int) and first and last:
        raise UsageError(
            f"{FROM} and {TO}: give both as one OFFSET for all partitions, or both as PARTITION:OFFSET"
        )
    return offsets


def _chosen(option: str, texts: Sequence[str]) -> int | dict[int, int] | None:
    if not texts:
        return None
    each: dict[int, int] = {}
    for text in texts:
        found = re.fullmatch(r"(?:([0-9]{1,9}):)?([0-9]{1,18})", text)
        if found is None:
            raise UsageError(
                f"{option} {text}: write PARTITION:OFFSET, such as 3:1200, or one OFFSET for all"
            )
        if found[1] is None:
            if len(texts) > 1:
                raise UsageError(f"{option} {text}: one OFFSET is for all partitions: give it alone")
            return int(found[2])
        if int(found[1]) in each:
            raise UsageError(f"{option} {text}: partition {found[1]} is given twice")
        each[int(found[1])] = int(found[2])
    return each


def _supplier(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(UUID_PATTERN, text.lower()):
        raise UsageError(f"--supplier {text}: not a supplier's id (a UUID)")
    return None if text is None else text.lower()


def _variant(
    in_force: Configuration, folder: Path | None, policy: Path | None, settings: Sequence[str]
) -> Variant | None:
    if folder is None and policy is None and not settings:
        return None
    try:
        tried = in_force if folder is None else load(folder)
        variant = what_if(tried, settings, policy)
    except SettingError as error:
        raise UsageError(str(error)) from error
    named = [f"{name}={value}" for name, value in (("config", folder), ("policy", policy)) if value]
    return replace(variant, changes=(*named, *variant.changes))


def _newest(source: Source, own: Configuration) -> Configuration:
    """What a draft begins with: the version that went into force last, as far as the log tells of one."""
    with source.opened() as log:
        rules = log.rules()
    newest = rules.newest()
    return own if newest is None else replace(own, policy=rules.policy(newest.number))


def _explain(options: Options, supplier_id: str, variant: Variant) -> None:
    told = explain(
        options.source,
        supplier_id,
        options.until,
        rules=variant.rules,
        follows=variant.follows,
        played=options.played,
        offsets=options.offsets,
    )
    if told.state is None:
        raise CommandError(f"nothing is known of {supplier_id} up to {format_time(told.until)}")
    said = json.dumps(replay_print.explanation_json(told, options.since))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / EXPLANATION).write_text(said + "\n", "utf-8")
    if options.as_json:
        click.echo(said)
    else:
        replay_print.print_explanation(told, options.since, with_state=options.as_of)


def _replay(options: Options, rules: Rules) -> None:
    began = time.monotonic()
    variants, since = (Variant(BASE, rules=rules, follows=True),), options.since or 0
    state: list[dict[str, Any]] | None = None
    if options.reads_rows:
        with _folder(options.out) as folder:
            outcome = _run(options.job(variants, folder, since=since), options)
            seconds = time.monotonic() - began
            connection = tables.connect(folder, _database(folder, options.out))
            counts = replay_print.counted(connection)
            if options.as_of and options.as_json:
                state = replay_print.state_json(connection)
    else:
        outcome = _run(options.job(variants, None, since=since), options)
        seconds, counts = time.monotonic() - began, outcome.counts
    report = replay_print.replay_json(counts, outcome, options.source.name, options.since, seconds)
    if options.as_of:
        report["state"] = state
    if options.out is not None:
        report["out"] = str(options.out)
    if options.as_json:
        click.echo(json.dumps(report))
    else:
        replay_print.print_replay(report)


def _what_if(options: Options, before: Variant, variant: Variant) -> None:
    began = time.monotonic()
    with _folder(options.out) as folder:
        # Whole histories, whatever the report's window: a spell that began before it still warns in it.
        outcome = _run(options.job((before, variant), folder, since=0), options)
        connection = tables.connect(folder, _database(folder, options.out))
        comparison = compare(connection, options.since, outcome.until, variant.changes)
        report = (
            {"told": sentence(comparison)}
            | comparison.as_json()
            | replay_print.outcome_json(outcome, options.source.name, time.monotonic() - began)
        )
        if variant.policy is not None:
            report["forecast"] = comparison.forecast(variant.policy).as_json()
        if options.out is not None:
            from replay.what_if.report_page import LISTED, write_page  # noqa: PLC0415 - only who wants a page

            differences = added_and_removed(connection, comparison)
            with options.source.opened() as log:
                known = names(log, {row["supplier_id"] for row in differences[:LISTED]})
            write_page(options.out / REPORT, comparison, differences, known)
            report |= {"out": str(options.out), "report": str(options.out / REPORT)}
    if options.as_json:
        click.echo(json.dumps(report))
    else:
        replay_print.print_comparison(comparison, report)


def _run(job: Job, options: Options) -> Outcome:
    if options.engine == "spark":
        from replay.again.spark import run_on_spark  # noqa: PLC0415 - an extra, and a JVM

        return run_on_spark(job)
    with job.source.opened() as source:
        size = sum(span.end - span.begin for span in job.spans(source).values())
    with CountProgress(size, "records") as progress:
        return run(job, options.processes, progress.add)


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """Where the tables go: `out`, of which an earlier replay's are cleared away, else a folder that is gone after."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="success-replay-") as folder:
            yield Path(folder)
        return
    out.mkdir(parents=True, exist_ok=True)
    for variant in (BASE, "what_if"):
        shutil.rmtree(out / variant, ignore_errors=True)
    yield out


def _database(folder: Path, out: Path | None) -> Path | None:
    if out is None:
        return None
    database = folder / DATABASE
    database.unlink(missing_ok=True)
    return database
