"""`success worker` and the same by hand on one log, each into a database of its own; their rows must be the same.

Workers of other checkouts may run beside them, to be held against this one; their rows are not compared.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psycopg
from psycopg import sql

from agents.health.handler import POLICY
from bench.logs.kinds import SPARSE_ENDS_AGO, SPARSE_TAKES, Events, now_ms, one_each
from bench.logs.log import Topics, publish
from bench.peers.job import Job
from bench.process import WrongStateError, commit_of, empty_folder, measured
from bench.rows.watch import PostgresCpu, SuccessWorker, success, until_all_rows
from bench.scale.rebalance import SECRETS, empty_database
from embedded.registry import Addresses
from runtime.settings import Settings
from topics.catalog import ACTIVITY, full_name

OURS, BY_HAND = "success worker", "by hand"
NEW, KNOWN = "new suppliers", "known suppliers"
COMPARED = {
    "customer_health": "supplier_id, seq, calculated_at, health_score, risk_level, breakdown, last_login, "
    "feature_adoption_score, client_engagement_score, login_frequency, form_completion_rate, journey_performance, "
    "churn_probability, next_change_at, facts",
    "health_history": "id, supplier_id, seq, at, score, risk_level, causes",
    "success_milestones": "id, supplier_id, milestone_type, achieved_at, milestone_data, celebrated",
    "success_interventions": "id, supplier_id, trigger_condition, intervention_type, template_used, kind, priority, "
    "status, reason, due_at, signal_id, signal_at, seq, metadata",
}
"""Table → what is the same however it was written: all but when it was."""


@dataclass(slots=True)
class Row:
    """One way to rows on one log, and its runs."""

    way: str
    log: str
    events: int
    runs: list[dict[str, float]] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Events/s of each run."""
        return [self.events / run["seconds"] for run in self.runs]

    @property
    def rate(self) -> float:
        """Events/s: the median."""
        return median(self.rates)

    def cpu_us(self, name: str) -> float:
        """CPU µs an event, the median."""
        return median(run[name] for run in self.runs) / self.events * 1e6


class Side:
    """One of them, with a database and topics of its own that go at the end; `checkout` as for `success`."""

    def __init__(self, addresses: Addresses, checkout: Path | None = None) -> None:
        self._checkout = checkout
        self.settings = Settings(
            kafka=addresses.kafka,
            database_url=empty_database(addresses.database_url),
            smtp_url=addresses.smtp,
            topic_prefix=f"rows{uuid.uuid4().hex[:8]}.",
            log_level="warning",
            **SECRETS,
        )
        subprocess.run(  # noqa: S603 - our own command
            success(checkout, "migrate"),
            cwd=checkout,
            env={**os.environ, **self.settings.as_env()},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        self.published = 0
        self._run = f"{self.settings.topic_prefix}by-hand"

    def publish(self, log: Events) -> None:
        """Put events into its log."""
        asyncio.run(publish(self.settings, full_name(self.settings.topic_prefix, ACTIVITY), log))
        self.published += len(log)

    def ours(self, processes: int = 1) -> dict[str, float]:
        """`success worker` until all that is in the log is rows."""
        with SuccessWorker(self.settings, processes, self._checkout) as worker:
            return until_all_rows(self.settings, worker, self.published)

    def by_hand(self, events: int) -> dict[str, float]:
        """The same by hand: so many events, from where the last run ended."""
        settings, changelog = self.settings, f"{self._run}-changelog"
        if self.published == events:
            Topics(settings.kafka).create(changelog, settings.partitions, **{"cleanup.policy": "compact"})
        server = PostgresCpu(settings.database_url)
        before = server.seconds()
        with empty_folder() as folder:
            job = Job(
                kafka=settings.kafka,
                topic=full_name(settings.topic_prefix, ACTIVITY),
                partitions=settings.partitions,
                events=events,
                fold="full",
                run=self._run,
                folder=str(folder),
                interval_s=POLICY.seconds,
                known=changelog,
                database_url=settings.database_url,
            )
            took = measured([sys.executable, "-m", "bench.peers.by_hand", job.encode()], {})
        return {**took, "postgres_cpu_seconds": server.seconds() - before}

    def rows(self) -> dict[str, set[str]]:
        """Table → supplier and hash of each row."""
        with psycopg.connect(self.settings.database_url) as conn:
            return {
                table: {
                    row[0]
                    for row in conn.execute(
                        f"SELECT supplier_id::text || ' ' || md5(ROW({columns})::text) FROM {table}"  # noqa: S608
                    )
                }
                for table, columns in COMPARED.items()
            }

    def close(self) -> None:
        """Drop what was made."""
        prefix = self.settings.topic_prefix
        Topics(self.settings.kafka).delete(lambda name: prefix in name)
        server, _, name = self.settings.database_url.rpartition("/")
        with psycopg.connect(f"{server}/postgres", autocommit=True) as conn:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def measure(
    addresses: Addresses,
    events: int,
    repeats: int,
    say: Callable[[str], None],
    beside: Sequence[Path] = (),
) -> list[Row]:
    """Each way, `repeats` times in turns: events of as many new suppliers, then another one of each of them.

    `beside`: other checkouts of the product, each with its environment, whose workers run too.
    """
    others = {f"{OURS} at {commit_of(checkout)}": checkout for checkout in beside}
    chosen = [OURS, BY_HAND, *others]
    rows = {(log, way): Row(way, log, events) for log in (NEW, KNOWN) for way in chosen}
    for number in range(repeats):
        start = now_ms() - SPARSE_ENDS_AGO - 2 * SPARSE_TAKES
        logs = {
            NEW: list(one_each(events, start, 2 * number)),
            KNOWN: list(one_each(events, start + SPARSE_TAKES, 2 * number + 1)),
        }
        with _sides(addresses, {way: others.get(way) for way in chosen}) as sides:
            for log, published in logs.items():
                shift = number % len(chosen)
                for way in chosen[shift:] + chosen[:shift]:
                    sides[way].publish(published)
                    took = sides[way].by_hand(events) if way == BY_HAND else sides[way].ours()
                    rows[log, way].runs.append(took)
                    say(_said(rows[log, way]))
                complain_of_other_rows(sides[OURS].rows(), sides[BY_HAND].rows(), log)
    return list(rows.values())


@contextmanager
def _sides(addresses: Addresses, ways: dict[str, Path | None]) -> Iterator[dict[str, Side]]:
    sides: dict[str, Side] = {}
    try:
        for way, checkout in ways.items():
            sides[way] = Side(addresses, checkout)
        yield sides
    finally:
        for side in sides.values():
            side.close()


def complain_of_other_rows(ours: dict[str, set[str]], theirs: dict[str, set[str]], log: str) -> None:
    """Raise `WrongStateError` where rows by table are not the same."""
    for table, rows in ours.items():
        if not rows:
            raise WrongStateError(f"{log}: no row in {table}")
        if only := rows ^ theirs[table]:
            raise WrongStateError(
                f"{log}: of {table} {len(rows - theirs[table]):,} rows are ours alone and "
                f"{len(theirs[table] - rows):,} those of the reference by hand, e.g. of {min(only).split()[0]}"
            )


def _said(row: Row) -> str:
    took = row.runs[-1]
    return (
        f"{row.events / took['seconds']:>10,.0f} events/s  {took['cpu_seconds'] / row.events * 1e6:6.1f} µs CPU + "
        f"{took['postgres_cpu_seconds'] / row.events * 1e6:6.1f} in Postgres  {row.way}, {row.log}"
    )
