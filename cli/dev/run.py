"""`success run FILE`: the main job on a recorded file, through the live worker and the live delivery."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from agents.cluster.provisioning import create_topics
from agents.delivery.round import Delivery
from agents.engine.failure import WorkerFailedError
from agents.health.handler import POLICY as SCORING_POLICY
from agents.letters.render import Letters
from agents.worker import InProcessWorker
from cli.dev.live_worker import LiveWorker
from cli.dev.playback import Playback
from cli.dev.recording import Recording, read_recording
from cli.dev.run_summary import COUNTED_TOPICS, Summary, print_summary, summarise
from cli.dev.topic_ends import topic_ends
from cli.errors import CommandError, UsageError
from cli.interrupt import end_as_by_ctrl_c
from cli.policy import load_configuration
from cli.progress import StepProgress
from embedded.registry import Addresses, live_stacks
from embedded.stack import Stack
from runtime.clock import ManualClock
from runtime.configuration import Configuration, vocabulary_of
from runtime.settings import Settings
from store.database import Role, open_pool
from store.migrate import migrate
from topics.lines import NotLinesError, checked
from topics.time import parse_time


@dataclass(frozen=True)
class Target:
    """The stack that a run uses: its settings, its addresses for people, and whether this run started it."""

    settings: Settings
    addresses: dict[str, str]
    data_dir: Path | None = None
    """The folder of the stack that this run started; None for one that it was told of."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--until", metavar="TIME", help="Go on in silence up to TIME (RFC 3339); later events are not read."
)
@click.option("--keep", is_flag=True, help="Leave the stack up.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Where the stack lives.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run(file: Path, until: str | None, keep: bool, data: Path | None, as_json: bool) -> None:
    """Play FILE (JSON Lines of CloudEvents and profiles) on a clock that follows it.

    Starts a throw-away stack, unless SUCCESS_KAFKA and SUCCESS_DATABASE_URL name one. Health, signals and
    messages come out as they would have live: with their delays, quiet hours and weekly caps.
    """
    end_as_by_ctrl_c()
    until_ms = _until(until)
    configuration = load_configuration(Settings())
    recording = _read(file, until_ms, configuration)
    with _target(keep, data) as target:
        try:
            own = target.data_dir is not None
            summary = asyncio.run(_run(target.settings, configuration, recording, until_ms, alone=own))
        except WorkerFailedError as error:
            raise CommandError(f"the worker stopped: {error}") from error
        if as_json:
            click.echo(json.dumps({"addresses": target.addresses, **summary.counts()}))
        else:
            print_summary(
                summary, target.addresses if keep else {"mail_dir": target.addresses.get("mail_dir", "")}
            )
            if keep and target.data_dir is not None:
                click.echo(f"stop it with: success down --data {shlex.quote(str(target.data_dir.resolve()))}")


def _until(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError as error:
        raise UsageError(f"--until {text}: {error}") from error


def _read(file: Path, until: int | None, configuration: Configuration) -> Recording:
    try:
        with file.open("rb") as lines:
            return read_recording(checked(lines, str(file)), until, vocabulary_of(configuration.rules))
    except NotLinesError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"can't read {file}: {error.strerror}") from error


@contextmanager
def _target(keep: bool, data: Path | None) -> Iterator[Target]:
    """The stack that the environment names, else an embedded one, stopped afterwards unless it is kept."""
    if data is None and _is_told_of_a_stack():
        told = Settings()
        told.secret("secret_key")  # complain now, not when the first links are signed
        yield Target(told, _addresses_of(told))
        return
    # a folder that is ours but not the stack's own: what was sent stays to be read when the rest is gone
    folder = data or Path(tempfile.mkdtemp(prefix="success-run-"))
    stack = Stack(folder, ephemeral=True, notify=lambda line: click.echo(line, err=True))
    addresses = stack.start()
    try:
        yield Target(_settings_for(addresses, shared=keep), addresses.as_json(), folder)
    except BaseException:
        stack.stop()
        raise
    if not keep:
        stack.stop()


def _is_told_of_a_stack() -> bool:
    """Whether the environment names a stack; half of one is an error, lest a run goes elsewhere than meant."""
    missing = [name for name in ("SUCCESS_KAFKA", "SUCCESS_DATABASE_URL") if not os.environ.get(name)]
    if len(missing) == 1:
        raise UsageError(f"set {missing[0]} too, or neither: a run needs Kafka and Postgres of one stack")
    return not missing


def _settings_for(addresses: Addresses, *, shared: bool) -> Settings:
    """Of a stack that this run started. Unless others come to it later it has one partition: each costs time a step."""
    settings = Settings(kafka=addresses.kafka, database_url=addresses.database_url, smtp_url=addresses.smtp)
    if shared or "partitions" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"partitions": 1})


def _addresses_of(settings: Settings) -> dict[str, str]:
    for stack in live_stacks():
        if stack.kafka == settings.kafka:
            return stack.as_json() | {"database_url": settings.database_url, "smtp": settings.smtp_url}
    return {"kafka": settings.kafka, "database_url": settings.database_url, "smtp": settings.smtp_url}


async def _run(
    settings: Settings, configuration: Configuration, recording: Recording, until: int | None, *, alone: bool
) -> Summary:
    """`alone`: nobody else uses this stack yet."""
    policy, letters = configuration.policy, Letters.of(configuration)
    await asyncio.to_thread(migrate, settings.database_url)
    await create_topics(settings)
    before = await topic_ends(settings, COUNTED_TOPICS)
    ingest_clock, delivery_clock = ManualClock(), ManualClock()
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(_pool(settings))
        # One sends: few rows are due at one moment, and each of several would look for more.
        delivery = Delivery(settings, pool, delivery_clock, policy, 1, letters=letters, alone=alone)
        stack.push_async_callback(delivery.aclose)
        worker = InProcessWorker(
            settings,
            ingest_clock,
            append_time=lambda _record: ingest_clock.now_ms(),
            policy=policy,
            scoring_policy=replace(SCORING_POLICY, rest=0.0, owes=False),
            alone=alone,
        )
        live = await stack.enter_async_context(LiveWorker(settings, worker))
        progress = stack.enter_context(StepProgress(len(recording.entries)))
        playback = Playback(live, delivery, ingest_clock, delivery_clock, progress)
        await playback.play(recording, until)
        await delivery.publish_outbox(live.send)
        after = await topic_ends(settings, COUNTED_TOPICS)
        records = {topic: after[topic] - before[topic] for topic in COUNTED_TOPICS}
        return await summarise(pool, recording.events, records, delivery_clock.now_ms())


@asynccontextmanager
async def _pool(settings: Settings) -> AsyncIterator[AsyncConnectionPool[AsyncConnection[Any]]]:
    pool = await open_pool(settings.database_url, Role.WRITER)
    try:
        yield pool
    finally:
        await pool.close()
