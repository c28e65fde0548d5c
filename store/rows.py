"""How rows travel to Postgres: many as one JSON array, which a query unfolds with `jsonb_to_recordset`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """`rows` as the text of one JSON array."""
    return orjson.dumps(rows).decode()
