"""`success dead-letters`: look at refused records, and publish them again, mended or as they were."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from heapq import nlargest
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agents.acts.dead_letter_log import NEWEST, LettersAwayError, Wanted, matching, one
from agents.acts.dead_letters import (
    Letter,
    judge_for_operator,
    publish_again,
    published,
    supplier_of,
)
from cli.admin.shared import (
    actor,
    by_option,
    json_option,
    now_ms,
    publish_outbox,
    span_options,
    writing,
)
from cli.errors import CommandError, UsageError
from cli.in_force import in_force
from runtime.configuration import vocabulary_of
from runtime.settings import Settings
from topics.activity_types import Vocabulary
from topics.catalog import DEAD_LETTERS, TOPICS
from topics.outcome import REASON_CODES, Refusal
from topics.time import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from store.audit import Actor

Answer = TypeVar("Answer")
CHUNK = 500
"""Letters published in one transaction."""
MOST_SAID = 20
"""Letters that are still refused, of which a summary says why."""
_NAME = re.compile(r"([0-9]{1,9}):([0-9]{1,18})").fullmatch


@dataclass
class Outcome:
    """What became of letters; `refused` says of the first few, by name, why they would be refused again."""

    vocabulary: Vocabulary
    """By which letters are judged: that of the rules in force."""
    published: int = 0
    would_publish: int = 0
    published_before: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    refused_by_reason: dict[str, int] = field(default_factory=dict)

    def as_line(self) -> dict[str, Any]:
        """For --json."""
        return {name: value for name, value in vars(self).items() if name != "vocabulary"}

    def refuse(self, letter: Letter, refusal: Refusal) -> None:
        """Count a letter that would be refused again."""
        self.refused_by_reason[refusal.code] = self.refused_by_reason.get(refusal.code, 0) + 1
        if len(self.refused) < MOST_SAID:
            self.refused[letter.name] = refusal.reason


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at records that were refused, and publish them again."""


def _choice(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose letters."""
    reason = click.option("--reason", metavar="CODE", help=f"Of this reason: {', '.join(REASON_CODES)}.")
    topic = click.option(
        "--topic",
        type=click.Choice([name for name in TOPICS if name != DEAD_LETTERS]),
        help="That came from this topic (its name without prefix).",
    )
    return reason(topic(span_options("Refused")(command)))


@dead_letters.command("list")
@_choice
@click.option(
    "--most",
    type=click.IntRange(min=1),
    default=NEWEST,
    show_default=True,
    help="List so many of the newest.",
)
@json_option
def list_letters(
    reason: str | None, topic: str | None, since: int | None, until: int | None, most: int, as_json: bool
) -> None:
    """List dead letters, the newest first, with why each was refused; all are counted by reason."""
    newest, counts, noted = _asked(_list(Settings(), Wanted(reason, topic, since, until), most))
    if as_json:
        lines = [_as_line(letter, noted.get(letter.name)) for letter in newest]
        click.echo(json.dumps({"total": sum(counts.values()), "reasons": counts, "dead_letters": lines}))
        return
    for letter in newest:
        again = noted.get(letter.name)
        done = f"  (published again by {again['published_by']})" if again else ""
        click.echo(
            f"{letter.name:<10} {_when(letter)}  {letter.topic or letter.origin}  {letter.error}{done}"
        )
    counted = ", ".join(f"{count:,} {code}" for code, count in counts.items())
    more = f"; the newest {len(newest)} are listed" if sum(counts.values()) > len(newest) else ""
    click.echo(f"{sum(counts.values()):,} dead letters{': ' if counted else ''}{counted}{more}")


@dead_letters.command()
@click.argument("name", metavar="ID")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the dead letter ID (PARTITION:OFFSET, as `list` prints it) with its key, headers and value."""
    letter, noted = _asked(_show(Settings(), name))
    if as_json:
        line = _as_line(letter, noted) | {
            "headers": {header: value.decode(errors="replace") for header, value in letter.headers.items()},
            "value": None if letter.value is None else letter.value.decode(errors="replace"),
        }
        click.echo(json.dumps(line))
        return
    click.echo(f"refused    {_when(letter)}  {letter.error}")
    click.echo(f"came from  {letter.origin}  key {letter.key or 'none'}")
    for header, value in letter.headers.items():
        click.echo(f"header     {header}: {value.decode(errors='replace')}")
    if noted:
        click.echo(f"published  again {noted['at']:%Y-%m-%d %H:%M:%S} by {noted['published_by']}")
    click.echo(letter.editable() if letter.value is not None else "(no value is kept)")


@dead_letters.command()
@click.argument("names", nargs=-1, metavar="[ID]...")
@_choice
@click.option(
    "--file", "file", type=click.File("rb"), help="The mended value of the one ID; - reads standard input."
)
@click.option(
    "--dry-run", is_flag=True, help="Say what would be published and what refused again; publish nothing."
)
@click.option("--yes", is_flag=True, help="Don't ask.")
@by_option
@json_option
def publish(
    names: tuple[str, ...],
    reason: str | None,
    topic: str | None,
    since: int | None,
    until: int | None,
    file: Any,
    dry_run: bool,
    yes: bool,
    by: str | None,
    as_json: bool,
) -> None:
    """Publish dead letters again where they came from, under their own key, each only once.

    Give IDs, or choose them by --reason (with --topic, --since, --until). They go as they were, or, with one ID and
    --file, mended. What would only be refused again is not published, and said; that is exit code 1.
    """
    wanted = Wanted(reason, topic, since, until)
    if bool(names) == (wanted != Wanted()):
        raise UsageError("give IDs, or choose letters by --reason, --topic, --since or --until; not both")
    if file is not None and len(names) != 1:
        raise UsageError("--file holds the mended value of one letter: give its ID")
    mended = file.read() if file is not None else None
    settings, who = Settings(), actor(by)
    for each in names:
        _place(each)
    if not names and not dry_run and not yes and sys.stdin.isatty():
        tried = _asked(_publish(settings, names, wanted, None, who, dry_run=True))
        click.echo(_sentence(tried), err=True)
        click.confirm("Publish them?", abort=True, err=True)
    outcome = _asked(_publish(settings, names, wanted, mended, who, dry_run=dry_run))
    click.echo(json.dumps(outcome.as_line()) if as_json else _sentence(outcome))
    if outcome.refused:
        raise CommandError(
            f"{sum(outcome.refused_by_reason.values()):,} would be refused again and "
            f"{'are' if dry_run else 'were'} not published: mend them, "
            "`success dead-letters publish ID --file FILE`"
        )
    if names and outcome.published_before:
        raise CommandError(f"{outcome.published_before} had been published again before; each is only once")


async def _list(
    settings: Settings, wanted: Wanted, most: int
) -> tuple[list[Letter], dict[str, int], dict[str, dict[str, Any]]]:
    newest: list[Letter] = []
    counts: Counter[str] = Counter()
    async for letter in matching(settings, wanted):
        counts[letter.code] += 1
        newest.append(letter)
        if len(newest) >= 2 * most:
            newest = nlargest(most, newest, key=_age)
    newest = nlargest(most, newest, key=_age)
    async with writing(settings) as pool, pool.connection() as conn:
        return newest, dict(counts.most_common()), await published(conn, newest)


async def _show(settings: Settings, name: str) -> tuple[Letter, dict[str, Any] | None]:
    letter = await _letter(settings, name)
    async with writing(settings) as pool, pool.connection() as conn:
        return letter, (await published(conn, [letter])).get(letter.name)


async def _publish(
    settings: Settings,
    names: tuple[str, ...],
    wanted: Wanted,
    mended: bytes | None,
    who: Actor,
    *,
    dry_run: bool,
) -> Outcome:
    outcome = Outcome(vocabulary_of((await in_force(settings)).rules))
    async with writing(settings) as pool:
        letters: list[Letter] = []
        if names:
            letters = [await _letter(settings, name) for name in dict.fromkeys(names)]
        else:
            async for letter in matching(settings, wanted):
                letters.append(letter)
                if len(letters) == CHUNK:
                    await _publish_some(pool, letters, mended, who, outcome, dry_run=dry_run)
                    letters.clear()
        await _publish_some(pool, letters, mended, who, outcome, dry_run=dry_run)
        if outcome.published:
            await publish_outbox(settings, pool)
    return outcome


async def _publish_some(
    pool: AsyncConnectionPool[AsyncConnection],
    letters: list[Letter],
    mended: bytes | None,
    who: Actor,
    outcome: Outcome,
    *,
    dry_run: bool,
) -> None:
    now, vocabulary = now_ms(), outcome.vocabulary
    async with pool.connection() as conn:
        before = await published(conn, letters)
        for letter in letters:
            if letter.name in before:
                outcome.published_before += 1
                continue
            judged = judge_for_operator(letter, mended, now, vocabulary)
            if isinstance(judged, Refusal):
                outcome.refuse(letter, judged)
            elif dry_run:
                outcome.would_publish += 1
            elif await publish_again(conn, who, letter, judged, supplier_of(letter.key), now):
                outcome.published += 1
            else:  # by another, a moment ago
                outcome.published_before += 1


async def _letter(settings: Settings, name: str) -> Letter:
    letter = await one(settings, *_place(name))
    if letter is None:
        raise CommandError(f"there is no dead letter {name}; old ones are deleted after 90 days")
    return letter


def _asked(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    try:
        return asyncio.run(coroutine)
    except LettersAwayError as error:
        raise CommandError(str(error)) from error


def _place(name: str) -> tuple[int, int]:
    found = _NAME(name)
    if found is None:
        raise UsageError(
            f"{name} is no dead letter's ID: PARTITION:OFFSET, as `success dead-letters list` prints it"
        )
    return int(found[1]), int(found[2])


def _age(letter: Letter) -> tuple[Any, int]:
    return letter.at, letter.offset


def _when(letter: Letter) -> str:
    return f"{letter.at:%Y-%m-%d %H:%M:%S}"


def _as_line(letter: Letter, noted: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "id": letter.name,
        "partition": letter.partition,
        "offset": letter.offset,
        "at": format_time(int(letter.at.timestamp() * 1000)),
        "reason": letter.code,
        "error": letter.error,
        "topic": letter.topic,
        "origin": letter.origin,
        "key": letter.key,
        "bytes": letter.size,
        "published_at": noted["at"].isoformat() if noted else None,
        "published_by": noted["published_by"] if noted else None,
    }


def _sentence(outcome: Outcome) -> str:
    lines = [f"{name}  still refused: {reason}" for name, reason in outcome.refused.items()]
    said = []
    if outcome.would_publish:
        said.append(f"{outcome.would_publish:,} would be published")
    if outcome.published:
        said.append(f"{outcome.published:,} published")
    if outcome.published_before:
        said.append(f"{outcome.published_before:,} were published before")
    for code, count in outcome.refused_by_reason.items():
        said.append(f"{count:,} would be refused again ({code})")
    return "\n".join([*lines, ", ".join(said) or "no such dead letters"])
