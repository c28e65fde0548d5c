"""What a replay says: tables for people, objects for `--json`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any

import click
from duckdb import DuckDBPyConnection
from rich.console import Console
from rich.table import Table

from replay.again.engine import Outcome
from replay.again.explain import Explanation, Step
from replay.again.rows import Counts
from replay.again.tables import rows_of
from replay.what_if.compare import Comparison, Side
from scoring.health.metrics import COMPONENTS
from scoring.time import instant_text, optional_instant_text

FULL_WIDTH = 160
SHOWN_OF_ID = 13
"""Characters of an event's id; the JSON has all of it."""
LISTED = 10
"""So many of a long list are printed; all of them are in the JSON."""


def outcome_json(outcome: Outcome, source: str, seconds: float) -> dict[str, Any]:
    """What was read, and how fast."""
    return {
        "source": source,
        "to": optional_instant_text(outcome.until or None),
        "offsets": {
            str(partition): {"first": max(span.begin, span.first), "last": span.end - 1}
            for partition, span in outcome.spans.items()
        },
        "records": outcome.records,
        "events": outcome.events,
        "suppliers": outcome.suppliers,
        "unknown": outcome.unknown,
        "refused": dict(outcome.refused),
        "late_suppliers": sorted(outcome.late),
        "from_state": {str(partition): offset for partition, offset in sorted(outcome.from_state.items())},
        "assumes_addresses": outcome.assumes_addresses,
        "seconds": round(seconds, 3),
        "rate": round(outcome.events / seconds) if seconds else 0,
    }


def counted(connection: DuckDBPyConnection) -> Counts:
    """How much is in the tables of a plain replay."""
    signals = rows_of(
        connection, "SELECT type, count(*) AS number FROM base.signals GROUP BY ALL ORDER BY ALL"
    )
    levels = rows_of(
        connection, "SELECT level, count(*) AS number FROM base.suppliers GROUP BY ALL ORDER BY ALL"
    )
    changes = rows_of(connection, "SELECT count(*) AS number FROM base.changes")
    return Counts(
        Counter({row["type"]: row["number"] for row in signals}),
        changes[0]["number"],
        Counter({row["level"]: row["number"] for row in levels}),
    )


def replay_json(
    counts: Counts, outcome: Outcome, source: str, since: int | None, seconds: float
) -> dict[str, Any]:
    """A plain replay: what came of the log."""
    return outcome_json(outcome, source, seconds) | {
        "from": optional_instant_text(since),
        "signals": dict(sorted(counts.signals.items())),
        "changes": counts.changes,
        "levels": dict(sorted(counts.levels.items())),
    }


def state_json(connection: DuckDBPyConnection) -> list[dict[str, Any]]:
    """Every supplier as of the end: their id, and what a health snapshot says."""
    rows = rows_of(connection, "SELECT supplier_id, snapshot FROM base.suppliers ORDER BY supplier_id")
    return [{"supplier_id": row["supplier_id"], **json.loads(row["snapshot"])} for row in rows]


def print_replay(report: dict[str, Any]) -> None:
    """Print a plain replay."""
    _print_read(report)
    click.echo(f"levels   {_counts(report['levels'])}")
    click.echo(f"signals  {_counts(report['signals'])}")
    click.echo(f"changes  {report['changes']:,} of score or level")
    _print_caveats(report)
    if "out" in report:
        click.echo(
            f"tables in {report['out']} (Parquet; replay.duckdb: base.signals, base.changes, base.suppliers)"
        )


def _print_read(report: dict[str, Any]) -> None:
    if report["to"] is None:
        click.echo(f"no events in {report['source']}")
        return
    click.echo(
        f"{report['events']:,} events of {report['suppliers']:,} suppliers up to {report['to']}, "
        f"from {report['source']}, in {report['seconds']:.1f} s ({report['rate']:,}/s)"
    )
    if report["offsets"]:
        spans = ", ".join(
            f"{partition}: {span['first']:,} to {span['last']:,}"
            for partition, span in report["offsets"].items()
        )
        click.echo(f"offsets  {spans}")


def _print_caveats(report: dict[str, Any]) -> None:
    if report["unknown"]:
        click.echo(f"{report['unknown']:,} events of unknown types were ignored")
    if report["refused"]:
        click.echo(f"refused  {_counts(report['refused'])}")
        if "future_time" in report["refused"]:
            click.echo("         (if `success run` played these events, say so with --played)")
    if report["from_state"]:
        click.echo(
            "the log's beginning is gone: continued from an exported state, what came before is not shown"
        )
    if report["assumes_addresses"]:
        click.echo(
            "no profiles in the archive: everybody counts as having an address, in the policy's time zone"
        )
    late = report["late_suppliers"]
    if late:
        more = f" and {len(late) - LISTED:,} more" if len(late) > LISTED else ""
        click.echo(
            f"{len(late):,} suppliers had events that came more than 60 s late; live, time may have passed "
            f"before them: {', '.join(late[:LISTED])}{more}"
        )


def explanation_json(told: Explanation, since: int | None) -> dict[str, Any]:
    """A supplier's explanation; `start` plus all deltas is `end`, to the last of 9 decimals."""
    steps = _shown(told, since)
    earlier = told.steps[: len(told.steps) - len(steps)]
    first = steps[0] if steps else None
    start_sum = first.sum_before if first else (earlier[-1].sum_after if earlier else 0.0)
    start_score = first.score_before if first else (earlier[-1].score_after if earlier else 0)
    state = told.state or {}
    return {
        "supplier_id": told.supplier_id,
        "from": optional_instant_text(since),
        "to": instant_text(told.until),
        "start": {"sum": start_sum, "score": start_score},
        "changes": [step.as_json() for step in steps],
        "end": {"sum": state.get("sum"), "score": state.get("score"), "level": state.get("level")},
        "state": state,
        "late": told.late,
        "continued_from_offset": told.from_offset,
    }


def print_explanation(told: Explanation, since: int | None, *, with_state: bool) -> None:
    """Print a supplier's explanation: a line a movement of points."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("time (UTC)", "because of", "component"):
        table.add_column(title, no_wrap=True)
    for title in ("points", "change", "sum", "score"):
        table.add_column(title, justify="right", overflow="fold")
    table.add_column("level", overflow="fold")
    for step in _shown(told, since):
        for row in _step_rows(step):
            table.add_row(*row)
    _console().print(table)
    state = told.state or {}
    click.echo(f"{instant_text(told.until)}: {state['score']} ({state['sum']:g}), {state['level']}")
    if told.from_offset is not None:
        click.echo(
            "the log's beginning is gone: continued from an exported state, what came before is not shown"
        )
    if told.late:
        click.echo("some of their events came more than 60 s late; live, time may have passed before them")
    if with_state:
        click.echo(json.dumps(state, indent=2))


def _shown(told: Explanation, since: int | None) -> list[Step]:
    """The steps that were asked for, by time or by offset."""
    return [step for step in told.steps[told.skipped :] if since is None or step.at >= since]


def _step_rows(step: Step) -> list[tuple[str, ...]]:
    """A line a movement of points; time and cause stand in the first, where it led to in the last."""
    event = step.event
    cause = "time passed" if event is None else f"{event.type} {event.id[:SHOWN_OF_ID]}"
    level = step.level_after or ""
    if step.level_before not in {None, step.level_after}:
        level = f"{step.level_before} -> {level}"
    head = (instant_text(step.at).replace("T", " ")[:19], cause)
    tail = (f"{step.sum_after:.6g}", str(step.score_after), level)
    moved = [
        (COMPONENTS[component], f"{before:.5g} -> {after:.5g}", f"{after - before:+.5g}")
        for component, before, after in step.moved
    ] or [("", "", "")]
    last = len(moved) - 1
    return [
        (*(head if number == 0 else ("", "")), *cells, *(tail if number == last else ("", "", "")))
        for number, cells in enumerate(moved)
    ]


def print_comparison(comparison: Comparison, report: dict[str, Any]) -> None:
    """Print a what-if beside the base."""
    _print_read(report)
    click.echo(f"what if  {', '.join(comparison.changed)}")
    click.echo(report["told"])
    console = _console()
    console.print(_sides(comparison.base, comparison.what_if))
    console.print(
        _table(comparison.level_changes, "entries into", ("level", "base", "what_if", "gained", "lost"))
    )
    columns = ("trigger", "base", "what_if", "added", "removed")
    console.print(_table(comparison.interventions, "messages sent", columns))
    moved = [row for row in comparison.moved if row["base"] != row["what_if"]]
    for row in moved:
        click.echo(f"{row['suppliers']:,} suppliers end {row['what_if']} instead of {row['base']}")
    _print_caveats(report)
    if "out" in report:
        click.echo(f"{report['report']} shows it; tables beside it (Parquet, replay.duckdb)")


def _sides(base: Side, what_if: Side) -> Table:
    table = Table("", "base", "what if", "change", box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for title, name in (
        ("mean score", "mean_score"),
        ("median score", "median_score"),
        ("messages sent", "sent"),
        ("messages a supplier a week", "messages_a_supplier_a_week"),
        ("cancellations", "cancellations"),
        ("of them warned of", "warned"),
        ("median lead time, days", "median_lead_days"),
        ("precision of at risk, 30 days", "precision"),
        ("recall of at risk, 30 days", "recall"),
    ):
        before, after = getattr(base, name), getattr(what_if, name)
        change = "" if before is None or after is None or before == after else f"{after - before:+g}"
        table.add_row(title, _number(before), _number(after), change)
    for level in sorted({*base.levels, *what_if.levels}):
        before, after = base.levels.get(level, 0), what_if.levels.get(level, 0)
        change = "" if before == after else f"{after - before:+,}"
        table.add_row(f"{level} in the end", f"{before:,}", f"{after:,}", change)
    return table


def _table(rows: list[dict[str, Any]], title: str, columns: tuple[str, ...]) -> Table:
    table = Table(
        title,
        *(name.replace("_", " ") for name in columns[1:]),
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*(str(row[name]) for name in columns))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items())) or "none"


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else FULL_WIDTH)
