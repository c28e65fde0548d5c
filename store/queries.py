"""SQL lives in commented files in `store/sql/`, each query under a line `-- name: <its name>`."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

SQL = Path(__file__).parent / "sql"
_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def load(file: str) -> dict[str, bytes]:
    """The queries of `store/sql/<file>.sql` by name, as bytes, which psycopg takes as they are.

    Parameters are psycopg's `%(name)s`. Raises ValueError on a name given twice.
    """
    _, *parts = _NAME.split((SQL / f"{file}.sql").read_text())
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) < len(names):
        raise ValueError(f"{file}.sql: a query's name is given twice")
    return {name: body.strip().encode() for name, body in zip(names, bodies, strict=True)}
