"""`success simulate`: a simulated population, into a file or onto the topics."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
import orjson

from cli.admin.publish import Publisher
from cli.errors import UsageError
from replay.simulator.simulate import population
from runtime.clock import SystemClock
from runtime.settings import Settings
from topics.time import DAY_MS, format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FLUSH_EVERY = 2_000  # lines
SHOW_EVERY = 500
LATEST_END = 400_000 * DAY_MS  # the year 3065: dates and zones go no further than anyone needs


@dataclass
class Told:
    """What was written or published so far."""

    events: int = 0
    profiles: int = 0
    suppliers: set[str] = field(default_factory=set)
    last_time: str = ""

    @property
    def lines(self) -> int:
        """Events and profiles."""
        return self.events + self.profiles

    def count(self, line: dict[str, Any]) -> None:
        """Take one line into account."""
        if "profile" in line:
            self.profiles += 1
            self.suppliers.add(line["profile"]["id"])
        else:
            self.events += 1
            self.last_time = line["time"]


@click.command()
@click.option(
    "--suppliers", type=click.IntRange(1), default=150, show_default=True, help="How many suppliers."
)
@click.option("--days", type=click.IntRange(1, 36_500), default=60, show_default=True, help="How many days.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, other people.")
@click.option(
    "--start", metavar="TIME", help="First day or instant (UTC); default: so that it ends last midnight."
)
@click.option("--out", metavar="FILE", help="Write JSON Lines there (- is standard output), publish nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def simulate(suppliers: int, days: int, seed: int, start: str | None, out: str | None, as_json: bool) -> None:
    """Publish a simulated population to the topics, or write it to a file with --out.

    The same numbers, seed and start give the same lines: what wedding suppliers of several kinds do over so
    many days. `success run FILE` takes the file.
    """
    if as_json and out == "-":
        raise UsageError("--json and --out - both want standard output: give --out a file")
    now_ms = SystemClock().now_ms()
    start_ms = now_ms // DAY_MS * DAY_MS - days * DAY_MS if start is None else _parse_start(start)
    end_ms = start_ms + days * DAY_MS
    if end_ms > LATEST_END:
        raise UsageError(f"--start {start}: that is too far ahead")
    if out is None and end_ms > now_ms:
        raise UsageError(
            f"it would end at {format_time(end_ms)}, and events of the future become dead letters: "
            "choose an earlier --start, or write a file with --out"
        )
    told = Told()
    lines = _counted(population(suppliers, days, seed, start_ms), told)
    began = time.monotonic()
    try:
        with _progress(told, start_ms, end_ms) as on_line:
            if out is None:
                asyncio.run(_publish(lines, on_line))
            else:
                _write(lines, out, on_line)
    except KeyboardInterrupt:
        click.echo(_sentence(told, out, time.monotonic() - began), err=True)
        raise
    if as_json:
        counts = {"events": told.events, "profiles": told.profiles, "suppliers": len(told.suppliers)}
        click.echo(json.dumps(counts | {"start": format_time(start_ms), "end": format_time(end_ms)}))
    else:
        click.echo(_sentence(told, out, time.monotonic() - began), err=out == "-")


def _parse_start(text: str) -> int:
    """A day (2026-01-05: its midnight UTC) or an RFC 3339 time, in ms."""
    try:
        return parse_time(text if "T" in text.upper() else f"{text}T00:00:00Z")
    except ValueError as error:
        raise UsageError(f"--start {text}: {error}, nor a day such as 2026-01-05") from error


def _counted(lines: Iterator[dict[str, Any]], told: Told) -> Iterator[bytes]:
    for line in lines:
        told.count(line)
        yield orjson.dumps(line)


async def _publish(lines: Iterator[bytes], on_line: Callable[[], None]) -> None:
    async with Publisher(Settings()) as publisher:
        for number, line in enumerate(lines, start=1):
            await publisher.add(line)
            on_line()
            if number % FLUSH_EVERY == 0:
                await publisher.flush()


def _write(lines: Iterator[bytes], out: str, on_line: Callable[[], None]) -> None:
    with _opened(out) as file:
        for line in lines:
            file.write(line + b"\n")
            on_line()


@contextmanager
def _opened(out: str) -> Iterator[IO[bytes]]:
    if out == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(Path(out).open("wb"))
        except OSError as error:
            raise UsageError(f"can't write {out}: {error.strerror}") from error
        yield file


@contextmanager
def _progress(told: Told, start_ms: int, end_ms: int) -> Iterator[Callable[[], None]]:
    """A progress line on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (BarColumn(), TextColumn("{task.description}"))
    began = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=end_ms - start_ms)

        def on_line() -> None:
            if told.lines % SHOW_EVERY or not told.last_time:
                return
            rate = told.lines / max(time.monotonic() - began, 1e-3)
            day = datetime.fromtimestamp(parse_time(told.last_time) / 1000, UTC).date()
            done = parse_time(told.last_time) - start_ms
            progress.update(task, completed=done, description=f"{day}: {told.lines:,} lines, {rate:,.0f}/s")

        yield on_line


def _sentence(told: Told, out: str | None, seconds: float) -> str:
    rate = told.lines / max(seconds, 1e-3)
    what = f"{told.events:,} events and {told.profiles:,} profiles of {len(told.suppliers):,} suppliers"
    done = "published" if out is None else "wrote"
    where = "" if out is None else f" to {'standard output' if out == '-' else out}"
    return f"{done} {what}{where} in {seconds:.1f} s ({rate:,.0f}/s)"
