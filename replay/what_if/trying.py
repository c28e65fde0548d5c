"""What a draft would have done in the last days of the log, in a process of its own; needs no extra.

    python -m replay.what_if.trying < job

The first line of standard input is the job (`memory`: bytes of address space); when the input ends before the answer is
out, so does the process. It prints JSON lines: `{"read": 120, "of": 5000}` as it goes on, and at last
`{"result": …}` or `{"problem": "…"}`.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import sys
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from aiokafka.errors import KafkaError

from agents.cluster.describing import ClusterError
from replay.again.engine import Job, run
from replay.again.variant import BASE, WHAT_IF, Variant
from replay.log.kafka_log import LogError
from replay.log.played import looks_played
from replay.log.source import KafkaSource, Source
from runtime.settings import Settings
from runtime.versions import Version
from scoring.decisions.forecast import NOT_FORESEEN, Counts, Forecast, digest_of
from scoring.time import DAY, HOUR
from topics.time import format_time, parse_time

if TYPE_CHECKING:
    from replay.again.rows import Rows
    from scoring.decisions.policy import Policy
    from scoring.health.rules import Rules
    from scoring.health.rules_file import Condition

MOST_NAMED = 100
"""Suppliers that are named behind each number."""
MOST_MEMORY = 2 * 1024**3
"""Bytes of address space; a log that needs more is for `success replay --config`."""
NO_MEMORY = (
    "the log needs more memory than there is for it here: `success replay --config DIR` tries it on a machine of your "
    "choice"
)
NICENESS = 19
_LEVEL, _SNAPSHOT, _CALCULATED_AT, _FIRST = 6, -1, 2, 1
"""Columns of `suppliers`."""


class _Sent(NamedTuple):
    """A message that only one of the two sends, as far as is known yet."""

    variant: str
    supplier_id: str
    at: int
    trigger: str
    channel: str


class Differences:
    """Takes what both variants did, and keeps only what one of them did alone."""

    def __init__(self, gone: Iterable[Condition] = (), rules: Rules | None = None) -> None:
        self._alone: dict[str, _Sent] = {}
        self._both: defaultdict[tuple[str, str], array[int]] = defaultdict(_times)
        self._levels: dict[str, tuple[str, str]] = {}
        self._moved: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self._held: dict[str, defaultdict[str, array[int]]] = {
            variant: defaultdict(_times) for variant in (BASE, WHAT_IF)
        }
        self._at_the_end: dict[str, Counter[str]] = {BASE: Counter(), WHAT_IF: Counter()}
        self._first = _times()
        self._gone, self._rules = list(gone), rules
        self._timers: dict[str, int] = {one.name: 0 for one in self._gone if one.since}

    def sink(self, variant: str, _partition: int) -> _Sink:
        """What takes the rows of one variant."""
        return _Sink(self, variant)

    def sent(self, variant: str, rows: Rows) -> None:
        """Rows of `messages`."""
        for supplier_id, at, row_id, trigger, channel, _template, _kind, status, reason, *_ in rows:
            if status != "sent":
                self._held[variant][reason or status].append(at)
                continue
            if self._alone.pop(row_id, None) is None:
                self._alone[row_id] = _Sent(variant, supplier_id, at, trigger, channel)
            else:
                self._both[trigger, channel].append(at)

    def ended(self, variant: str, rows: Rows) -> None:
        """Rows of `suppliers`."""
        for row in rows:
            supplier_id, level = row[0], row[_LEVEL]
            self._at_the_end[variant][level] += 1
            if variant == BASE:
                self._first.append(row[_FIRST] or 0)
            other = self._levels.pop(supplier_id, None)
            if other is None:
                self._levels[supplier_id] = variant, level
            elif other[1] != level:
                was, now = (other[1], level) if variant == WHAT_IF else (level, other[1])
                self._moved[was, now].append(supplier_id)
            if variant == BASE and self._timers:
                self._count_timers(json.loads(row[_SNAPSHOT]), row[_CALCULATED_AT])

    def _count_timers(self, snapshot: dict[str, Any], clock: int) -> None:
        """Count the conditions that are gone and would have fired for them some day, as they are now."""
        times = {name: parse_time(text) for name, text in snapshot["times"].items()}
        for one in self._gone:
            base = next((times[since] for since in one.since if since in times), None)
            if base is None or one.after is None or self._rules is None:
                continue
            last = base + one.after + (one.times - 1) * (one.repeat or 0)
            if last > clock and self._rules.holds(one.name, snapshot["numbers"], {}, last):
                self._timers[one.name] += 1

    def told(self, since: int, until: int) -> dict[str, Any]:
        """All of it, of messages those of [since, until] (ms)."""
        messages: dict[tuple[str, str], dict[str, Any]] = {}
        for (trigger, channel), times in self._both.items():
            line = _line(messages, trigger, channel)
            line["both"] += _within(times, since, until)
        for one in sorted(self._alone.values(), key=lambda one: -one.at):
            if since <= one.at <= until:
                line = _line(messages, one.trigger, one.channel)
                kind = "added" if one.variant == WHAT_IF else "taken"
                line[kind] += 1
                if len(line[f"{kind}_who"]) < MOST_NAMED and one.supplier_id not in line[f"{kind}_who"]:
                    line[f"{kind}_who"].append(one.supplier_id)
        lines = sorted(messages.values(), key=lambda line: (-line["added"] - line["taken"], line["trigger"]))
        return {
            "levels": [
                {"was": was, "is": now, "suppliers": len(who), "who": who[:MOST_NAMED]}
                for (was, now), who in sorted(self._moved.items(), key=lambda each: -len(each[1]))
            ],
            "messages": [line for line in lines if line["added"] or line["taken"] or line["both"]],
            "timers": {name: number for name, number in self._timers.items() if number},
        }

    def forecast(self, draft: Policy, since: int, until: int) -> Forecast:
        """What is expected of a draft, by what it did in [since, until] (ms)."""
        days = sum(until - max(first, since) for first in self._first if first <= until) / DAY
        return Forecast(
            digest_of(draft),
            format_time(since),
            format_time(until),
            *(self._counts(variant, round(days, 3), since, until) for variant in (BASE, WHAT_IF)),
        )

    def _counts(self, variant: str, days: float, since: int, until: int) -> Counts:
        sent: Counter[str] = Counter()
        for (trigger, _), times in self._both.items():
            sent[trigger] += _within(times, since, until)
        for one in self._alone.values():
            if one.variant == variant:
                sent[one.trigger] += since <= one.at <= until
        held = {reason: _within(times, since, until) for reason, times in self._held[variant].items()}
        return Counts(
            len(self._first),
            days,
            {trigger: number for trigger, number in sent.items() if number},
            {reason: number for reason, number in held.items() if number and reason not in NOT_FORESEEN},
            dict(self._at_the_end[variant]),
        )


def _times() -> array[int]:
    return array("q")


def _within(times: array[int], since: int, until: int) -> int:
    return sum(1 for at in times if since <= at <= until)


def _line(messages: dict[tuple[str, str], dict[str, Any]], trigger: str, channel: str) -> dict[str, Any]:
    empty = {"both": 0, "added": 0, "taken": 0, "added_who": [], "taken_who": []}
    return messages.setdefault((trigger, channel), {"trigger": trigger, "channel": channel, **empty})


class _Sink:
    """The rows of one variant, on their way to the differences."""

    def __init__(self, differences: Differences, variant: str) -> None:
        self._variant = variant
        self._takes = {"messages": differences.sent, "suppliers": differences.ended}

    def add(self, name: str, rows: Rows) -> None:
        if name in self._takes:
            self._takes[name](self._variant, rows)

    def write_full(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


def tried(source: Source, given: Version, now: Version, draft: Version, days: int) -> dict[str, Any]:
    """Replay a log by what was in force and by a draft, and print how far it is; raises LogError.

    `given` was in force as long as nothing was activated, `now` is in force: what it has and the draft has not is
    counted as timers that go.
    """
    before, after, present = given.compiled(), draft.compiled(), now.compiled().rules
    kept = set(after.rules.condition_names)
    gone = [one for one in present.file.condition if one.name not in kept]
    differences = Differences(gone, present)
    variants = (
        Variant(BASE, before, before.rules, follows=True),
        Variant(WHAT_IF, after, after.rules),
    )
    played = looks_played(source)
    step_ms = HOUR if played else 0
    job = Job(source, variants, Path(), played=played, step_ms=step_ms, sinks=differences.sink)
    with source.opened() as opened:
        total = sum(span.end - span.begin for span in job.spans(opened).values())
    read = 0

    def on_records(count: int) -> None:
        nonlocal read
        read += count
        _say(read=read, of=total)

    _say(read=0, of=total)
    outcome = run(job, 1, on_records)
    since = outcome.until - days * DAY
    return {
        "from": format_time(since),
        "until": format_time(outcome.until),
        "suppliers": outcome.suppliers,
        "records": outcome.records,
        "late": len(outcome.late),
        "forecast": differences.forecast(after, since, outcome.until).as_json(),
    } | differences.told(since, outcome.until)


def _say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _is_of_memory(error: Exception) -> bool:
    """Whether it came of memory: where there is none for a thread or a process, other errors say so."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or "can't start new thread" in str(error)


def _die_with_the_input() -> None:
    sys.stdin.buffer.read()
    os._exit(3)


def main() -> None:
    """Do what standard input says."""
    os.nice(NICENESS)
    asked = json.loads(sys.stdin.buffer.readline())
    Thread(target=_die_with_the_input, daemon=True).start()
    given, now, draft = (msgspec.convert(asked[name], Version) for name in ("given", "now", "draft"))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = asked.get("memory", MOST_MEMORY)
    resource.setrlimit(
        resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
    )
    try:
        _say(result=tried(KafkaSource(Settings()), given, now, draft, asked["days"]))
    except (LogError, ClusterError) as error:
        _say(problem=str(error))
    except KafkaError as error:
        _say(
            problem=f"Kafka does not answer ({type(error).__name__}): try again when `success doctor` finds it well"
        )
    except (MemoryError, RuntimeError, OSError) as error:
        if not _is_of_memory(error):
            raise
        _say(problem=NO_MEMORY)


if __name__ == "__main__":
    main()
