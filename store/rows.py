"""How rows travel to Postgres: many as one JSON array, which a query unfolds with `jsonb_to_recordset`.

Where there are very many, or with JSON inside, an array a column (`unnest`): the server reads each value once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """`rows` as the text of one JSON array."""
    return orjson.dumps(rows).decode()


def in_columns(rows: Sequence[dict[str, Any]], names: Iterable[str]) -> dict[str, list[Any]]:
    """The values of `rows` by column, in their order."""
    return {name: [row[name] for row in rows] for name in names}


def json_text(value: object) -> str:
    """A value as JSON."""
    return orjson.dumps(value).decode()
