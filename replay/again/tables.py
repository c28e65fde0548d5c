"""What a replay finds, as tables: Parquet files a partition, and a DuckDB database over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from replay.again.rows import Rows
from scoring.health.metrics import COMPONENTS
from scoring.time import NEVER

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
ROWS_A_GROUP = 50_000


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
