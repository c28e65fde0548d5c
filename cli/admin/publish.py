"""`success publish`: a JSON Lines file, or standard input, onto the topics."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click
from aiokafka import AIOKafkaProducer

from agents.engine.connection import client_options
from cli.errors import CommandError, UsageError
from runtime.settings import Settings
from topics.catalog import ACTIVITY, MAX_ACTIVITY_BYTES, PROFILES, full_name
from topics.envelope import UUID_PATTERN
from topics.lines import NotLinesError, check_start, read_line
from topics.partitioner import partition_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from aiokafka.producer.message_accumulator import BatchBuilder

CHUNK_BYTES = 1 << 20
BATCH_BYTES = 512 * 1024
IN_FLIGHT = 64  # batches on their way, beyond which reading waits
FRAMING_BYTES = 128  # more than a record adds to its key and value
MAX_RECORD_BYTES = {ACTIVITY: MAX_ACTIVITY_BYTES, PROFILES: 1_000_000}


@dataclass
class Counts:
    """What was published: lines by topic, ids erased, and lines too large for Kafka to take."""

    events: int = 0
    profiles: int = 0
    erased: int = 0
    too_large: int = 0

    @property
    def published(self) -> int:
        """Records that were sent."""
        return self.events + self.profiles + self.erased


class Publisher:
    """Sends lines in the order they come, supplier by supplier: acks=all, idempotent, murmur2 of the key.

    Use as an asynchronous context manager; leaving it normally means that Kafka has everything.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.counts = Counts()
        self._producer: Any = None
        self._partitions: dict[str, int] = {}
        self._batches: dict[tuple[str, int], BatchBuilder] = {}
        self._in_flight: deque[asyncio.Future[Any]] = deque()
        self._keyless = count()

    async def __aenter__(self) -> Self:
        """Connect, and see that the topics are there."""
        producer = AIOKafkaProducer(
            **client_options(self._settings),
            acks="all",
            enable_idempotence=True,
            max_batch_size=BATCH_BYTES,
            max_request_size=2 * MAX_ACTIVITY_BYTES,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer
        metadata = await producer.client.fetch_all_metadata()
        for name in (ACTIVITY, PROFILES):
            topic = full_name(self._settings.topic_prefix, name)
            partitions = metadata.partitions_for_topic(topic)
            if not partitions:
                await producer.stop()
                raise CommandError(f"topic {topic} is not there: run `success migrate` first")
            self._partitions[name] = len(partitions)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Send what is left and disconnect."""
        try:
            await self.flush()
            if kind is None:
                while self._in_flight:
                    await self._in_flight.popleft()
        finally:
            await self._producer.stop()

    async def add(self, line: bytes) -> None:
        """Publish one line as it stands; a line that isn't what it should be becomes a dead letter later."""
        topic, key, value = read_line(line)
        if len(key or b"") + len(value) + FRAMING_BYTES > MAX_RECORD_BYTES[topic]:
            self.counts.too_large += 1
            return
        await self._append(topic, key, value)
        if topic == PROFILES:
            self.counts.profiles += 1
        else:
            self.counts.events += 1

    async def erase(self, supplier_id: str) -> None:
        """Publish the erasure of a supplier: their id with an empty value."""
        await self._append(PROFILES, supplier_id.encode(), None)
        self.counts.erased += 1

    async def flush(self) -> None:
        """Hand all batches over, and wait while too many are on their way."""
        batches, self._batches = self._batches, {}
        for (topic, partition), batch in batches.items():
            await self._send(topic, partition, batch)
        while len(self._in_flight) > IN_FLIGHT:
            await self._in_flight.popleft()

    async def _append(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        partitions = self._partitions[topic]
        partition = next(self._keyless) % partitions if key is None else partition_of(key, partitions)
        place = topic, partition
        batch = self._batches.get(place)
        if batch is not None and batch.append(key=key, value=value, timestamp=None) is None:
            await self._send(topic, partition, batch)
            batch = None
        if batch is None:
            batch = self._batches[place] = self._producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)  # the first record always fits

    async def _send(self, topic: str, partition: int, batch: BatchBuilder) -> None:
        batch.close()
        full = full_name(self._settings.topic_prefix, topic)
        self._in_flight.append(await self._producer.send_batch(batch, full, partition=partition))


async def publish_lines(
    publisher: Publisher, descriptor: int, on_bytes: Callable[[int], None] = lambda _count: None
) -> None:
    """Publish every line that an open file, pipe or terminal gives; blank ones are skipped.

    Raises `NotLinesError` where the first bytes are not such lines.
    """
    begun = False
    async for lines in _lines(descriptor):
        if lines and not begun:
            check_start(lines[0], "the input")
            begun = True
        for line in lines:
            if line.strip():
                await publisher.add(line)
        await publisher.flush()
        on_bytes(sum(map(len, lines)) + len(lines))


async def _lines(descriptor: int) -> AsyncIterator[list[bytes]]:
    """Whole lines, as many at a time as are there."""
    rest = b""
    while chunk := await _read(descriptor):
        *lines, rest = (rest + chunk).split(b"\n")
        yield lines
    if rest:
        yield [rest]


async def _read(descriptor: int) -> bytes:
    """What is there to read, at most CHUNK_BYTES; empty at the end."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:  # a regular file: reading it never waits, and epoll does not take it
        return os.read(descriptor, CHUNK_BYTES)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, CHUNK_BYTES)


@click.command()
@click.argument("file", required=False)
@click.option("--erase", "erase", multiple=True, metavar="ID", help="Erase this supplier (may be repeated).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def publish(file: str | None, erase: tuple[str, ...], as_json: bool) -> None:
    """Publish FILE (JSON Lines; - reads standard input) to the topics.

    A line is a CloudEvent, or {"profile": {...}}. Lines that are neither are published as they are, and come
    out as dead letters that say why.
    """
    if file is None and not erase:
        raise UsageError("give a FILE, - for standard input, or --erase ID")
    for supplier_id in erase:
        if not re.fullmatch(UUID_PATTERN, supplier_id):
            raise UsageError(f"--erase {supplier_id}: not a UUID of 36 characters in lowercase")
    publisher = Publisher(Settings())
    started = time.monotonic()
    try:
        asyncio.run(_publish(publisher, file, erase))
    except NotLinesError as error:
        raise UsageError(str(error)) from error
    except KeyboardInterrupt:
        click.echo(_sentence(publisher.counts, time.monotonic() - started), err=True)
        raise
    seconds = time.monotonic() - started
    counts = publisher.counts
    if as_json:
        rate = round(counts.published / seconds) if seconds else 0
        click.echo(json.dumps(asdict(counts) | {"seconds": round(seconds, 3), "rate": rate}))
    else:
        click.echo(_sentence(counts, seconds))
    if counts.too_large:
        raise CommandError(
            f"{counts.too_large:,} lines are larger than Kafka takes; the others are published"
        )


async def _publish(publisher: Publisher, file: str | None, erase: tuple[str, ...]) -> None:
    with _opened(file) as descriptor:
        async with publisher:
            for supplier_id in erase:
                await publisher.erase(supplier_id)
            if descriptor is not None:
                with _progress(publisher, descriptor) as on_bytes:
                    await publish_lines(publisher, descriptor, on_bytes)


@contextmanager
def _opened(file: str | None) -> Iterator[int | None]:
    if file is None or file == "-":
        yield sys.stdin.fileno() if file else None
        return
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(Path(file).open("rb", buffering=0))
        except OSError as error:
            raise UsageError(f"can't read {file}: {error.strerror}") from error
        yield opened.fileno()


@contextmanager
def _progress(publisher: Publisher, descriptor: int) -> Iterator[Callable[[int], None]]:
    """A progress line on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    size = os.fstat(descriptor).st_size or None
    started = time.monotonic()
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=size)

        def on_bytes(count: int) -> None:
            published = publisher.counts.published
            rate = published / max(time.monotonic() - started, 1e-3)
            progress.update(task, advance=count, description=f"{published:,} records, {rate:,.0f}/s")

        yield on_bytes


def _sentence(counts: Counts, seconds: float) -> str:
    parts = [f"{counts.events:,} events", f"{counts.profiles:,} profiles"]
    if counts.erased:
        parts.append(f"{counts.erased:,} erasures")
    rate = counts.published / seconds if seconds else 0
    return f"published {', '.join(parts)} in {seconds:.1f} s ({rate:,.0f}/s)"
