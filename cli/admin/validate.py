"""`success validate`: what the worker would say of each line of a file, before any of it is published."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

from cli.admin.shared import json_option, now_ms
from cli.errors import CommandError, UsageError
from cli.policy import load_policy
from runtime.configuration import vocabulary_of
from runtime.settings import Settings
from topics.activity_types import Vocabulary
from topics.catalog import MAX_ACTIVITY_BYTES, PROFILES
from topics.decoding import decode, type_of
from topics.foreign import meant
from topics.lines import NotLinesError, checked, read_line
from topics.outcome import Refusal, Unknown
from topics.profile import Erasure, decode_profile

MOST_NAMED = 100
"""Refused lines that are named one by one, unless told otherwise."""
HINTS = {
    # reason code: what to write instead, where the reason itself does not say it
    "not_json": "write one JSON object on the line, with nothing before or behind it",
    "not_cloudevent": 'a line is {"specversion": "1.0", "id": …, "source": …, "type": …, "subject": …, "time": …} '
    'or {"profile": {"id": …}}',
    "missing_field": "add it; docs/events.md has an example of each type",
    "wrong_field": "docs/events.md says what each type's data holds",
    "subject_not_uuid": "`subject` is the supplier's id, a UUID in lower case; a profile's is its `id`",
    "subject_not_key": "`subject` is the supplier's id, a UUID in lower case; a profile's is its `id`",
    "future_time": "`time` is when it happened, in UTC or with its offset: is it a clock's that runs ahead?",
    "too_large": f"keep a line under {MAX_ACTIVITY_BYTES:,} bytes: an import may be several events",
}


@dataclass(frozen=True)
class Refused:
    """A line that would become a dead letter."""

    line: int
    code: str
    reason: str
    hint: str


@dataclass
class Report:
    """What there is in a file; `unknown_types` by name, each with what it looks like a misspelling of."""

    events: int = 0
    profiles: int = 0
    refused: int = 0
    by_reason: dict[str, int] = field(default_factory=dict)
    unknown_types: dict[str, dict[str, object]] = field(default_factory=dict)
    lines: list[Refused] = field(default_factory=list)

    def refuse(self, line: int, refusal: Refusal) -> Refused:
        """Count a refused line, and say what to write instead."""
        self.refused += 1
        self.by_reason[refusal.code] = self.by_reason.get(refusal.code, 0) + 1
        return Refused(line, refusal.code, refusal.reason, HINTS.get(refusal.code, ""))


@click.command()
@click.argument("file")
@click.option(
    "--most",
    type=click.IntRange(min=0),
    default=MOST_NAMED,
    show_default=True,
    help="Name so many refused lines.",
)
@json_option
def validate(file: str, most: int, as_json: bool) -> None:
    """Say which lines of FILE (JSON Lines; - reads standard input) the worker would refuse, why, and what to write.

    By the rules that the settings name; asks no server and publishes nothing. Also names types that nobody knows,
    which would only be counted, and what they look like misspellings of. Exit code 1 if a line is refused.
    """
    report, vocabulary = Report(), vocabulary_of(load_policy(Settings()).rules)
    with ExitStack() as stack:
        try:
            lines = sys.stdin.buffer if file == "-" else stack.enter_context(Path(file).open("rb"))
        except OSError as error:
            raise UsageError(f"can't read {file}: {error.strerror}") from error
        try:
            read = checked(lines, "the input" if file == "-" else file)
            for refused in _refused(read, report, vocabulary):
                if len(report.lines) < most:
                    report.lines.append(refused)
                    if not as_json:
                        click.echo(f"line {refused.line}: {refused.reason}\n    → {refused.hint}")
        except NotLinesError as error:
            raise CommandError(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(report)))
    else:
        _print_end(report)
    if report.refused:
        raise CommandError(f"{report.refused:,} of {_total(report):,} lines would become dead letters")


def _refused(lines: Iterable[bytes], report: Report, vocabulary: Vocabulary) -> Iterator[Refused]:
    """The lines that are refused; the others are counted."""
    now = now_ms()
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        topic, key, value = read_line(text)
        if topic == PROFILES:
            report.profiles += 1
            profile = decode_profile(key, value, vocabulary)
            refusal = profile if isinstance(profile, Refusal | Erasure) else profile.refused
            if isinstance(refusal, Erasure):  # an empty value, which a line can't have
                refusal = Refusal("not_json: the profile is empty; `success publish --erase ID` erases")
            if refusal is not None:
                yield report.refuse(number, refusal)
            continue
        report.events += 1
        verdict = decode(key, value, (), now, vocabulary)
        if isinstance(verdict, Refusal):
            yield report.refuse(number, verdict)
        elif isinstance(verdict, Unknown):
            _count_unknown(report, type_of(value, ()), number, vocabulary)


def _count_unknown(report: Report, name: str, line: int, vocabulary: Vocabulary) -> None:
    known = report.unknown_types.setdefault(
        name, {"events": 0, "first_line": line, "did_you_mean": meant(name, vocabulary.types)}
    )
    known["events"] = int(str(known["events"])) + 1


def _total(report: Report) -> int:
    return report.events + report.profiles


def _print_end(report: Report) -> None:
    for name, found in report.unknown_types.items():
        guess = (
            f"did you mean {found['did_you_mean']}?" if found["did_you_mean"] else "it would only be counted"
        )
        where = f"{name} (first in line {found['first_line']})"
        click.echo(f"warning: {found['events']} events of the unknown type {where}: {guess}")
    if report.refused > len(report.lines):
        counts = ", ".join(f"{count:,} {code}" for code, count in report.by_reason.items())
        click.echo(f"… {report.refused:,} refused in all: {counts}")
    click.echo(
        f"{report.events:,} events and {report.profiles:,} profiles, "
        f"{_total(report) - report.refused:,} of them would be taken"
    )
