"""What a replay finds, as tables: Parquet files a partition, and a DuckDB database over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from agents.health.fold import TOPIC_OF_SIGNAL
from replay.again.life import Life
from replay.again.outreach import Message
from scoring.health.causes import as_json
from scoring.health.metrics import COMPONENTS
from scoring.health.signals import CONDITION_MET, MILESTONE_ACHIEVED, RISK_CHANGED, Signal
from scoring.health.state import Change
from scoring.identity import change_id
from scoring.time import NEVER
from topics.encoding import SOURCE, encode_event
from topics.time import parse_time

TIME = pa.timestamp("ms", tz="UTC")
_TEXT, _WHOLE, _REAL, _YES = pa.string(), pa.int64(), pa.float64(), pa.bool_()

SCHEMAS: dict[str, pa.Schema] = {
    # table: columns; docs/replay.md says what they mean
    "signals": pa.schema(
        {
            "supplier_id": _TEXT,
            "time": TIME,
            "type": _TEXT,
            "name": _TEXT,
            "id": _TEXT,
            "seq": _WHOLE,
            "level": _TEXT,
            "previous": _TEXT,
            "topic": _TEXT,
            "value": pa.binary(),
        }
    ),
    "changes": pa.schema(
        {
            "supplier_id": _TEXT,
            "time": TIME,
            "seq": _WHOLE,
            "score": _WHOLE,
            "level": _TEXT,
            "id": _TEXT,
            "causes": _TEXT,
        }
    ),
    "suppliers": pa.schema(
        {
            "supplier_id": _TEXT,
            "first_time": TIME,
            "calculated_at": TIME,
            "seq": _WHOLE,
            "score": _WHOLE,
            "sum": _REAL,
            "level": _TEXT,
            **dict.fromkeys(COMPONENTS, _REAL),
            "signed_up_at": TIME,
            "last_login": TIME,
            "plan": _TEXT,
            "cancelled": _YES,
            "churn_probability": _REAL,
            "late": _YES,
            "snapshot": _TEXT,
        }
    ),
    "cancellations": pa.schema({"supplier_id": _TEXT, "time": TIME, "reactivated": TIME}),
    "messages": pa.schema(
        {
            "supplier_id": _TEXT,
            "time": TIME,
            "id": _TEXT,
            "trigger": _TEXT,
            "channel": _TEXT,
            "template": _TEXT,
            "kind": _TEXT,
            "status": _TEXT,
            "reason": _TEXT,
            "signal_id": _TEXT,
            "signal_at": TIME,
            "due_at": TIME,
            "why": _TEXT,
        }
    ),
}
Rows = list[tuple[Any, ...]]
"""Rows of a table; each begins with the supplier and, but for `suppliers`, the time in ms."""

ROWS_A_GROUP = 50_000
_NAME_IN = {RISK_CHANGED: "level", MILESTONE_ACHIEVED: "milestone", CONDITION_MET: "condition"}


class Tables:
    """Writes the tables of some suppliers, in files called `<folder>/<table>/<part>.parquet`.

    Only what lies in [since, until] (ms) is kept. Close it, or the last rows are missing.
    """

    def __init__(self, folder: Path, part: str, since: int = 0, until: int = NEVER) -> None:
        self._since, self._until = since, until
        self._is_window = since > 0 or until < NEVER
        self._rows: dict[str, Rows] = {name: [] for name in SCHEMAS}
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._folder, self._part = folder, part

    def add(self, name: str, rows: Rows) -> None:
        """Take rows of a table, those of the window."""
        if self._is_window and name != "suppliers":
            rows = [row for row in rows if self._since <= row[1] <= self._until]
        self._rows[name] += rows

    def write_full(self) -> None:
        """Write the tables of which enough rows for a row group are waiting."""
        for name, rows in self._rows.items():
            if len(rows) >= ROWS_A_GROUP:
                self._write(name)

    def close(self) -> None:
        """Write what is left; every table has a file, an empty one too."""
        for name in SCHEMAS:
            self._write(name)
            self._writers.pop(name).close()

    def _write(self, name: str) -> None:
        rows, schema = self._rows[name], SCHEMAS[name]
        writer = self._writers.get(name)
        if writer is None:
            place = self._folder / name
            place.mkdir(parents=True, exist_ok=True)
            writer = pq.ParquetWriter(place / f"{self._part}.parquet", schema, compression="zstd")
            self._writers[name] = writer
        writer.write_table(table_of(rows, schema))
        self._rows[name] = []


def table_of(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table."""
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def gathered(life: Life) -> Iterator[tuple[int, str, Rows]]:
    """What has come of a supplier since this was last asked for: (number of the policy, table, rows).

    What their score brought about is the same with every policy, and comes once for each. They keep nothing of it.
    """
    signals, changes = life.signals, life.changes
    policies = range(max(1, len(life.outreaches)))
    if signals:
        life.signals = []
        rows = [signal_row(life.id, signal) for signal in signals]
        yield from ((policy, "signals", rows) for policy in policies)
    if changes:
        life.changes = []
        rows = [_change_row(life.id, change) for change in changes]
        yield from ((policy, "changes", rows) for policy in policies)
    for policy, outreach in enumerate(life.outreaches):
        if outreach.messages:
            messages, outreach.messages = outreach.messages, []
            yield policy, "messages", [_message_row(message) for message in messages]


def concluded(life: Life, *, late: bool) -> Iterator[tuple[int, str, Rows]]:
    """The rows of a life that has come to its end, as `gathered` has them."""
    for policy in range(max(1, len(life.outreaches))):
        if life.cancellations:
            yield policy, "cancellations", [(life.id, at, again) for at, again in life.cancellations]
        if life.final is not None:
            yield policy, "suppliers", [_supplier_row(life, life.final, late)]


def signal_row(supplier_id: str, signal: Signal) -> tuple[Any, ...]:
    """A row of `signals`; `value` is the very record that the live worker sends."""
    data = signal.data
    return (
        supplier_id,
        signal.at,
        signal.type,
        data[_NAME_IN[signal.type]],
        signal.id,
        data["seq"],
        data.get("level"),
        data.get("previous"),
        TOPIC_OF_SIGNAL[signal.type],
        encode_event(signal.type, signal.id, SOURCE, supplier_id, signal.at, data),
    )


def connect(folder: Path, database: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB database (in memory without `database`) with the tables of every variant under `folder`.

    A variant's tables are called `<variant>.<table>`. In a file they are real tables: it can be taken elsewhere.
    """
    connection = duckdb.connect(str(database) if database else ":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    for variant in sorted(path.name for path in folder.iterdir() if (path / "suppliers").is_dir()):
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{variant}"')
        for name in SCHEMAS:
            files = str(folder / variant / name / "*.parquet").replace("'", "''")
            kind = "TABLE" if database else "VIEW"
            connection.execute(
                f'CREATE OR REPLACE {kind} "{variant}".{name} AS '  # noqa: S608 - names of our own, a quoted path
                f"SELECT * FROM read_parquet('{files}')"
            )
    return connection


def rows_of(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The rows that a query gives, by column name; of the parameters it takes those that it names."""
    named = {name: value for name, value in (parameters or {}).items() if f"${name}" in query}
    found = connection.execute(query, named or None)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _change_row(supplier_id: str, change: Change) -> tuple[Any, ...]:
    causes = orjson.dumps(as_json(change.causes)).decode()
    return (
        supplier_id,
        change.at,
        change.seq,
        change.score,
        change.level,
        change_id(supplier_id, change.seq),
        causes,
    )


def _message_row(message: Message) -> tuple[Any, ...]:
    return (
        message.supplier_id,
        message.at,
        message.id,
        message.trigger,
        message.channel,
        message.template,
        message.kind,
        message.status,
        message.reason,
        message.signal_id,
        message.signal_at,
        message.due_at,
        message.why,
    )


def _supplier_row(life: Life, final: dict[str, Any], late: bool) -> tuple[Any, ...]:
    points: Sequence[float] = [final["breakdown"][name] for name in COMPONENTS]
    return (
        life.id,
        life.first_at or None,
        parse_time(final["calculated_at"]),
        final["seq"],
        final["score"],
        final["sum"],
        final["level"],
        *points,
        _ms(final["signed_up_at"]),
        _ms(final["last_login"]),
        final["plan"],
        final["cancelled"],
        final["churn_probability"],
        late,
        orjson.dumps(final).decode(),
    )


def _ms(text: str | None) -> int | None:
    return None if text is None else parse_time(text)
