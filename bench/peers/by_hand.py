"""What the product makes of events in Postgres, by hand: the plain loop, and COPY into tables of its own a transaction.

The same decoding, scoring and rules of a row's birth; the same rows. One process, offsets committed after the rows. It
asks nothing of erasure, consent, tasks or versions, has no timers and tells nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any, cast

import orjson
import psycopg
from psycopg import AsyncConnection, sql

from agents.interventions.received import SignalRecord
from agents.interventions.rows import events_of, milestone_of, rows_of
from bench.peers.folds import Folded, FullState
from bench.peers.job import Clock, Job, job
from bench.peers.plain_loop import Loop
from runtime.collector import tune_collector
from scoring.decisions.policy import Policy
from scoring.health.machine import apply
from scoring.health.signals import MILESTONE_ACHIEVED, Signal
from scoring.health.snapshot import snapshot
from scoring.health.state import State, encode
from topics.decoding import ActivityEvent, decode

HEALTH = (
    "supplier_id", "seq", "calculated_at", "health_score", "risk_level", "breakdown", "last_login",
    "feature_adoption_score", "client_engagement_score", "login_frequency", "form_completion_rate",
    "journey_performance", "churn_probability", "next_change_at", "facts",
)  # fmt: skip
IN_COLUMNS = {
    "seq", "calculated_at", "score", "level", "breakdown", "last_login", "churn_probability", "next_change_at",
    "changes",
}  # fmt: skip
INTERVENTIONS = {
    "id": "id", "supplier_id": "supplier_id", "trigger_condition": "trigger", "intervention_type": "channel",
    "template_used": "template", "kind": "kind", "priority": "priority", "status": "status", "reason": "reason",
    "due_at": "due_at", "not_before": "due_at", "signal_id": "signal_id", "signal_at": "signal_at", "seq": "seq",
    "metadata": "metadata", "created_at": "created_at",
}  # fmt: skip
TABLES = {
    "suppliers": ("id",),
    "customer_health": HEALTH,
    "health_history": ("id", "supplier_id", "seq", "at", "score", "risk_level", "causes"),
    "success_milestones": (
        "id",
        "supplier_id",
        "milestone_type",
        "achieved_at",
        "milestone_data",
        "celebrated",
    ),
    "success_interventions": tuple(INTERVENTIONS),
    "outbox": ("topic", "key", "value"),
}
"""In the order of writing."""
Rows = dict[str, list[Sequence[Any]]]


class ByHand(Loop):
    """The plain loop, whose flush writes rows before its states and offsets."""

    def __init__(self, work: Job, conn: AsyncConnection) -> None:
        super().__init__(work)
        self._conn = conn
        self._policy = Policy.load()
        self._signals: list[tuple[str, Signal]] = []

    def _fold(self, partition: int, records: list) -> None:  # type: ignore[type-arg]
        states, touched = self._states, self._touched[partition]
        for record in records:
            key = record.key
            folded = states.get(key)
            if folded is None:
                folded = states[key] = FullState()
            event = decode(key, record.value, (), record.timestamp)
            if type(event) is ActivityEvent:
                signals = apply(_state(folded), event.subject, event)
                self._signals += [(event.subject, signal) for signal in signals]
            touched[key] = folded

    async def _flush(self) -> None:
        rows = self._rows()
        async with self._conn.transaction(), self._conn.cursor() as cursor:
            for table, columns in TABLES.items():
                await self._write(cursor, table, columns, rows[table])
            await cursor.execute("SELECT pg_notify('success_delivery', '')")
        self._signals.clear()
        await super()._flush()

    def _packed(self, folded: Folded) -> bytes:
        """With what is owed to the next snapshot."""
        return encode(_state(folded))

    async def _write(
        self,
        cursor: psycopg.AsyncCursor[Any],
        table: str,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
    ) -> None:
        """COPY into a temporary table, and from there what is new or newer."""
        async with cursor.copy(_statement(COPY, table, columns)) as copy:
            for row in rows:
                await copy.write_row(row)
        await cursor.execute(_statement(UPSERT[table], table, columns))
        await cursor.execute(_statement("TRUNCATE {copy}", table, columns))

    def _rows(self) -> Rows:
        now_ms = time.time_ns() // 1_000_000
        made: Rows = {table: [] for table in TABLES}
        for states in self._touched.values():
            for key, folded in states.items():
                supplier, state = key.decode(), _state(folded)
                made["suppliers"].append((supplier,))
                if state.visible:  # else the next one that others act on tells of it
                    self._add_health(made, supplier, snapshot(state, supplier_id=supplier))
        signals = [_received(supplier, signal) for supplier, signal in self._signals]
        for signal in signals:
            if signal.type == MILESTONE_ACHIEVED:
                milestone = milestone_of(signal)
                data = orjson.dumps(milestone["data"]).decode()
                made["success_milestones"].append(
                    (
                        *(milestone[name] for name in ("id", "supplier_id", "milestone", "at")),
                        data,
                        milestone["celebrated"],
                    )
                )
        found = list(rows_of(signals, lambda _: self._policy, now_ms).values())
        for row in found:
            plain = row | {"metadata": orjson.dumps(row["metadata"]).decode()}
            made["success_interventions"].append([plain[name] for name in INTERVENTIONS.values()])
        made["outbox"] += events_of(found, now_ms)
        return made

    def _add_health(self, made: Rows, supplier: str, data: dict[str, Any]) -> None:
        metrics = data["metrics"]
        made["customer_health"].append(
            (
                supplier,
                data["seq"],
                data["calculated_at"],
                data["score"],
                data["level"],
                orjson.dumps(data["breakdown"]).decode(),
                data["last_login"],
                percent(metrics["featureAdoption"]),
                percent(metrics["clientActivity"]),
                metrics["loginFrequency"],
                metrics["formCompletion"],
                metrics["journeyPerformance"],
                data["churn_probability"],
                data["next_change_at"],
                orjson.dumps({key: value for key, value in data.items() if key not in IN_COLUMNS}).decode(),
            )
        )
        made["health_history"] += [
            (
                change["id"], supplier, change["seq"], change["at"], change["score"], change["level"],
                orjson.dumps(change["causes"]).decode(),
            )
            for change in data["changes"]
        ]  # fmt: skip


COPY = "COPY {copy} ({columns}) FROM STDIN"
ONCE = "INSERT INTO {table} ({columns}) SELECT {columns} FROM {copy} ON CONFLICT DO NOTHING"
UPSERT = dict.fromkeys(TABLES, ONCE) | {
    "customer_health": (
        "INSERT INTO {table} AS h ({columns}) SELECT {columns} FROM {copy} ON CONFLICT (supplier_id) DO UPDATE "
        "SET ({columns}, updated_at) = ROW ({excluded}, now()) WHERE h.seq <= excluded.seq"
    )
}


def _statement(text: str, table: str, columns: Sequence[str]) -> sql.Composed:
    """With the names of a table, of its temporary twin and of columns filled in."""
    return sql.SQL(text).format(
        table=sql.Identifier(table),
        copy=sql.Identifier(f"copy_{table}"),
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        excluded=sql.SQL(", ").join(sql.Identifier("excluded", name) for name in columns),
    )


def percent(ratio: float) -> int:
    """Half up, as the table has it."""
    return int(ratio * 100 + 0.5)


def _state(folded: Folded) -> State:
    return cast("FullState", folded).state


def _received(supplier: str, signal: Signal) -> SignalRecord:
    return SignalRecord(None, supplier, signal.id, signal.type, signal.at, signal.data)  # type: ignore[arg-type]


async def measure() -> None:
    """Until all rows are committed, and the offsets after them."""
    work = job()
    async with await AsyncConnection.connect(work.database_url, autocommit=True) as conn:
        for table, columns in TABLES.items():
            await conn.execute(
                _statement(
                    "CREATE TEMPORARY TABLE {copy} AS SELECT {columns} FROM {table} LIMIT 0", table, columns
                )
            )
        await ByHand(work, conn).run(Clock())


def main() -> None:
    """Measure."""
    tune_collector()
    asyncio.run(measure())


if __name__ == "__main__":
    main()
